import type { Log } from '@/core/log'
import type { Tokens } from '@/core/tokens'

/** What this process shows of itself to the services that it calls: tokens that live for minutes, and are in memory only. */
export interface Credentials {
  /** A promise only where none is at hand. @throws what signing does, such as Unavailable while the database is away */
  token(scopes: readonly string[]): string | Promise<string>
}

interface Held {
  token: string
  renewAtMs: number
  /** By then it may not be taken any more, whatever the clocks of the others say. */
  overAtMs: number
}

/** Of the life of a token: then the next one is made, while it is still good. */
const renewedAfter = 0.6
const overAfter = 0.9
/** Clients name their scopes in the code, so there are few sets of them. */
const heldMax = 100

/** @param service what this process is to others: its roles */
export function createCredentials(
  tokens: Pick<Tokens, 'signService'>,
  { service, log, nowMs = () => performance.now() }: { service: string; log: Log; nowMs?: () => number },
): Credentials {
  const held = new Map<string, Held>()
  const signing = new Map<string, Promise<string>>()

  function sign(key: string, scopes: readonly string[]): Promise<string> {
    const underWay = signing.get(key)
    if (underWay) return underWay
    const made = make(key, scopes).finally(() => signing.delete(key))
    signing.set(key, made)
    return made
  }

  async function make(key: string, scopes: readonly string[]): Promise<string> {
    const beganAtMs = nowMs()
    const { token, expiresInSeconds } = await tokens.signService({ service, scopes })
    const lifeMs = expiresInSeconds * 1000
    if (held.size >= heldMax) held.clear()
    held.set(key, { token, renewAtMs: beganAtMs + lifeMs * renewedAfter, overAtMs: beganAtMs + lifeMs * overAfter })
    return token
  }

  return {
    token(scopes) {
      const key = scopes.join(' ')
      const current = held.get(key)
      const now = nowMs()
      if (!current || now >= current.overAtMs) return sign(key, scopes)
      if (now >= current.renewAtMs && !signing.has(key))
        sign(key, scopes).catch(thrown => log.warn('cannot renew the token for calls of other services yet', { err: thrown }))
      return current.token
    },
  }
}
