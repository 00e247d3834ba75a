import { expect, test } from 'bun:test'
import { keptIdMs } from '../driver'
import { temporaryFolder } from '@/testing/bingo'
import { newClaim, newTask, openQueueFile } from '@/testing/sqlite-queue'

/** What a reaper makes of a clock that jumps, and of a queue that nobody has written to for long. */

const leaseMs = 30_000
const hourMs = 3_600_000
const rule = { leaseMs, crashesMax: 3 }
const nothing = { again: [], poisoned: [], more: false }
const startMs = Date.parse('2026-01-31T09:05:00.000Z')

/** Clocks of a machine: `pass` is time that passes, `jump` moves what people call the time alone. */
function newMachine() {
  let wallMs = startMs
  let steadyMs = 1000
  return {
    clocks: { clock: { nowMs: () => wallMs }, monotonicMs: () => steadyMs },
    pass(ms: number) {
      wallMs += ms
      steadyMs += ms
    },
    jump(ms: number) {
      wallMs += ms
    },
  }
}

async function openWithActive(ids: readonly string[]) {
  const machine = newMachine()
  const file = await openQueueFile(undefined, {}, machine.clocks)
  const tasks = ids.map(id => newTask({ id }))
  await file.queue.enqueue('default', tasks)
  const claim = newClaim(ids.length, leaseMs)
  const { claimed } = await file.queue.exchange('default', { claim })
  const held = claimed.map(({ id, attempt }) => ({ id, attempt, nonce: claim.nonce }))
  return { ...file, machine, held, reap: () => file.queue.reap('default', rule) }
}

test('a lease that has ended is over, and one that has not is not', async () => {
  const { machine, reap, close } = await openWithActive(['a'])
  machine.pass(leaseMs - 1)
  expect(await reap()).toEqual(nothing)
  machine.pass(1)
  expect(await reap()).toEqual({ ...nothing, again: ['a'] })
  await close()
})

test('when the clock jumps ahead, workers have a lease to say that they live; who does not is dead', async () => {
  const { machine, held, queue, reap, close } = await openWithActive(['lives', 'lost'])
  machine.pass(4000)
  expect(await reap()).toEqual(nothing)
  machine.jump(hourMs)
  machine.pass(4000)
  expect(await reap()).toEqual(nothing)
  machine.pass(leaseMs - 5000)
  expect(await reap()).toEqual(nothing)
  const [lives] = held
  expect(await queue.beat('default', leaseMs, lives ? [lives] : [])).toEqual({ lost: [], cancelled: [] })
  machine.pass(5000)
  expect(await reap()).toEqual({ ...nothing, again: ['lost'] })
  await close()
})

test('when the clock jumps back, the tasks of lost workers are not held for that much longer', async () => {
  const { machine, queue, reap, close } = await openWithActive(['a'])
  machine.pass(4000)
  machine.jump(-hourMs)
  expect(await reap()).toEqual(nothing)
  // What was left of the lease when the queue was last written to.
  expect((await queue.show('default', 'a'))?.atMs).toBe(machine.clocks.clock.nowMs() + leaseMs)
  machine.pass(leaseMs)
  expect(await reap()).toEqual({ ...nothing, again: ['a'] })
  await close()
})

test('a process that starts after a long silence waits a lease, since it cannot know why it was silent', async () => {
  using folder = temporaryFolder()
  const path = `${folder.path}/silent.db`
  const machine = newMachine()
  const before = await openQueueFile(path, {}, machine.clocks)
  await before.queue.enqueue('default', [newTask({ id: 'a' })])
  await before.queue.exchange('default', { claim: newClaim(1, leaseMs) })
  await before.close()
  machine.pass(hourMs)
  const after = await openQueueFile(path, {}, machine.clocks)
  expect(await after.queue.reap('default', rule)).toEqual(nothing)
  machine.pass(leaseMs - 1)
  expect(await after.queue.reap('default', rule)).toEqual(nothing)
  machine.pass(1)
  expect(await after.queue.reap('default', rule)).toEqual({ ...nothing, again: ['a'] })
  await after.close()
})

test('a process that starts while others reap does not wait, though nothing else has been written for long', async () => {
  const { machine, path, reap, close } = await openWithActive(['a'])
  for (let passedMs = 0; passedMs < leaseMs; passedMs += 3750) {
    expect(await reap()).toEqual(nothing)
    machine.pass(3750)
  }
  const other = await openQueueFile(path, {}, machine.clocks)
  expect(await other.queue.reap('default', rule)).toEqual({ ...nothing, again: ['a'] })
  await other.close()
  await close()
})

test('ids are forgotten after 24 hours, some with each that comes and the rest by reapers, and no table grows', async () => {
  const machine = newMachine()
  const { queue, raw, close } = await openQueueFile(undefined, {}, machine.clocks)
  const remembered = () => (raw.query('select count(*) as "n" from "queueTombstone"').get() as { n: number }).n
  const endAll = async (ids: readonly string[]) => {
    await queue.enqueue(
      'default',
      ids.map(id => newTask({ id, isIdKept: true })),
    )
    for (const id of ids) expect(await queue.cancel('default', [id])).toEqual(['cancelled'])
  }
  await endAll(Array.from({ length: 20 }, (_, i) => `old-${i}`))
  machine.pass(keptIdMs - 1)
  await queue.reap('default', rule)
  expect(remembered()).toBe(20)
  machine.pass(1)
  await endAll(['new-1', 'new-2'])
  expect(remembered()).toBe(20 - 4 + 2)
  await queue.reap('default', rule)
  expect(remembered()).toBe(2)
  await close()
})

test('a task whose worker says that it lives keeps it when the clock is set back, though nobody else writes to the queue', async () => {
  const { machine, held, queue, raw, reap, close } = await openWithActive(['long'])
  machine.pass(4000)
  machine.jump(-120_000)
  // A worker that beats every ten seconds, while every process looks every four.
  for (let passedMs = 0; passedMs < 3 * leaseMs; passedMs += 2000) {
    if (passedMs % 10_000 === 0) expect(await queue.beat('default', leaseMs, held)).toEqual({ lost: [], cancelled: [] })
    if (passedMs % 4000 === 0) expect(await reap()).toEqual(nothing)
    machine.pass(2000)
  }
  const { at } = raw.query('select "at" from "queueTask"').get() as { at: number }
  expect(at - machine.clocks.clock.nowMs()).toBeGreaterThanOrEqual(leaseMs - 10_000)
  expect(at - machine.clocks.clock.nowMs()).toBeLessThanOrEqual(leaseMs)
  await close()
})
