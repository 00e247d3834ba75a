import { backoffMs } from '@/core/backoff'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Enqueued } from '@/core/queue/queue'
import type { Service } from '@/core/service'
import { idsLoggedMax, isPassing, type QueueDriver } from '../driver'
import type { Bell } from './bell'
import { type OutboxRows, type OutboxState, type Row, takenForMs } from './rows'

export interface RelayOptions {
  rows: OutboxRows
  driver: Pick<QueueDriver, 'enqueue' | 'ping'>
  bell: Pick<Bell, 'listen'>
  log: Log
  metrics: Metrics
}

/** Looked for without being told, up to a quarter sooner or later. */
const pollMs = 1000
/** After failures. */
const pausesMs = { min: 100, max: 5000 }
/** What fails by itself, while others do not, is tried again after so long. */
const oddPauseMs = 60_000
const lookEveryMs = 10_000

/**
 * Hands the tasks of the outbox to the queue: first it commits that it is about to, then it hands them over under the ids they
 * have had from the start, and then it deletes them. Whoever repeats that after a crash finds the id there, or the mark that it
 * has been there: so a crash anywhere neither loses nor doubles. Any number of relays may run.
 */
export function createRelay({ rows, driver, bell, log, metrics }: RelayOptions): Service {
  const relayed = metrics.counter({
    name: 'bingo_outbox_relayed_total',
    help: 'Tasks handed from the outbox to the queue.',
    labels: ['status'],
  })
  const byStatus: Record<Enqueued['status'], { add(by?: number): void }> = {
    enqueued: relayed.with({ status: 'enqueued' }),
    duplicate: relayed.with({ status: 'duplicate' }),
    unique: relayed.with({ status: 'unique' }),
  }
  const failed = metrics.counter({ name: 'bingo_outbox_failures_total', help: 'Attempts to hand tasks over that failed.' }).with({})
  const gaveUp = metrics.counter({ name: 'bingo_outbox_given_up_total', help: 'Tasks that an operator has to decide about.' }).with({})
  let state: OutboxState = { rows: 0, oldestMs: 0, givenUp: 0 }
  let isStopping = false
  let working: Promise<void> | undefined
  let failures = 0
  let wake = () => {}
  /** Somebody rang while it was working. */
  let isRung = false
  let ends: (() => void)[] = []

  const rest = (ms: number) =>
    new Promise<void>(resolve => {
      const timer = setTimeout(resolve, ms)
      wake = () => {
        clearTimeout(timer)
        resolve()
      }
    })

  async function work(): Promise<void> {
    let isMore = await rows.hasSome().catch(() => false)
    while (!isStopping) {
      isRung = false
      try {
        // While the queue is away nothing is marked, so that what waits meanwhile may wait for any time.
        if (failures > 0) await driver.ping()
        if (isMore) isMore = await step()
        if (failures > 0) log.info('the outbox is relayed again', { failures })
        failures = 0
        if (!isMore && !isRung && !isStopping) await rest(pollMs * (0.75 + Math.random() / 2))
        isMore ||= isRung || (await rows.hasSome())
      } catch (err) {
        failed.add()
        if (failures++ === 0) log.warn('the outbox cannot be relayed; its tasks stay there', { err })
        isMore = true
        if (!isStopping) await rest(backoffMs(pausesMs, failures))
      }
    }
  }

  /** One batch. @returns whether there may be more */
  async function step(): Promise<boolean> {
    const takenAtMs = performance.now()
    const { rows: taken, givenUp, isMore } = await rows.take()
    if (givenUp.length > 0) {
      gaveUp.add(givenUp.length)
      log.error("tasks of the outbox are given up, since nobody knows whether they were handed over; 'bingo task fsck' lists them", {
        count: givenUp.length,
        ids: givenUp.slice(0, idsLoggedMax),
      })
    }
    let away: unknown
    for (const some of Map.groupBy(taken, row => row.queue).values()) {
      // Held up for so long, it is not this relay's any more.
      if (performance.now() - takenAtMs > takenForMs) return true
      away = (await handOver(some)) ?? away
    }
    if (away !== undefined) throw away
    return isMore
  }

  /** Rows of one queue. @returns what was thrown when the queue is away */
  async function handOver(some: readonly Row[]): Promise<unknown> {
    try {
      const replies = await driver.enqueue(
        some[0]?.queue ?? '',
        some.map(({ task }) => task),
      )
      for (const { status } of replies) byStatus[status].add()
    } catch (thrown) {
      if (isPassing(thrown)) {
        await rows.putBack(some, 0)
        return thrown
      }
      return setAside(some, thrown)
    }
    await rows.drop(some)
    return undefined
  }

  /** One of them is at fault, and must not hold up the others. */
  async function setAside(some: readonly Row[], err: unknown): Promise<unknown> {
    failed.add()
    if (some.length === 1) {
      log.error('a task of the outbox cannot be handed over; it is tried again', { id: some[0]?.task.id, queue: some[0]?.queue, err })
      await rows.putBack(some, oddPauseMs)
      return undefined
    }
    let away: unknown
    for (const row of some) away = (await handOver([row])) ?? away
    return away
  }

  async function look(): Promise<void> {
    // While the database is away, what was seen last is the best there is.
    state = await rows.look().catch(() => state)
  }

  return {
    name: 'outbox',
    async start() {
      const gauge = (name: string, help: string, read: () => number) => ends.push(metrics.gauge({ name, help }, read))
      gauge('bingo_outbox_rows', 'Tasks that wait to be handed to the queue, up to 100,000.', () => state.rows)
      gauge('bingo_outbox_oldest_seconds', 'How long the first of them has waited.', () => state.oldestMs / 1000)
      gauge('bingo_outbox_given_up_rows', 'Tasks that an operator has to decide about.', () => state.givenUp)
      const looking = setInterval(look, lookEveryMs)
      ends.push(() => clearInterval(looking))
      ends.push(
        bell.listen(() => {
          isRung = true
          // Not sooner while the queue is away.
          if (failures === 0) wake()
        }),
      )
      void look()
      working = work()
    },
    async stop() {
      isStopping = true
      wake()
      for (const end of ends) end()
      ends = []
      await working
    },
  }
}
