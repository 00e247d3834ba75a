import { describe, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { type Enqueued, type Queue, type Step, step, TaskRefused } from '@/core/queue/queue'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { NewTask } from './driver'
import { createQueue, type OutboxWriter } from './queue'

const count = defineTask('number.count', Type.Object({ n: Type.Integer() }))
const send = defineTask('email.send', Type.Object({ n: Type.Integer() }), { queue: 'mail' })
const foreign = defineTask('order.pay', Type.Object({ n: Type.Integer() }))

/** A queue over a driver that keeps what it is given, and knows ids. */
function recording({ outbox, failAfter = Number.POSITIVE_INFINITY }: { outbox?: OutboxWriter; failAfter?: number } = {}) {
  const calls: { queue: string; tasks: readonly NewTask[]; tx: Database | undefined }[] = []
  const known = new Set<string>()
  const queue = createQueue({
    driver: {
      async enqueue(queue, tasks, { tx } = {}) {
        if (calls.length >= failAfter) throw new Error('the process dies')
        calls.push({ queue, tasks, tx })
        return tasks.map(({ id }): Enqueued => {
          const status = known.has(id) ? 'duplicate' : 'enqueued'
          known.add(id)
          return { id, status }
        })
      },
    },
    outbox,
    tasks: [count, send],
    queues: ['default', 'mail'],
    clock: { nowMs: () => 0 },
    payloadMaxBytes: 1_048_576,
  }) as Queue
  return { queue, calls, all: () => calls.flatMap(({ tasks }) => tasks) }
}

const steps = (many: number, options: Step['options'] = {}) => Array.from({ length: many }, (_, n) => step(count, { n }, options))

async function refusal(work: (queue: Queue) => Promise<unknown>) {
  const { queue, calls } = recording()
  const thrown: unknown = await work(queue).catch(error => error)
  expect(calls).toEqual([])
  if (!(thrown instanceof TaskRefused)) throw thrown
  return { code: thrown.code, problems: thrown.problems }
}

describe('a chain', () => {
  test('each task waits for the one before, knows its result, and who waits comes first', async () => {
    const { queue, calls, all } = recording()
    const replies = await queue.enqueueChain(steps(3))
    expect(calls).toHaveLength(1)
    const [third, second, first] = all() as [NewTask, NewTask, NewTask]
    expect(replies).toEqual([first, second, third].map(({ id }) => ({ id, status: 'enqueued' as const })))
    const after = { count: 1, isDoneNeeded: true }
    expect([first.after, second.after, third.after]).toEqual([undefined, after, after])
    expect([first.follower, second.follower, third.follower]).toEqual([
      { id: second.id, wantsResult: true },
      { id: third.id, wantsResult: true },
      undefined,
    ])
    expect([first.envelope, third.envelope].map(text => JSON.parse(text)[2])).toEqual([{ n: 0 }, { n: 2 }])
    expect(all().every(({ isIdKept }) => !isIdKept)).toBe(true)
  })

  test('of none and of one is nothing special', async () => {
    const { queue, all } = recording()
    expect(await queue.enqueueChain([])).toEqual([])
    await queue.enqueueChain(steps(1))
    expect(all()).toHaveLength(1)
    expect([all()[0]?.after, all()[0]?.follower]).toEqual([undefined, undefined])
  })

  test('with an id is enqueued once, however often it is said', async () => {
    const { queue, all } = recording()
    const first = await queue.enqueueChain(steps(2), { id: 'order-1' })
    const again = await queue.enqueueChain(steps(2), { id: 'order-1' })
    expect(first.map(({ status }) => status)).toEqual(['enqueued', 'enqueued'])
    expect(again).toEqual(first.map(({ id }) => ({ id, status: 'duplicate' as const })))
    expect(all().every(({ isIdKept }) => isIdKept)).toBe(true)
    expect((await queue.enqueueChain(steps(2), { id: 'order-2' }))[0]?.status).toBe('enqueued')
  })

  test('of more than a hundred is refused with what to do instead', async () => {
    const { code, problems } = await refusal(queue => queue.enqueueChain(steps(101)))
    expect([code, problems[0]?.detail]).toEqual([
      'OptionInvalid',
      'is a chain of 101 tasks, and may have 100: let its last task enqueue the next chain',
    ])
  })
})

describe('a batch', () => {
  test('its last task comes first, and waits for all of the others; with results when they are few', async () => {
    const { queue, all } = recording()
    const reply = await queue.enqueueBatch(steps(3), step(count, { n: 9 }))
    const [last, ...members] = all() as [NewTask, ...NewTask[]]
    expect(last.after).toEqual({ count: 3, isDoneNeeded: false })
    expect(JSON.parse(last.envelope)[2]).toEqual({ n: 9 })
    expect(members.map(({ follower }) => follower)).toEqual([1, 2, 3].map(() => ({ id: last.id, wantsResult: true })))
    expect(reply.last.id).toBe(last.id)
    expect(reply.tasks.map(({ id }) => id)).toEqual(members.map(({ id }) => id))
    expect(members.map(({ id }) => id).toSorted()).toEqual(members.map(({ id }) => id))
  })

  test('of ten thousand goes in several calls, in one queue, and without results', async () => {
    const { queue, calls, all } = recording()
    const { tasks } = await queue.enqueueBatch(steps(10_000), step(count, { n: 0 }), { need: 'done', queue: 'mail' })
    expect(calls.every(call => call.queue === 'mail' && call.tasks.length <= 1000)).toBe(true)
    expect(all()[0]?.after).toEqual({ count: 10_000, isDoneNeeded: true })
    expect(all()[1]?.follower?.wantsResult).toBe(false)
    expect(new Set(tasks.map(({ id }) => id)).size).toBe(10_000)
  })

  test('of which a part was enqueued has its last task, and is whole when it is said again', async () => {
    const dying = recording({ failAfter: 2 })
    await expect(dying.queue.enqueueBatch(steps(5000), step(count, { n: 0 }), { id: 'b' })).rejects.toThrow('dies')
    expect(dying.all()[0]?.after?.count).toBe(5000)
    const whole = recording()
    await whole.queue.enqueueBatch(steps(5000), step(count, { n: 0 }), { id: 'b' })
    const ids = whole.all().map(({ id }) => id)
    expect(dying.all().map(({ id }) => id)).toEqual(ids.slice(0, dying.all().length))
  })

  test('of none starts its last task at once', async () => {
    const { queue, all } = recording()
    expect((await queue.enqueueBatch([], step(count, { n: 0 }))).tasks).toEqual([])
    expect(all().map(({ after }) => after)).toEqual([undefined])
  })

  test('of more than ten thousand is refused', async () => {
    expect((await refusal(queue => queue.enqueueBatch(steps(10_001), step(count, { n: 0 })))).code).toBe('TooMany')
  })
})

describe('both', () => {
  test('with a transaction are all of it', async () => {
    const tx = { inTransaction: true } as Database
    const { queue, calls } = recording()
    await queue.enqueueBatch(steps(2000), step(count, { n: 0 }), { tx })
    await queue.enqueueChain(steps(2), { tx })
    expect(calls.map(call => call.tx)).toEqual(calls.map(() => tx))
    const added: [Database, number][] = []
    const kept = recording({ outbox: { add: async (within, _, tasks) => void added.push([within, tasks.length]) } })
    await kept.queue.enqueueChain(steps(3), { tx })
    expect(added).toEqual([[tx, 3]])
    expect(kept.calls).toEqual([])
  })

  test('are in one queue: which of them is not is said, and how it would be', async () => {
    const stray = step(send, { n: 1 })
    const { code, problems } = await refusal(queue => queue.enqueueChain([...steps(2), stray]))
    expect([code, problems[0]?.pointer]).toEqual(['OptionInvalid', '/2/queue'])
    expect(problems[0]?.detail).toContain("{ queue: 'default' }")
    const { queue, calls } = recording()
    await queue.enqueueChain([...steps(2), stray], { queue: 'mail' })
    await queue.enqueueBatch([stray], step(count, { n: 1 }, { queue: 'mail' }))
    expect(calls.map(call => call.queue)).toEqual(['mail', 'mail'])
    const last = await refusal(queue => queue.enqueueBatch(steps(1), stray))
    expect(last.problems[0]?.pointer).toBe('/1/queue')
  })

  test('refuse what is wrong of each, with its place, and options that would leave one out', async () => {
    const wrong: [Step, string, string][] = [
      [step(count, { n: 'x' } as never), 'PayloadInvalid', '/1/payload/n'],
      [step(count, { n: 1 }, { priority: 10 as 9 }), 'OptionInvalid', '/1/priority'],
      [step(foreign, { n: 1 }), 'UnknownTask', '/1/task'],
      [step(count, { n: 1 }, { id: 'own' } as never), 'OptionInvalid', '/1/id'],
      [step(count, { n: 1 }, { uniqueFor: 1000 } as never), 'OptionInvalid', '/1/uniqueFor'],
      [step(count, { n: 1 }, { group: 'g' } as never), 'OptionInvalid', '/1/group'],
      [step(count, { n: 1 }, { at: '2026-01-31T09:05:00Z' }), 'OptionInvalid', '/1/at'],
      [step(count, { n: 1 }, { key: 'acme' }), 'OptionInvalid', '/1/key'],
    ]
    for (const [each, code, pointer] of wrong) {
      const found = await refusal(queue => queue.enqueueChain([...steps(1), each]))
      expect([found.code, found.problems[0]?.pointer as string]).toEqual([code, pointer])
    }
    const ids = ['', 'with space', 'x'.repeat(101), 'brace}']
    for (const id of ids) expect((await refusal(queue => queue.enqueueChain(steps(2), { id }))).problems[0]?.pointer).toBe('id')
    const need = await refusal(queue => queue.enqueueBatch(steps(1), step(count, { n: 1 }), { need: 'all' as 'done' }))
    expect(need.problems[0]?.pointer).toBe('need')
    expect((await refusal(queue => queue.enqueueChain(steps(2), { queue: 'mial' }))).code).toBe('UnknownQueue')
  })

  test('a task that waits for nobody may have a time', async () => {
    const { queue, all } = recording()
    await queue.enqueueBatch(steps(1, { at: '1970-01-01T00:01:00Z' }), step(count, { n: 1 }, { delayMs: 5 }))
    expect(all().map(({ delayMs }) => delayMs)).toEqual([5, 60_000])
  })
})
