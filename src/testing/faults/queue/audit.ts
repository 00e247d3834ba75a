import { expect } from 'bun:test'
import type { LedgerEntry } from './ledger'
import type { QueueScene } from './scene'

/** What became of tasks, from what their callers were told, what their handlers did and what the queue said. */
export interface Tally {
  accepted: number
  /** Accepted, and never run to the end. */
  lost: string[]
  /** Run though nobody was told that they are there, nor that nobody knows. */
  unasked: string[]
  /** How many runs more than there are tasks that ran. */
  again: number
  /** How many attempts were in flight when their process was killed: begun, and their end not heard of by the queue. */
  inFlight: number
  /** How many attempts were told to end. */
  aborted: number
  /** Of the runs more, those whose attempt before was not in flight at a kill, and was not told to end. */
  unexplained: string[]
}

export interface Asked {
  /** Ids whose enqueue has resolved. */
  accepted: ReadonlySet<string>
  /** Ids whose enqueue was rejected so that nobody knows. */
  maybe: ReadonlySet<string>
}

/** Of tasks that neither fail nor are snoozed, so that one run of each would do. */
export function tallyOf({ accepted, maybe }: Asked, entries: readonly LedgerEntry[], killed: ReadonlyMap<number, number>): Tally {
  const attempts = new Map<string, Map<string, { pid: number; isTold: boolean; isAborted: boolean }>>()
  const done = new Set<string>()
  for (const { step, id, attempt, pid, word } of entries) {
    const own = attempts.get(id) ?? new Map()
    attempts.set(id, own)
    // After a loss of the log the queue may give a number twice.
    const key = `${attempt} ${pid}`
    if (step === 'begin') own.set(key, { pid, isTold: false, isAborted: false })
    const known = own.get(key)
    if (step === 'end') done.add(id)
    if (step === 'told' && known && word === 'ok') known.isTold = true
    if (step === 'abort' && known) known.isAborted = true
  }
  const tally: Tally = { accepted: accepted.size, lost: [], unasked: [], again: 0, inFlight: 0, aborted: 0, unexplained: [] }
  tally.lost = [...accepted].filter(id => !done.has(id))
  for (const [id, own] of attempts) {
    if (!accepted.has(id) && !maybe.has(id)) tally.unasked.push(id)
    const runs = [...own.values()]
    tally.again += runs.length - 1
    const wasInFlight = (run: (typeof runs)[number]) => killed.has(run.pid) && !run.isTold
    tally.inFlight += runs.filter(wasInFlight).length
    tally.aborted += runs.filter(({ isAborted }) => isAborted).length
    if (runs.slice(0, -1).some(run => !wasInFlight(run) && !run.isAborted)) tally.unexplained.push(id)
  }
  return tally
}

/** Nothing that was promised is lost, nothing runs twice without a cause, and the counters agree with what happened. */
export async function auditTasks(scene: QueueScene, asked: Asked): Promise<Tally> {
  const tally = tallyOf(asked, scene.ledger(), scene.killed)
  expect(tally.lost).toEqual([])
  expect(tally.unasked).toEqual([])
  expect(tally.unexplained).toEqual([])
  expect(tally.again).toBeLessThanOrEqual(tally.inFlight + tally.aborted)
  const { waiting, scheduled, active, dead, total } = await scene.driver.stats(scene.queue)
  expect({ waiting, scheduled, active, dead }).toEqual({ waiting: 0, scheduled: 0, active: 0, dead: 0 })
  expect(total.done).toBe(total.enqueued)
  expect({ failed: total.failed, dead: total.dead, cancelled: total.cancelled }).toEqual({ failed: 0, dead: 0, cancelled: 0 })
  expect(total.enqueued).toBeGreaterThanOrEqual(asked.accepted.size)
  expect(total.enqueued).toBeLessThanOrEqual(asked.accepted.size + asked.maybe.size)
  return tally
}
