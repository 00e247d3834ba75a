import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { asCaller } from '@/core/caller'
import type { Database } from '@/core/database'
import type { FieldProblem } from '@/core/error'
import { type EnqueueOptions, TaskRefused } from '@/core/queue/queue'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { EnqueueRule, NewTask } from './driver'
import { readEnvelope } from './envelope'
import { canonicalJson, faultOfJson } from './json'
import { instantMs } from './options'
import { createQueue, type OutboxWriter } from './queue'

const nowMs = Date.parse('2026-01-31T09:05:00.000Z')
const send = defineTask('email.send', Type.Object({ to: Type.String(), count: Type.Optional(Type.Integer()) }), {
  queue: 'mail',
  priority: 3,
})
const anything = defineTask('any.thing', Type.Any())
const foreign = defineTask('order.pay', Type.Object({}))

/** A queue over a driver that keeps what it is given. */
function recording({ outbox, payloadMaxBytes = 1024 }: { outbox?: OutboxWriter; payloadMaxBytes?: number } = {}) {
  const calls: { queue: string; tasks: readonly NewTask[]; tx: Database | undefined }[] = []
  const driver = {
    enqueue: async (queue: string, tasks: readonly NewTask[], { tx }: EnqueueRule = {}) => {
      calls.push({ queue, tasks, tx })
      return tasks.map(({ id }) => ({ id, status: 'enqueued' as const }))
    },
  }
  const queue = createQueue({
    driver,
    outbox,
    tasks: [send, anything],
    queues: ['default', 'mail'],
    clock: { nowMs: () => nowMs },
    payloadMaxBytes,
  })
  return { queue, calls, first: () => calls[0]?.tasks[0] as NewTask }
}

/** How an enqueue is refused; nothing may have reached the driver. */
async function refusal(
  payload: unknown,
  options: EnqueueOptions = {},
  task: typeof anything = anything,
): Promise<{ code: string; problems: readonly FieldProblem[] }> {
  const { queue, calls } = recording()
  const thrown: unknown = await queue.enqueue(task, payload, options).catch(error => error)
  expect(calls).toEqual([])
  if (!(thrown instanceof TaskRefused)) throw thrown
  const { code, problems } = thrown
  return { code, problems }
}

describe('what can never be enqueued is refused with what is wrong, and nothing is enqueued', () => {
  test('a task that no module declares, also one of a known name', async () => {
    const { code, problems } = await refusal({}, {}, foreign)
    expect(code).toBe('UnknownTask')
    expect(problems[0]?.detail).toContain('"order.pay" is none of email.send, any.thing')
    expect((await refusal({}, {}, defineTask('email.send', Type.Any()))).code).toBe('UnknownTask')
  })
  test('a queue that no role works', async () => {
    const { code, problems } = await refusal({}, { queue: 'mial' })
    expect(code).toBe('UnknownQueue')
    expect(problems[0]?.detail).toContain('"mial" is none of default, mail')
  })
  test('a payload that breaks its schema: each field once, and without its value', async () => {
    const { code, problems } = await refusal({ count: 'hunter2' }, {}, send as never)
    expect(code).toBe('PayloadInvalid')
    expect(problems.map(({ pointer }) => pointer).toSorted()).toEqual(['/count', '/to'])
    expect(JSON.stringify(problems)).not.toContain('hunter2')
  })
  test('a payload that JSON cannot say, or would say differently', async () => {
    const circle: Record<string, unknown> = { a: 1 }
    circle['self'] = circle
    const values: [unknown, string][] = [
      [undefined, ''],
      [{ a: undefined }, '/a'],
      [{ a: [1, undefined] }, '/a/1'],
      [{ a: 1n }, '/a'],
      [{ 'a/b~c': Number.NaN }, '/a~1b~0c'],
      [[Number.POSITIVE_INFINITY], '/0'],
      [{ at: new Date(0) }, '/at'],
      [new Map(), ''],
      [{ f: () => 1 }, '/f'],
      [{ toJSON: () => 'x' }, '/toJSON'],
      [Symbol('x'), ''],
      [circle, '/self'.repeat(64)],
    ]
    for (const [value, pointer] of values) {
      const { code, problems } = await refusal(value)
      expect([code, problems[0]?.pointer]).toEqual(['PayloadInvalid', pointer])
    }
  })
  test('a payload that is larger than allowed, counted in bytes of its JSON', async () => {
    const { queue, calls } = recording({ payloadMaxBytes: 1024 })
    const fits = ['x'.repeat(1022), 'é'.repeat(511), '€'.repeat(340)]
    const tooLarge = ['x'.repeat(1023), 'é'.repeat(512), '\u0001'.repeat(171)]
    for (const text of fits) expect((await queue.enqueue(anything, text)).status).toBe('enqueued')
    for (const text of tooLarge) await expect(queue.enqueue(anything, text)).rejects.toMatchObject({ code: 'PayloadTooLarge' })
    expect(calls).toHaveLength(fits.length)
  })
  test('options out of range, all of them at once', async () => {
    const bad: [EnqueueOptions, string][] = [
      [{ priority: 10 as 9 }, 'priority'],
      [{ priority: 1.5 as 1 }, 'priority'],
      [{ maxRetries: -1 }, 'maxRetries'],
      [{ maxRetries: 1001 }, 'maxRetries'],
      [{ timeoutMs: 0 }, 'timeoutMs'],
      [{ timeoutMs: 86_400_001 }, 'timeoutMs'],
      [{ delayMs: -1 }, 'delayMs'],
      [{ delayMs: Number.NaN }, 'delayMs'],
      [{ delayMs: '5' as never }, 'delayMs'],
      [{ delayMs: 31_536_000_001 }, 'delayMs'],
      [{ at: 'tomorrow' }, 'at'],
      [{ at: '2026-02-30T00:00:00Z' }, 'at'],
      [{ at: '2026-01-31 09:05:00Z' }, 'at'],
      [{ at: '2028-01-31T09:05:00Z' }, 'at'],
      [{ at: '2026-01-31T09:05:00Z', delayMs: 1 }, 'at'],
      [{ deadline: '2026-01-31' }, 'deadline'],
      [{ uniqueFor: 0 }, 'uniqueFor'],
      [{ uniqueKey: 'x' }, 'uniqueKey'],
      [{ uniqueKey: '', uniqueFor: 1 }, 'uniqueKey'],
      [{ uniqueKey: 'x'.repeat(1001), uniqueFor: 1 }, 'uniqueKey'],
      [{ backoff: { minMs: 2, maxMs: 1, factor: 2 } }, 'backoff'],
      [{ backoff: { minMs: 1, maxMs: 2, factor: 0.5 } }, 'backoff'],
      [{ backoff: { minMs: 1, maxMs: 2, factor: Number.NaN } }, 'backoff'],
      [{ backoff: null as never }, 'backoff'],
      [{ delay: 5 } as never, 'delay'],
      [{ id: '' }, 'id'],
      [{ id: 'x'.repeat(129) }, 'id'],
      [{ id: 'a b' }, 'id'],
      [{ id: 'a{b' }, 'id'],
      [{ id: 'a}b' }, 'id'],
      [{ id: 'é' }, 'id'],
      [{ id: 'a\nb' }, 'id'],
      [{ headers: { Upper: 'x' } }, 'headers'],
      [{ headers: { a: 'x\r\ny' } }, 'headers'],
      [{ headers: { a: 1 as never } }, 'headers'],
      [{ headers: { a: 'x'.repeat(1024) } }, 'headers'],
      [{ headers: Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`h${i}`, 'x'])) }, 'headers'],
    ]
    for (const [options, pointer] of bad) {
      const { code, problems } = await refusal({}, options)
      expect([options, code, problems.map(problem => problem.pointer)]).toEqual([options, 'OptionInvalid', [pointer]])
    }
    expect((await refusal({}, { priority: -1 as 0, delayMs: -1 })).problems).toHaveLength(2)
    expect((await refusal({}, { delay: 5 } as never)).problems[0]?.detail).toContain('did you mean delayMs?')
  })
  test('one bad item refuses all of them, and is named', async () => {
    const { queue, calls } = recording()
    const items = [{ payload: { to: 'a' } }, { payload: { to: 1 as never } }, { payload: { to: 'c' } }]
    const failed = queue.enqueueMany(send, items)
    await expect(failed).rejects.toMatchObject({ code: 'PayloadInvalid', problems: [{ pointer: '/1/payload/to' }] })
    const delayed = queue.enqueueMany(send, [{ payload: { to: 'a' } }, { payload: { to: 'b' }, delayMs: -1 }])
    await expect(delayed).rejects.toMatchObject({ code: 'OptionInvalid', problems: [{ pointer: '/1/delayMs' }] })
    await expect(queue.enqueueMany(anything, new Array(10_001).fill({ payload: 1 }))).rejects.toMatchObject({ code: 'TooMany' })
    expect(calls).toEqual([])
  })
})

describe('what is handed to the driver', () => {
  test('a task with the defaults of its declaration, and an id of its own', async () => {
    const { queue, calls, first } = recording()
    const reply = await queue.enqueue(send, { to: 'ada' })
    expect(reply).toEqual({ id: first().id, status: 'enqueued' })
    expect(reply.id).toMatch(/^[\w-]{22}$/)
    expect(calls[0]).toMatchObject({ queue: 'mail', tx: undefined })
    expect(first()).toEqual({ id: reply.id, isIdKept: false, priority: 3, delayMs: 0, envelope: first().envelope })
    expect(readEnvelope(first().envelope)).toEqual({
      task: 'email.send',
      payload: { to: 'ada' },
      isGroup: false,
      enqueuedAtMs: nowMs,
      headers: {},
      said: {},
    })
  })
  test('what was said, and nothing else: defaults of a newer version hold for what waits', async () => {
    const { queue, calls, first } = recording()
    const options = { queue: 'default', priority: 0, id: 'order:17', maxRetries: 0, timeoutMs: 5, delayMs: 7 } as const
    const backoff = { minMs: 0, maxMs: 10, factor: 1.5 }
    await queue.enqueue(send, { to: 'ada' }, { ...options, backoff, deadline: '2026-01-31T10:05:00+01:00', headers: { tenant: 'x' } })
    expect(calls[0]?.queue).toBe('default')
    expect(first()).toMatchObject({ id: 'order:17', isIdKept: true, priority: 0, delayMs: 7 })
    const said = { maxRetries: 0, timeoutMs: 5, backoff, deadlineMs: nowMs }
    expect(readEnvelope(first().envelope)).toMatchObject({ headers: { tenant: 'x' }, said })
  })
  test('an instant as the delay until then; one that has passed is now', async () => {
    for (const [at, delayMs] of [
      ['2026-01-31T09:05:01.5Z', 1500],
      ['2026-01-31T10:05:01+01:00', 1000],
      ['2026-01-31T09:04:00Z', 0],
      ['1999-12-31T23:59:59Z', 0],
    ] as const) {
      const { queue, first } = recording()
      await queue.enqueue(send, { to: 'ada' }, { at })
      expect([at, first().delayMs]).toEqual([at, delayMs])
    }
  })
  test('a unique key of the task and its payload, whatever the order of its fields, or of what is said to be unique', async () => {
    const { queue, calls } = recording()
    const unique = (payload: { to: string; count?: number }, uniqueKey?: string) =>
      queue.enqueue(send, payload, { uniqueFor: 60_000, ...(uniqueKey !== undefined && { uniqueKey }) })
    await unique({ to: 'ada', count: 1 })
    await unique({ count: 1, to: 'ada' })
    await unique({ to: 'ada', count: 2 })
    await unique({ to: 'ada', count: 1 }, 'ada')
    await unique({ to: 'bob' }, 'ada')
    await queue.enqueue(anything, { to: 'ada', count: 1 }, { uniqueFor: 60_000 })
    const keys = calls.map(({ tasks }) => tasks[0]?.unique?.key)
    expect(calls[0]?.tasks[0]?.unique?.forMs).toBe(60_000)
    expect(keys[0]).toMatch(/^[\w-]{22}$/)
    expect([keys[1], keys[4]]).toEqual([keys[0], keys[3]])
    expect(new Set(keys).size).toBe(4)
  })
  test('the request and the trace of the caller as headers, unless others are said', async () => {
    const { queue, calls } = recording()
    const caller = { requestId: 'r-1', traceparent: '00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01' }
    await asCaller(caller, () => queue.enqueue(send, { to: 'ada' }))
    await asCaller(caller, () => queue.enqueue(send, { to: 'ada' }, { headers: { 'x-request-id': 'mine', tenant: 'x' } }))
    await asCaller({}, () => queue.enqueue(send, { to: 'ada' }))
    expect(calls.map(({ tasks }) => readEnvelope(tasks[0]?.envelope ?? '')?.headers)).toEqual([
      { 'x-request-id': 'r-1', traceparent: caller.traceparent },
      { 'x-request-id': 'mine', traceparent: caller.traceparent, tenant: 'x' },
      {},
    ])
  })
  test('many in chunks that the driver takes, each to its queue, with replies in the order of the items', async () => {
    const { queue, calls } = recording()
    const items = Array.from({ length: 2500 }, (_, i) => ({ payload: i, id: `t${i}`, queue: i % 2 ? 'mail' : 'default' }))
    const replies = await queue.enqueueMany(anything, items)
    expect(replies.map(({ id }) => id)).toEqual(items.map(({ id }) => id))
    expect(calls.map(({ queue: name, tasks }) => [name, tasks.length])).toEqual([
      ['default', 1000],
      ['mail', 1000],
      ['default', 250],
      ['mail', 250],
    ])
  })
  test('many large ones in smaller chunks', async () => {
    const { queue, calls } = recording({ payloadMaxBytes: 3_000_000 })
    await queue.enqueueMany(anything, new Array(5).fill({ payload: 'x'.repeat(2_000_000) }))
    expect(calls.map(({ tasks }) => tasks.length)).toEqual([2, 2, 1])
  })
  test('a transaction with it, or the outbox, where the driver cannot be part of one', async () => {
    const tx = {} as Database
    const inDriver = recording()
    await inDriver.queue.enqueue(send, { to: 'ada' }, { tx })
    expect(inDriver.calls[0]?.tx).toBe(tx)

    const kept: unknown[] = []
    const outbox: OutboxWriter = {
      add: async (within, queue, tasks) => void kept.push([within, queue, tasks.length]),
    }
    const { queue, calls } = recording({ outbox })
    expect((await queue.enqueue(send, { to: 'ada' }, { tx })).status).toBe('enqueued')
    expect(await queue.enqueueMany(send, [{ payload: { to: 'a' } }, { payload: { to: 'b' } }], { tx })).toHaveLength(2)
    expect(kept).toEqual([
      [tx, 'mail', 1],
      [tx, 'mail', 2],
    ])
    expect(calls).toEqual([])
  })
})

test('what is found fit for JSON comes back from it as it was', () => {
  const odd = fc.anything({ withBigInt: true, withDate: true, withMap: true, withNullPrototype: true, withSparseArray: true })
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), odd), value => {
      const isFit = faultOfJson(value) === undefined
      if (isFit) expect(JSON.parse(JSON.stringify(value))).toEqual(JSON.parse(canonicalJson(value)))
      if (isFit) expect(Bun.deepEquals(JSON.parse(JSON.stringify(value)), plain(value))).toBe(true)
    }),
    { numRuns: 2000 },
  )
  fc.assert(fc.property(fc.jsonValue({ maxDepth: 20 }), value => faultOfJson(value) === undefined))
})

/** Without what JSON does not tell apart: negative zero, and objects without a prototype. */
function plain(value: unknown): unknown {
  if (value === 0) return 0
  if (typeof value !== 'object' || value === null) return value
  return Array.isArray(value) ? value.map(plain) : Object.fromEntries(Object.entries(value).map(([name, field]) => [name, plain(field)]))
}

test('an instant is one that there is', () => {
  for (const text of ['2024-02-29T23:59:59Z', '2026-01-31T09:05:00.123456789-03:30']) expect(instantMs(text)).toBeNumber()
  for (const text of [
    '2026-02-29T00:00:00Z',
    '2026-13-01T00:00:00Z',
    '2026-01-31T24:00:00Z',
    '2026-01-31T09:05:00',
    '2026-01-31T09:05Z',
    '',
  ])
    expect(instantMs(text)).toBeUndefined()
})
