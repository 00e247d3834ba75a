import { expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import { PartlyEnqueued, TaskRefused } from '@/core/queue/queue'
import { defineLimit } from '@/core/queue/limit'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { EnqueueReply, EnqueueRule, NewTask } from './driver'
import { createQueue, type OutboxWriter } from './queue'

const tenant = defineLimit('tenant', { concurrency: 4 })
const limited = defineTask('mail.send', Type.Integer(), { limit: tenant })
const free = defineTask('mail.note', Type.Integer(), { queue: 'bounded' })

/** A queue over a driver with room for so many, that keeps what it is given. */
function roomFor(room: number, outbox?: OutboxWriter) {
  const calls: { queue: string; tasks: readonly NewTask[]; rule: EnqueueRule | undefined }[] = []
  const ids = new Set<string>()
  const driver = {
    async enqueue(queue: string, tasks: readonly NewTask[], rule?: EnqueueRule): Promise<EnqueueReply[]> {
      calls.push({ queue, tasks, rule })
      const isFull = ids.size >= room
      return tasks.map(({ id }) => {
        if (ids.has(id)) return { id, status: 'duplicate' }
        if (isFull) return { id, status: 'full' }
        ids.add(id)
        return { id, status: 'enqueued' }
      })
    },
  }
  const rules = { bounded: { backlogMax: room } }
  const queue = createQueue({
    ...{ driver, outbox, rules, tasks: [limited, free], queues: ['default', 'bounded'] },
    clock: { nowMs: () => 0 },
    payloadMaxBytes: 1000,
  })
  return { queue, calls }
}

test('the lane of a task is its limit, or its limit and the key', async () => {
  const { queue, calls } = roomFor(10)
  await queue.enqueue(limited, 1)
  await queue.enqueue(limited, 1, { key: 'acme' })
  await queue.enqueueMany(limited, [{ payload: 1, key: 'a/b' }, { payload: 2 }])
  await queue.enqueue(free, 1)
  expect(calls.flatMap(({ tasks }) => tasks.map(({ lane }) => lane))).toEqual(['tenant', 'tenant/acme', 'tenant/a/b', 'tenant', undefined])
  expect(calls.flatMap(({ tasks }) => tasks.map(task => 'lane' in task))).toEqual([true, true, true, true, false])
})

test('a key of a task that is under no limit, or that is none, is refused with what to do', async () => {
  const { queue, calls } = roomFor(10)
  const refused = await queue.enqueue(free, 1, { key: 'acme' }).catch(thrown => thrown)
  expect(refused).toBeInstanceOf(TaskRefused)
  expect(refused).toMatchObject({ code: 'OptionInvalid', problems: [{ pointer: 'key', detail: expect.stringContaining('defineLimit') }] })
  await expect(queue.enqueueMany(free, [{ payload: 1 }, { payload: 1, key: 'acme' }])).rejects.toMatchObject({
    problems: [{ pointer: '/1/key' }],
  })
  for (const key of ['', 'a b', 'x'.repeat(96), 'a{b}', 'é', 5 as never])
    await expect(queue.enqueue(limited, 1, { key })).rejects.toMatchObject({ problems: [{ pointer: 'key' }] })
  expect(calls).toEqual([])
})

test('a queue with a backlog that may be so large is asked with it, and others as ever', async () => {
  const { queue, calls } = roomFor(10)
  await queue.enqueue(free, 1)
  await queue.enqueue(limited, 1)
  const tx = {} as Database
  await queue.enqueue(free, 1, { tx })
  expect(calls.map(({ rule }) => rule)).toEqual([{ tx: undefined, backlogMax: 10 }, undefined, { tx, backlogMax: 10 }])
})

test('a full queue is 503 with Retry-After, and nothing was enqueued', async () => {
  const { queue } = roomFor(0)
  for (const enqueued of [queue.enqueue(free, 1), queue.enqueueMany(free, [{ payload: 1 }, { payload: 2 }])]) {
    const thrown: AppError = await enqueued.then(
      () => expect.unreachable(),
      error => error,
    )
    expect(thrown).toBeInstanceOf(AppError)
    expect([thrown.code, thrown.httpStatus, thrown.retryAfterSeconds, thrown.cause]).toEqual(['Unavailable.QueueFull', 503, 5, undefined])
  }
})

test('of many it says which are enqueued, when the queue is full midway, and asks no further', async () => {
  const { queue, calls } = roomFor(1500)
  const items = Array.from({ length: 3500 }, (_, n) => ({ payload: n, id: `t${n}` }))
  const full: AppError = await queue.enqueueMany(free, items).then(
    () => expect.unreachable(),
    error => error,
  )
  expect(full.code).toBe('Unavailable.QueueFull')
  const cause = full.cause as PartlyEnqueued
  expect(cause).toBeInstanceOf(PartlyEnqueued)
  expect(cause.message).toBe('of 3500 tasks 2000 are enqueued, the others are not')
  expect(cause.replies.map(reply => reply?.status)).toEqual([...new Array(2000).fill('enqueued'), ...new Array(1500).fill(undefined)])
  expect(calls.map(({ tasks }) => tasks.length)).toEqual([1000, 1000, 1000])
  // The same again says of those that are there that they are.
  const again: AppError = await queue.enqueueMany(free, items).catch(error => error)
  expect((again.cause as PartlyEnqueued).replies.filter(reply => reply?.status === 'duplicate')).toHaveLength(2000)
})

test('what a transaction leaves in the outbox is not asked for room', async () => {
  const kept: unknown[] = []
  const { queue, calls } = roomFor(0, { add: async (_, name, tasks) => void kept.push([name, tasks.length]) })
  const tx = {} as Database
  expect((await queue.enqueue(free, 1, { tx })).status).toBe('enqueued')
  expect([kept, calls]).toEqual([[['bounded', 1]], []])
})
