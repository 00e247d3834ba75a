import { expect } from 'bun:test'
import { taskStates } from '@/core/queue/admin'
import type { ExchangeReply, Held, QueueDriver, ReapReply, ReapRule } from '@/infra/queue/driver'
import { findingsOf, heldOf, longMs } from './fixture'
import { check } from './invariants'
import { modelStore } from './model'
import { inLines, newLedger, type Snapshot, snapshot, timeless } from './moment'
import type { QueueStore } from './stores'
import { followers, type Step } from './steps'
import { type Call, callOf, forget, forgetCalls, make, newMemory, remember } from './trace'

/** Where time is real, what the store says of it may be so far from what the model says. */
const realToleranceMs = 30_000
/** Where time is real, the shortest of times are over after this. */
const realPauseMs = 3
/** Within so many hours everything has come to its end that nobody holds up. */
const roundsMax = 40
let count = 0

/**
 * Plays steps on a driver and on the model: their answers are the same, so is what there is after each, and the invariants hold. In
 * the end everything that is still there is brought to its end, and nothing is left.
 */
export async function playBeside(store: QueueStore, steps: readonly Step[]): Promise<void> {
  const queue = `model-${++count}-${crypto.randomUUID().slice(0, 8)}`
  let nowMs = 0
  const models = modelStore({ nowMs: () => nowMs })
  const model = models.open()
  const clients: [QueueDriver, QueueDriver] = [store.driver, store.rival]
  const opened: QueueDriver[] = []
  const memory = newMemory()
  const ledger = newLedger()
  /** Of all claims in it. */
  const limits = steps.flatMap(step => (step.is === 'exchange' && step.claim?.limits ? [step.claim.limits] : []))[0]
  let last: Snapshot | undefined
  /** The last attempt that was given of each task, also of workers that have died since. */
  const given = new Map<string, Held>()
  const toleranceMs = store.isTimeReal ? realToleranceMs : 0

  async function callBoth(call: Call): Promise<void> {
    const real = clients[call.by]
    const before = last ?? (await snapshot(real, queue))
    const beganMs = await store.nowMs()
    const reply = call.is === 'reap' ? await reapTrusting(real, call.rule) : await make(real, queue, call)
    const endedMs = await store.nowMs()
    // Where time is real it has gone on since; but no time that was said ends between two steps.
    nowMs = call.is === 'reap' ? endedMs : beganMs
    if (call.is === 'exchange' && call.exchange.claim)
      models.follow(
        queue,
        (reply as ExchangeReply).claimed.map(({ id }) => id),
      )
    const expected = await make(model, queue, call)
    expectSame(call, reply, expected, toleranceMs)
    const after = await snapshot(clients[1 - call.by] as QueueDriver, queue)
    nowMs = await store.nowMs()
    expectSameState(after, await snapshot(model, queue), toleranceMs)
    for (const id of followers) expect([id, await real.before(queue, id)]).toEqual([id, await model.before(queue, id)])
    check({ call, reply, before, after, beganMs, endedMs, ledger })
    last = after
    remember(memory, call, reply)
    const nonce = call.is === 'exchange' ? call.exchange.claim?.nonce : undefined
    if (nonce) for (const { id, attempt } of (reply as ExchangeReply).claimed) given.set(id, { id, attempt, nonce })
    if (store.isTimeReal) await store.advance(realPauseMs)
  }

  /** A reaper that does not trust the clock yet takes nothing for the time of one lease. */
  async function reapTrusting(driver: QueueDriver, rule: ReapRule): Promise<ReapReply> {
    const cancelled = async () => (await driver.stats(queue)).total.cancelled
    const before = await cancelled()
    const reply = await driver.reap(queue, rule)
    if (reply.again.length + reply.poisoned.length > 0 || reply.expired || (await cancelled()) > before) return reply
    await store.advance(rule.leaseMs + 1)
    return driver.reap(queue, rule)
  }

  async function play(step: Step): Promise<void> {
    if (step.is === 'pass') return store.advance(step.ms)
    if (step.is === 'crash') return forget(memory, step.worker)
    if (step.is === 'restart') {
      if (opened.includes(clients[0])) await clients[0].close()
      clients[0] = await store.open()
      opened.push(clients[0])
      forgetCalls(memory, 0)
      if (last) expect((await snapshot(clients[0], queue)).tasks).toEqual(last.tasks)
      return
    }
    const call = callOf(memory, step, (await snapshot(model, queue)).tasks)
    if (call) await callBoth(call)
  }

  const finishAs = (held: readonly Held[]) =>
    callBoth({ is: 'exchange', by: 0, exchange: { finish: held.map(each => ({ ...heldOf(each), outcome: 'done' })) } })

  /** Whoever holds or waits for something long, as for a rate: where time is real, it is not waited for. */
  async function letTimePass({ active, scheduled, waiting }: Snapshot['tasks'], round: number): Promise<void> {
    if (store.isTimeReal) {
      await finishAs(active.flatMap(({ id }) => given.get(id) ?? []))
      for (const { id } of round === 0 ? scheduled : [...scheduled, ...waiting]) await callBoth({ is: 'cancel', by: 0, ids: [id] })
    } else {
      await store.advance(longMs + 1)
      await callBoth({ is: 'reap', by: 1, rule: { leaseMs: 1, crashesMax: 3 } })
    }
  }

  /** I8: when nothing fails any more every task comes to its end, and I3: nothing is left of any. */
  async function bringToAnEnd(): Promise<void> {
    const there = async () => (await snapshot(clients[0], queue)).tasks
    await callBoth({ is: 'resume', by: 0 })
    for (let round = 0; round < roundsMax; round++) {
      const tasks = await there()
      for (const { id } of tasks.held) await callBoth({ is: 'cancel', by: 0, ids: [id] })
      if (tasks.waiting.length + tasks.scheduled.length + tasks.active.length === 0) break
      await letTimePass(tasks, round)
      const claim = {
        worker: 'one:1',
        nonce: `last-${String(round).padStart(11, '0')}`,
        count: 100,
        leaseMs: longMs,
        ...(limits ? { limits } : {}),
      }
      await callBoth({ is: 'exchange', by: 0, exchange: { claim } })
      await finishAs((await there()).active.map(({ id, attempt }) => ({ id, attempt, nonce: claim.nonce })))
    }
    // Lanes that operators have emptied are forgotten when they have their turn.
    await callBoth({
      is: 'exchange',
      by: 0,
      exchange: { claim: { worker: 'one:1', nonce: 'of-nothing-at-all', count: 100, leaseMs: longMs } },
    })
    const { dead, done } = await there()
    for (const { id } of [...dead, ...done]) await callBoth({ is: 'remove', by: 0, ids: [id] })
    expect(await there()).toEqual({ waiting: [], scheduled: [], held: [], active: [], done: [], dead: [] })
    expect(await findingsOf(clients[0], queue, false)).toEqual([])
    if (!store.isTimeReal) await store.advance(longMs)
    expect(await store.leftovers(queue)).toEqual([])
  }

  try {
    for (const step of steps) await play(step)
    expect(await findingsOf(clients[1], queue, false)).toEqual([])
    await bringToAnEnd()
  } finally {
    if (opened.includes(clients[0])) await clients[0].close()
  }
}

function expectSame(call: Call, reply: unknown, expected: unknown, toleranceMs: number): void {
  if (call.is === 'exchange') {
    const { nextDueMs, ...rest } = orderly(reply as ExchangeReply)
    const { nextDueMs: expectedMs, ...expectedRest } = orderly(expected as ExchangeReply)
    expect(rest).toEqual(expectedRest)
    if (call.exchange.claim) expectDue(nextDueMs, expectedMs, toleranceMs)
  } else {
    expect([call.is, reply]).toEqual([call.is, expected])
  }
}

/** What is claimed again comes in no order when tasks are in lanes; and whether it is in order at first the model sees. */
const orderly = (reply: ExchangeReply): ExchangeReply => ({
  ...reply,
  claimed: reply.claimed.toSorted((a, b) => (a.id < b.id ? -1 : 1)),
})

/** Where time is real, who waits for others to end may be told of a time, when something may start if they do. */
function expectDue(ms: number | undefined, expectedMs: number | undefined, toleranceMs: number): void {
  if (toleranceMs > 0 && expectedMs === undefined && ms !== undefined) expect(ms).toBeGreaterThan(0)
  else expectNear(ms, expectedMs, toleranceMs)
}

function expectNear(ms: number | undefined, expectedMs: number | undefined, toleranceMs: number): void {
  if (ms === undefined || expectedMs === undefined || toleranceMs === 0) expect(ms).toBe(expectedMs)
  else expect(Math.abs(ms - expectedMs)).toBeLessThanOrEqual(toleranceMs)
}

function expectSameState(real: Snapshot, model: Snapshot, toleranceMs: number): void {
  expect(timeless(real)).toEqual(timeless(model))
  const times = ({ tasks, stats }: Snapshot) => [
    stats.oldestWaitingMs,
    ...taskStates.flatMap(state =>
      inLines(tasks[state], state).flatMap(({ atMs, errors }) => [atMs, ...errors.map(({ at }) => Date.parse(at))]),
    ),
  ]
  const expected = times(model)
  for (const [i, ms] of times(real).entries()) expectNear(ms, expected[i], toleranceMs)
}
