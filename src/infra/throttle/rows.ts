import { canonicalName } from '@/core/account-name'
import type { Database, SqlRow } from '@/core/database'
import type { Guess } from '@/core/throttle'
import { networkOf, siteOf } from '@/core/address'
import { type Count, forgottenAtMs, leftOf, rules } from './rules'

/**
 * The table "guess": a row for each account at an address, each address, each /48 of IPv6 and each account of whose guesses something is remembered. Instants are
 * milliseconds by the clocks of the processes; from `expiresAtMs` on a row says nothing any more.
 */
export interface Mark extends Count {
  /** When somebody was let in to that account from that address; 0 when never. */
  letInAtMs: number
}

export type RuleName = keyof typeof rules
export const ruleNames = ['pair', 'address', 'site', 'account'] as const satisfies readonly RuleName[]
export type Of<T> = Record<RuleName, T>
/** An address of IPv4 is in no site. */
export type Digests = Omit<Of<string>, 'site'> & { site?: string }

/** An address from which somebody was let in is known for that account for so long. */
export const knownForMs = 30 * 86_400_000

/**
 * Under what the rows of a guess are kept: who reads the table learns neither names nor addresses.
 * @param digest with a key
 */
export function digestsOf({ purpose, account, address }: Guess, digest: (text: string) => string): Digests {
  const whose = canonicalName(account)
  const [network, site] = [networkOf(address), siteOf(address)]
  const of = (name: RuleName, ...which: string[]) => digest(JSON.stringify([purpose, name, ...which]))
  const digests = { pair: of('pair', whose, network), address: of('address', network), account: of('account', whose) }
  return site === undefined ? digests : { ...digests, site: of('site', site) }
}

const listed = '"digest", "failures", "sinceMs", "nextAtMs", "letInAtMs"'
const primary = { from: 'primary' } as const
const select = (count: number) => `select ${listed} from "guess" where "digest" in (${listOf('?', count)}) order by "digest"`
const insert = (count: number) => `insert into "guess" (${listed}, "expiresAtMs") values ${listOf('(?, 0, 0, 0, 0, 0)', count)}`
const update = 'update "guess" set "failures" = ?, "sinceMs" = ?, "nextAtMs" = ?, "letInAtMs" = ?, "expiresAtMs" = ? where "digest" = ?'

/** What is left of them by now. */
export async function readMarks(db: Database, digests: Digests, nowMs: number): Promise<Of<Mark>> {
  const asked = Object.values(digests)
  return marksOf(await db.all(select(asked.length), asked, primary), digests, nowMs)
}

/** The same in a transaction, which keeps them as they are until its end; those that are not there are made. */
export async function lockMarks(tx: Database, digests: Digests, nowMs: number): Promise<Of<Mark>> {
  // In one order for all, so that two who share rows do not wait for each other.
  const sorted = Object.values(digests).toSorted()
  await tx.run(
    `${insert(sorted.length)} ${tx.dialect.name === 'sqlite' ? 'on conflict do nothing' : 'on duplicate key update "digest" = "digest"'}`,
    sorted,
  )
  return marksOf(await tx.all(select(sorted.length) + tx.dialect.forUpdate, sorted), digests, nowMs)
}

/** Writes a row that the transaction has locked, if there is such a row. */
export async function keepMark(tx: Database, digests: Digests, name: RuleName, mark: Mark): Promise<void> {
  const digest = digests[name]
  if (digest === undefined) return
  const { failures, sinceMs, nextAtMs, letInAtMs } = mark
  const knownUntilMs = letInAtMs > 0 ? letInAtMs + knownForMs : 0
  const expiresAtMs = Math.max(forgottenAtMs(mark, rules[name]), knownUntilMs)
  await tx.run(update, [failures, sinceMs, nextAtMs, letInAtMs, expiresAtMs, digest])
}

/** Removes up to so many that say nothing any more. @returns how many */
export async function sweepGuesses(db: Database, nowMs: number, countMax: number): Promise<number> {
  const found = await db.all(
    `select "digest" from "guess" where "expiresAtMs" < ? order by "expiresAtMs" limit ${countMax}`,
    [nowMs],
    primary,
  )
  if (found.length === 0) return 0
  const digests = found.map(row => String(row['digest']))
  // Somebody may have guessed meanwhile.
  await db.run(`delete from "guess" where "digest" in (${listOf('?', digests.length)}) and "expiresAtMs" < ?`, [...digests, nowMs])
  return found.length
}

function marksOf(rows: readonly SqlRow[], digests: Digests, nowMs: number): Of<Mark> {
  const mark = (name: RuleName): Mark => {
    const row = rows.find(each => each['digest'] === digests[name])
    const number = (column: string) => Number(row?.[column] ?? 0)
    const count = { failures: number('failures'), sinceMs: number('sinceMs'), nextAtMs: number('nextAtMs') }
    return { ...leftOf(count, rules[name], nowMs), letInAtMs: number('letInAtMs') }
  }
  return { pair: mark('pair'), address: mark('address'), site: mark('site'), account: mark('account') }
}

const listOf = (item: string, count: number): string => new Array<string>(count).fill(item).join(', ')
