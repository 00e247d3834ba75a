import { expect, test } from 'bun:test'
import fc from 'fast-check'
import type { ExchangeReply, QueueDriver } from '@/infra/queue/driver'
import { isFull } from '../../faults/scene'
import { onEachQueueStore } from './fixture'
import { inLines, snapshot, timeless } from './moment'
import { openQueueStore, type QueueStore } from './stores'
import { type Claims, realTimes, type Step, steps } from './steps'
import { callOf, forget, forgetCalls, make, newMemory, remember } from './trace'

/**
 * I16: one trace gives the same answers, and leaves the same behind, on whichever store it is played. Where there are lanes each claim takes all that
 * it may, since whose turn it is is no promise.
 */
onEachQueueStore('The same calls have the same replies on Redis and on SQLite', (store, name) => {
  if (name === 'model' || name === 'sqlite') return

  const seeds = isFull ? Array.from({ length: 20 }, (_, i) => i) : [20260131, 20261122]
  for (const [seed, claims] of seeds.flatMap(seed => [[seed, 'plain'] as const, [seed, 'whole'] as const])) {
    test(`a trace of seed ${seed}, ${claims === 'plain' ? 'without' : 'with'} lanes and limits`, async () => {
      const [trace = []] = fc.sample(steps(realTimes, 300, 150, claims), { seed, numRuns: 1 })
      const expected = await answersOnSqlite(trace, claims, `${seed} ${claims}`)
      const given = await answers(store(), trace, claims)
      expect(given.length).toBeGreaterThan(100)
      for (const [i, each] of given.entries()) expect([i, each]).toEqual([i, expected[i] as typeof each])
    }, 60_000)
  }
})

/** They are the same for each of the others. */
const onSqlite = new Map<string, Promise<Awaited<ReturnType<typeof answers>>>>()

function answersOnSqlite(trace: readonly Step[], claims: Claims, named: string) {
  const play = async () => {
    const sqlite = await openQueueStore('sqlite')
    const all = await answers(sqlite, trace, claims)
    await sqlite.close()
    return all
  }
  const played = onSqlite.get(named) ?? play()
  onSqlite.set(named, played)
  return played
}

/** So much of the time of a store passes between two steps: more than the shortest times that steps name. */
const pauseMs = 3

/** Every call with its answer, and what there was after it. */
async function answers(store: QueueStore, trace: readonly Step[], claims: Claims) {
  const queue = `trace-${crypto.randomUUID().slice(0, 8)}`
  const clients: [QueueDriver, QueueDriver] = [store.driver, store.rival]
  const memory = newMemory()
  let last = await snapshot(clients[0], queue)
  const all = []
  for (const step of trace) {
    if (step.is === 'crash') forget(memory, step.worker)
    if (step.is === 'restart') {
      clients[0] = await store.open()
      forgetCalls(memory, 0)
      // A reaper that does not trust the clock yet takes nothing for the time of one lease.
      await clients[0].reap(queue, { leaseMs: 1, crashesMax: 3 })
    }
    const call = callOf(memory, step, { ...last.tasks, waiting: inLines(last.tasks.waiting, 'waiting') })
    if (call) {
      const reply = inOrder(await make(clients[call.by], queue, call))
      remember(memory, call, reply)
      last = await snapshot(clients[call.by], queue)
      const isClaim = call.is === 'exchange' && call.exchange.claim !== undefined
      all.push({ call, reply: roughly(reply, claims === 'whole', isClaim), after: timeless(last) })
    }
    await store.advance(pauseMs)
  }
  return all
}

/** What was claimed in an order that is the same everywhere. */
function inOrder(reply: unknown): unknown {
  if (typeof reply !== 'object' || reply === null || !('claimed' in reply)) return reply
  const { claimed, ...rest } = reply as ExchangeReply
  return { ...rest, claimed: claimed.toSorted((a, b) => (a.id < b.id ? -1 : 1)) }
}

/**
 * What is to come is a moment away, or long; under limits also when what comes then waits for others to end, which need not be said. Who claims
 * nothing has a guess there: on Redis that a lane was emptied by operators is found out by a claim.
 */
function roughly(reply: unknown, isLimited: boolean, isClaim: boolean): unknown {
  if (typeof reply !== 'object' || reply === null || !('claimed' in reply)) return reply
  if (isLimited && !isClaim) return { ...(reply as ExchangeReply), nextDueMs: undefined }
  const { nextDueMs = isLimited ? Number.POSITIVE_INFINITY : undefined, ...rest } = reply as ExchangeReply
  if (nextDueMs === undefined) return rest
  return { ...rest, next: nextDueMs === 0 ? 'now' : nextDueMs < 60_000 ? 'soon' : 'later' }
}
