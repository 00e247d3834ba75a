import { exportJWK, generateKeyPair, importJWK } from 'jose'
import type { Clock } from '@/core/clock'
import { UniqueViolation } from '@/core/database'
import type { Log } from '@/core/log'
import type { Cipher } from '@/core/seal'
import type { SigningKeyRow, SigningKeyRows } from './rows'

/**
 * The keys of access tokens, as this process knows them. One signs; those before it are kept while a token of theirs may live, and the
 * next one is known everywhere before it signs. Several processes may do all of this at a time.
 */
export interface KeyRing {
  /** The one that signs now; made when there is none. */
  signer(): Promise<SigningKey>
  find(kid: string): Promise<SigningKey | undefined>
  /** Oldest first, with the one that will sign next. */
  all(): Promise<readonly SigningKey[]>
  /** Makes the next key when it is time, and removes those of no use any more. */
  rotate(): Promise<void>
}

export interface SigningKey {
  kid: string
  number: number
  usableAtMs: number
  /** base64url, as in a JWK. */
  x: string
  publicKey: CryptoKey
  privateKey: CryptoKey
}

/** Signature schemes are named as in RFC 8037. */
export const algorithm = 'EdDSA'
/** So often each process reads the keys. */
export const rereadMs = 60_000
/** For a `kid` that it does not know it reads them again at most so often: anyone can invent one. */
export const unknownRereadMs = 5000
/** A new key is there for so long before it signs: until then every process has read it, and whoever keeps a copy of the JWKS. */
export const publishedMs = 600_000
/**
 * So long after the next key has begun to sign a key is removed: longer than a token lives at most, an hour, with what the clocks and
 * the rereading of processes add.
 */
export const retiredMs = 2 * 3_600_000

export function createKeyRing(
  rows: SigningKeyRows,
  { cipher, clock, log, rotationMs }: { cipher: Cipher; clock: Clock; log: Log; rotationMs: number },
): KeyRing {
  let known: readonly SigningKey[] = []
  let readMs = Number.NEGATIVE_INFINITY
  let reading: Promise<void> | undefined
  const strange = new Set<string>()

  /** One whose private half this root key did not wrap, or whose public half is another, was not made by us: nothing of it is believed. */
  async function opened(row: SigningKeyRow): Promise<SigningKey | undefined> {
    const same = known.find(({ kid, x }) => kid === row.id && x === row.publicKey)
    if (same) return same
    const d = cipher.open(row.privateKey, contextOf(row))
    if (d === undefined) {
      if (!strange.has(row.id)) log.warn('a signing key is not used: it was not made under this root key', { kid: row.id })
      strange.add(row.id)
      return undefined
    }
    const publicJwk = { kty: 'OKP', crv: 'Ed25519', x: row.publicKey }
    const [publicKey, privateKey] = await Promise.all([importJWK(publicJwk, algorithm), importJWK({ ...publicJwk, d }, algorithm)])
    const { id: kid, number, usableAtMs, publicKey: x } = row
    return { kid, number, usableAtMs, x, publicKey: publicKey as CryptoKey, privateKey: privateKey as CryptoKey }
  }

  async function load(): Promise<SigningKeyRow[]> {
    const atMs = clock.nowMs()
    const found = await rows.list()
    const usable = (await Promise.all(found.map(opened))).filter(key => key !== undefined)
    if (usable.length === 0) {
      await make((found.at(-1)?.number ?? 0) + 1, atMs)
      return load()
    }
    known = usable
    readMs = atMs
    return found
  }

  async function make(number: number, usableAtMs: number): Promise<void> {
    const pair = await generateKeyPair(algorithm, { crv: 'Ed25519', extractable: true })
    const { x = '', d = '' } = await exportJWK(pair.privateKey)
    const made = { id: Bun.randomUUIDv7(), number, publicKey: x, usableAtMs, createdAtMs: clock.nowMs() }
    try {
      await rows.insert({ ...made, privateKey: cipher.close(d, contextOf(made)) })
      log.info('a signing key was made', { kid: made.id, usableAtMs })
    } catch (thrown) {
      // Another process made it at the same time; that one will do.
      if (!(thrown instanceof UniqueViolation)) throw thrown
    }
  }

  /** Reads them unless that was done so lately; callers at one time read once. */
  async function readAfter(ageMs: number): Promise<void> {
    if (Math.abs(clock.nowMs() - readMs) < ageMs) return
    reading ??= load()
      .then(() => {})
      .finally(() => {
        reading = undefined
      })
    await reading
  }

  const byKid = (kid: string) => known.find(key => key.kid === kid)

  return {
    async signer() {
      await readAfter(rereadMs)
      const nowMs = clock.nowMs()
      // By a clock that is behind that of its maker, the first key begins in a moment.
      return (known.findLast(({ usableAtMs }) => usableAtMs <= nowMs) ?? known[0]) as SigningKey
    },

    async find(kid) {
      await readAfter(rereadMs)
      const found = byKid(kid)
      if (found) return found
      await readAfter(unknownRereadMs)
      return byKid(kid)
    },

    async all() {
      await readAfter(rereadMs)
      return known
    },

    async rotate() {
      const found = await load()
      const nowMs = clock.nowMs()
      const newest = known.at(-1) as SigningKey
      if (nowMs >= newest.usableAtMs + rotationMs - publishedMs)
        await make((found.at(-1)?.number ?? 0) + 1, Math.max(nowMs + publishedMs, newest.usableAtMs + rotationMs))
      const isReplaced = ({ number }: SigningKeyRow) => known.some(next => next.number > number && next.usableAtMs + retiredMs <= nowMs)
      const old = found.filter(isReplaced).map(({ id }) => id)
      await rows.remove(old)
      if (old.length > 0) log.info('signing keys were removed that nothing living was signed with', { kids: old })
      await load()
    },
  }
}

const contextOf = ({ id, publicKey }: Pick<SigningKeyRow, 'id' | 'publicKey'>) => `${id} ${publicKey}`
