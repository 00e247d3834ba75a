import { expect, test } from 'bun:test'
import { defineLimit } from '@/core/queue/limit'
import { defineTask, giveUp, handle, snooze } from '@/core/queue/task'
import { Type } from '@/core/schema'
import { type TestQueueOptions, testQueue } from './queue'

const Payload = Type.Object({ n: Type.Integer() }, { additionalProperties: false })
const note = defineTask('test.note', Payload)
const other = defineTask('test.other', Payload, { queue: 'mail', maxRetries: 2, backoff: { minMs: 1000, maxMs: 60_000, factor: 2 } })

/** With a handler that writes down what it is given, and throws while it is told to. */
async function noting(over: TestQueueOptions = {}) {
  const ran: number[] = []
  const failing = { times: 0 }
  const work = async ({ n }: { n: number }) => {
    ran.push(n)
    if (failing.times-- > 0) throw new Error(`no ${n}`)
  }
  const opened = await testQueue({ handlers: [handle(note, work), handle(other, work)], ...over })
  return { ...opened, ran, failing }
}

test('runs nothing before it is drained, and then what may start now', async () => {
  await using t = await noting()
  await t.queue.enqueue(note, { n: 1 })
  await t.queue.enqueue(note, { n: 2 }, { delayMs: 60_000 })
  await t.queue.enqueue(other, { n: 3 })
  await Bun.sleep(20)
  expect(t.ran).toEqual([])
  const attempts = await t.drain()
  expect(t.ran.toSorted()).toEqual([1, 3])
  expect(attempts.map(({ task, outcome }) => `${task} ${outcome}`).toSorted()).toEqual(['test.note done', 'test.other done'])
  expect(await t.drain()).toEqual([])
})

test('a clock that is moved on makes delayed tasks due, to the millisecond', async () => {
  await using t = await noting()
  await t.queue.enqueue(note, { n: 1 }, { delayMs: 60_000 })
  t.clock.advance(59_999)
  await t.drain()
  expect(t.ran).toEqual([])
  t.clock.advance(1)
  await t.drain()
  expect(t.ran).toEqual([1])
  expect(() => t.clock.advance(-1)).toThrow('moved on')
})

test('what failed is tried again when the clock says so, and is dead after the last time', async () => {
  await using t = await noting()
  t.failing.times = 3
  await t.queue.enqueue(other, { n: 1 })
  const [first] = await t.drain()
  expect(first).toMatchObject({ task: 'test.other', attempt: 1, outcome: 'retry', error: new Error('no 1') })
  t.clock.advance(999)
  expect(await t.drain()).toEqual([])
  t.clock.advance(1)
  expect(await t.drain()).toMatchObject([{ attempt: 2, outcome: 'retry' }])
  const rest = await t.drain({ andScheduled: true })
  expect(rest).toMatchObject([{ attempt: 3, outcome: 'dead' }])
  expect((await t.admin.stats('mail')).dead).toBe(1)
})

test('goes through all that is scheduled, each in its time', async () => {
  const seen: string[] = []
  const at = defineTask('test.at', Payload)
  await using t = await testQueue({
    handlers: [
      handle(at, async ({ n }) => {
        seen.push(`${n} at ${new Date(t.clock.nowMs()).toISOString().slice(11, 19)}`)
        if (n === 1 && seen.length === 1) return snooze(3_600_000)
        if (n === 2) await t.queue.enqueue(at, { n: 3 }, { delayMs: 60_000 })
        return n === 3 ? giveUp('enough') : undefined
      }),
    ],
  })
  await t.queue.enqueue(at, { n: 2 }, { at: '2026-01-31T09:30:00Z' })
  await t.queue.enqueue(at, { n: 1 })
  const attempts = await t.drain({ andScheduled: true })
  expect(seen).toEqual(['1 at 09:05:00', '2 at 09:30:00', '3 at 09:31:00', '1 at 10:05:00'])
  expect(attempts.map(({ outcome }) => outcome)).toEqual(['snooze', 'done', 'dead', 'done'])
})

test('what never ends is said, and not waited for', async () => {
  const again = defineTask('test.again', Payload)
  await using t = await testQueue({ handlers: [handle(again, async ({ n }) => void (await t.queue.enqueue(again, { n: n + 1 })))] })
  await t.queue.enqueue(again, { n: 0 })
  // Not with `rejects`, within which what is due at once comes late.
  const messageOf = (work: Promise<unknown>) =>
    work.then(
      () => 'it ended',
      thrown => thrown.message,
    )
  expect(await messageOf(t.drain())).toStartWith('1000 attempts were made, and there is more to do: does a task enqueue itself?')
  expect(await messageOf(t.drain({ attemptsMax: 10 }))).toStartWith('10 attempts were made')
})

test('a task that no handler is there for is dead, and says so', async () => {
  await using t = await testQueue({ tasks: [note] })
  await t.queue.enqueue(note, { n: 1 })
  const [attempt] = await t.drain()
  expect(attempt).toMatchObject({
    task: undefined,
    outcome: 'dead',
    error: { message: expect.stringContaining('unknown task: test.note') },
  })
})

test('says what was enqueued: no duplicates, and of transactions what they commit', async () => {
  await using t = await noting()
  await t.queue.enqueue(note, { n: 1 }, { id: 'one', delayMs: 5 })
  await t.queue.enqueue(note, { n: 1 }, { id: 'one' })
  await t.queue.enqueueMany(other, [{ payload: { n: 2 } }, { payload: { n: 3 }, priority: 1 }])
  expect(t.enqueued(note)).toEqual([{ id: 'one', task: 'test.note', payload: { n: 1 }, options: { id: 'one', delayMs: 5 } }])
  expect(t.enqueued(other).map(({ payload, options }) => [payload.n, options])).toEqual([
    [2, {}],
    [3, { priority: 1 }],
  ])
  t.forget()
  const undone = t.db.tx(async tx => {
    await t.queue.enqueue(note, { n: 4 }, { tx })
    throw new Error('undo')
  })
  await expect(undone).rejects.toThrow('undo')
  t.expectNoneEnqueued()
  await t.db.tx(async tx => {
    await t.queue.enqueue(note, { n: 5 }, { tx })
    t.expectNoneEnqueued()
  })
  expect(t.enqueued()).toMatchObject([{ payload: { n: 5 }, options: {} }])
  expect('tx' in (t.enqueued()[0]?.options ?? {})).toBe(false)
  await t.drain()
  expect(t.ran).toContain(5)
  expect(t.ran).not.toContain(4)
})

test('expects what was enqueued, with matchers, and fails the test otherwise', async () => {
  await using t = await noting()
  await t.queue.enqueue(note, { n: 1 }, { delayMs: 60_000, priority: 1 })
  t.expectEnqueued(note)
  t.expectEnqueued(note, { n: 1 })
  t.expectEnqueued(note, { n: expect.any(Number) }, { delayMs: 60_000 })
  t.expectNoneEnqueued(other)
  for (const wrong of [
    () => t.expectEnqueued(other),
    () => t.expectEnqueued(note, { n: 2 }),
    () => t.expectEnqueued(note, { n: 1 }, { delayMs: 1 }),
    () => t.expectNoneEnqueued(note),
    () => t.expectNoneEnqueued(),
  ])
    expect(wrong).toThrow()
})

test('inline, runs each task before the call returns, and throws there what it throws', async () => {
  await using t = await noting({ isInline: true })
  await t.queue.enqueue(note, { n: 1 })
  expect(t.ran).toEqual([1])
  await t.queue.enqueueMany(note, [{ payload: { n: 2 } }, { payload: { n: 3 } }])
  expect(t.ran).toEqual([1, 2, 3])
  await t.queue.enqueue(note, { n: 4 }, { delayMs: 1000 })
  expect(t.ran).toEqual([1, 2, 3])
  await t.db.tx(async tx => {
    await t.queue.enqueue(note, { n: 5 }, { tx })
    expect(t.ran).toEqual([1, 2, 3])
  })
  expect(t.ran).toEqual([1, 2, 3, 5])
  t.failing.times = 1
  await expect(t.queue.enqueue(note, { n: 6 })).rejects.toThrow('no 6')
  t.failing.times = 1
  await expect(t.db.tx(tx => t.queue.enqueue(note, { n: 7 }, { tx }))).rejects.toThrow('no 7')
})

test('inline, a task that enqueues another has it done before it goes on', async () => {
  const seen: string[] = []
  const outer = defineTask('test.outer', Payload)
  await using t = await testQueue({
    isInline: true,
    handlers: [
      handle(note, async ({ n }) => void seen.push(`note ${n}`)),
      handle(outer, async ({ n }) => {
        seen.push(`outer ${n}`)
        await t.queue.enqueue(note, { n })
        seen.push('outer again')
      }),
    ],
  })
  await t.queue.enqueue(outer, { n: 1 })
  expect(seen).toEqual(['outer 1', 'note 1', 'outer again'])
})

test('what operators do goes by its clock', async () => {
  await using t = await noting()
  const deletedOf = async () =>
    (await Array.fromAsync(t.admin.bulk('default', { action: 'delete', filter: { olderThanMs: 3_600_000 } }))).at(-1)?.done
  await t.queue.enqueue(note, { n: 1 })
  expect(await deletedOf()).toBe(0)
  t.clock.advance(3_600_000)
  expect(await deletedOf()).toBe(1)
})

test('what a payload or an option may not be is refused as ever, and a full queue is full', async () => {
  const small = defineTask('test.small', Payload, { queue: 'small' })
  await using t = await testQueue({ tasks: [note, small], queues: { small: { backlogMax: 1 } } })
  await expect(t.queue.enqueue(note, { n: 'x' as never })).rejects.toMatchObject({ code: 'PayloadInvalid' })
  await expect(t.queue.enqueue(note, { n: 1 }, { key: 'acme' })).rejects.toMatchObject({ code: 'OptionInvalid' })
  t.expectNoneEnqueued()
  await t.queue.enqueue(small, { n: 1 })
  await expect(t.queue.enqueue(small, { n: 2 })).rejects.toMatchObject({ code: 'Unavailable.QueueFull', retryAfterSeconds: 5 })
  await expect(t.db.tx(tx => t.queue.enqueue(small, { n: 2 }, { tx }))).rejects.toMatchObject({ code: 'Unavailable.QueueFull' })
  expect(t.enqueued(small)).toHaveLength(1)
})

test('limits hold: a rate is waited for by the clock, and no more of a key run at a time than may', async () => {
  const rate = { count: 1, perMs: 10_000, burst: 2 }
  const timed = defineTask('test.timed', Payload, { limit: defineLimit('timed', { rate }) })
  const seen: string[] = []
  const running = { now: 0, most: 0 }
  const keyed = defineTask('test.keyed', Payload, { limit: defineLimit('keyed', { concurrency: 2 }) })
  await using t = await testQueue({
    concurrency: 8,
    handlers: [
      handle(timed, async ({ n }) => void seen.push(`${n} at ${new Date(t.clock.nowMs()).toISOString().slice(14, 19)}`)),
      handle(keyed, async () => {
        running.most = Math.max(running.most, ++running.now)
        await Bun.sleep(2)
        running.now--
      }),
    ],
  })
  for (const n of [1, 2, 3, 4]) await t.queue.enqueue(timed, { n })
  expect(await t.drain()).toHaveLength(2)
  await t.drain({ andScheduled: true })
  expect(seen).toEqual(['1 at 05:00', '2 at 05:00', '3 at 05:10', '4 at 05:20'])
  await t.queue.enqueueMany(
    keyed,
    Array.from({ length: 12 }, (_, n) => ({ payload: { n }, key: 'acme' })),
  )
  expect(await t.drain()).toHaveLength(12)
  expect(running.most).toBe(2)
})

test('works in the database of a test, which stays open', async () => {
  await using outer = await noting()
  {
    await using t = await noting({ db: outer.db, clock: outer.clock })
    await t.queue.enqueue(note, { n: 1 })
  }
  await outer.drain()
  expect(outer.ran).toEqual([1])
})
