import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { scopes } from '@/core/scopes'
import { rootKey } from '@/infra/auth-key'
import { openTokens } from '@/infra/tokens/open'
import { openAgain } from './conformance/fixture'
import { fakeLog } from './fakes'

/** Tokens of a service called `matrix`, as a process with the root key makes them, and what is none. */
export interface ServiceTokens {
  /** With every scope. */
  full: string
  none: string
  /** By scope: with it alone, and with all but it. */
  only: Readonly<Record<string, string>>
  allBut: Readonly<Record<string, string>>
  /** By why. */
  invalid: Readonly<Record<string, string>>
  close(): Promise<void>
}

const tenMinutesMs = 600_000

/** @param path of the database of an embedded installation, which has its key beside it */
export async function serviceTokensOf(path: string): Promise<ServiceTokens> {
  const url = `sqlite:${path}`
  const { config } = loadConfig({ env: { BINGO_DATABASE_URL: url }, flags: {}, readFile: () => '' })
  const key = rootKey(config)
  const db = await openAgain({ url })
  const tools = { clock: systemClock, log: fakeLog() }
  const tokens = openTokens(key, db, config.auth, tools)
  const past = openTokens(key, db, config.auth, { ...tools, clock: { nowMs: () => Date.now() - tenMinutesMs } })
  const another = openTokens(key, db, { ...config.auth, issuer: 'another' }, tools)
  const sign = async (granted: readonly string[], by = tokens) => (await by.signService({ service: 'matrix', scopes: granted })).token
  const only: Record<string, string> = {}
  const allBut: Record<string, string> = {}
  for (const scope of scopes) {
    only[scope] = await sign([scope])
    allBut[scope] = await sign(scopes.filter(each => each !== scope))
  }
  const [full, narrow] = [await sign(scopes), await sign([])]
  const [header, , signature] = narrow.split('.')
  const invalid = {
    'a service token that is expired': await sign(scopes, past),
    'a service token of another issuer': await sign(scopes, another),
    'a service token that says it may do more': `${header}.${full.split('.')[1]}.${signature}`,
    'a service token without a signature': `${full.split('.').slice(0, 2).join('.')}.`,
  }
  return { full, none: narrow, only, allBut, invalid, close: () => db.close() }
}
