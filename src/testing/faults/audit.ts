import { expect } from 'bun:test'
import type { Metrics } from '@/core/metrics'
import { createStore } from '@/core/store'
import type { OpenDatabase } from '@/infra/database/driver'
import { metricValue } from '../fakes'
import { accounts, balanceAtStart, type Known, type Load, notes, transfers } from './load'

/** What must hold once a fault is over, whatever it was. */
export const recoveryLimitMs = 2000
/** What a machine with other work may add to a limit. */
const slackMs = 1000
const idsMax = 1000

/** Nothing that was acknowledged is lost, nothing that was undone is there, and no money was made. */
export async function auditData(db: OpenDatabase, known: Known): Promise<void> {
  const primary = { from: 'primary' } as const
  const noteStore = createStore(db, notes)
  const rows = new Map<string, { version: number; text: string }>()
  for await (const row of noteStore.iterate({ ...primary, batchSize: idsMax })) rows.set(row.id, row)
  const wrong: string[] = []
  for (const [id, { version, text, maybe, maybeGone }] of known.notes) {
    const row = rows.get(id)
    rows.delete(id)
    if (!row) {
      if (!maybeGone) wrong.push(`note ${id} is lost`)
      continue
    }
    const isKept = row.version === version ? row.text === text : row.version > version && maybe.includes(row.text)
    if (!isKept) wrong.push(`version ${row.version} of note ${id} says ${row.text}, not ${text}, nor ${maybe}`)
    // A copy may be as old as what was acknowledged, since nobody could tell the cache of more.
    const copy = db.cache && (await noteStore.get(id))
    if (copy && copy.version < version) wrong.push(`the copy of note ${id} is of version ${copy.version}, not ${version}`)
  }
  for (const id of known.gone) if (rows.delete(id)) wrong.push(`note ${id} was removed and is there`)
  expect(rows.size).toBeLessThanOrEqual(known.maybeMade)

  const balances = new Map<string, number>()
  for await (const row of createStore(db, accounts).iterate(primary)) balances.set(row.id, row.balance)
  const made = new Set<string>()
  const expected = new Map([...balances.keys()].map(id => [id, balanceAtStart]))
  for await (const { id, fromId, toId, amount } of createStore(db, transfers).iterate({ ...primary, batchSize: idsMax })) {
    made.add(id)
    expected.set(fromId, (expected.get(fromId) ?? 0) - amount)
    expected.set(toId, (expected.get(toId) ?? 0) + amount)
  }
  expect(balances).toEqual(expected)
  for (const id of known.done) if (!made.has(id)) wrong.push(`transfer ${id} is lost`)
  for (const id of known.undone) if (made.has(id)) wrong.push(`transfer ${id} failed and is there`)
  expect(wrong).toEqual([])
}

/** Every call was answered, or rejected as it may be, within its limit. */
export function auditCalls({ outcome }: Load, limits: { acquireTimeoutMs: number; queryTimeoutMs: number; txTimeoutMs: number }): void {
  const statementMs = limits.acquireTimeoutMs + limits.queryTimeoutMs
  expect(outcome.wrong.slice(0, 5)).toEqual([])
  for (const [act, slowestMs] of Object.entries(outcome.slowestErrorMs)) {
    // A change reads, and then writes; of a transaction's time the commit is not part.
    const limitMs = act === 'transfer' ? limits.txTimeoutMs + limits.queryTimeoutMs : act === 'change' ? 2 * statementMs : statementMs
    expect([act, slowestMs, slowestMs <= limitMs + slackMs]).toEqual([act, slowestMs, true])
  }
}

const idleLimitMs = 2000

/** No connection is lent out or waited for, and the server has no more of them than the pool, and no transaction. */
export async function auditConnections(
  metrics: Metrics,
  most: number,
  onServer: () => Promise<{ connections: number; transactions: number }>,
): Promise<void> {
  const value = (name: string) => metricValue(metrics, `bingo_database_${name}`)
  const busy = async () => [await value('connections_in_use'), await value('waiting')]
  // What looks after replicas asks now and then, too.
  const idleAtMs = performance.now() + idleLimitMs
  while ((await busy()).some(Boolean) && performance.now() < idleAtMs) await Bun.sleep(10)
  expect(await busy()).toEqual([0, 0])
  expect(await value('connections')).toBeLessThanOrEqual(most)
  const endsAtMs = performance.now() + recoveryLimitMs
  // A server may take a moment to see that a connection was closed.
  for (;;) {
    const { connections, transactions } = await onServer()
    if (connections <= most && transactions === 0) return
    if (performance.now() > endsAtMs) throw new Error(`the server has ${connections} connections, ${transactions} transactions`)
    await Bun.sleep(20)
  }
}
