import { currentCaller } from '@/core/caller'
import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { FieldProblem } from '@/core/error'
import { type Enqueued, type EnqueueItem, type EnqueueOptions, type Queue, queueErrors, TaskRefused } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import { faultsOf } from '@/core/schema'
import { shortDigest } from '../digest'
import { enqueueMax, type EnqueueReply, type NewTask, type QueueDriver } from './driver'
import { packEnvelope } from './envelope'
import { canonicalJson, faultOfJson } from './json'
import { checkOptions, delayOf, saidOf } from './options'

/** Takes the tasks of transactions where the queue is not in the database. */
export interface OutboxWriter {
  /** Makes them part of `tx`. */
  add(tx: Database, queue: string, tasks: readonly NewTask[]): Promise<void>
}

export interface QueueOptions {
  driver: Pick<QueueDriver, 'enqueue'>
  /** Where the driver cannot be part of a transaction. */
  outbox?: OutboxWriter | undefined
  /** Inside its transactions `tx` must be said: what is enqueued past one would be there although it is undone. */
  db?: Pick<Database, 'refuseInsideTx'>
  /** What may be enqueued. */
  tasks: readonly AnyTask[]
  /** Names of the queues that some role works. */
  queues: readonly string[]
  clock: Clock
  payloadMaxBytes: number
}

const forgottenTx = 'pass its tx to enqueue: queue.enqueue(task, payload, { tx })'
/** Most tasks of one `enqueueMany`. */
const manyMax = 10_000
/** Characters of the envelopes in one call of the driver, since it is one script or statement. */
const batchCharsMax = 4 * 1024 * 1024
/** The most bytes that one UTF-16 code unit takes in UTF-8. */
const bytesPerUnitMax = 3

/** The queue as modules see it. Everything is checked before anything is enqueued; what follows is the driver's. */
export function createQueue({ driver, outbox, db, tasks, queues, clock, payloadMaxBytes }: QueueOptions): Omit<Queue, 'wait'> {
  const known = new Set<AnyTask>(tasks)
  const knownQueues = new Set(queues)

  /** Which queue it goes to. */
  function target(task: AnyTask, options: EnqueueOptions): string {
    const queue = options.queue ?? task.defaults.queue
    if (!knownQueues.has(queue)) throw new TaskRefused('UnknownQueue', [unknownQueue(queue, queues)])
    return queue
  }

  function checkTask(task: AnyTask): void {
    if (!known.has(task)) throw new TaskRefused('UnknownTask', [unknownTask(task.name, tasks)])
  }

  function prepare(task: AnyTask, payload: unknown, options: EnqueueOptions): NewTask {
    const fault = faultOfJson(payload)
    if (fault) throw new TaskRefused('PayloadInvalid', [fault])
    if (task.check(payload) !== undefined) throw new TaskRefused('PayloadInvalid', faultsOf(task.schema, payload))
    const headers = headersWith(options.headers)
    const envelope = packEnvelope({ task: task.name, payload, enqueuedAtMs: clock.nowMs(), headers, said: saidOf(options) })
    // The envelope is longer than the payload in it, so most are measured by their length alone.
    if (envelope.length * bytesPerUnitMax > payloadMaxBytes) refuseLarge(payload, payloadMaxBytes)
    const made: NewTask = {
      id: options.id ?? Bun.randomUUIDv7('base64url'),
      isIdKept: options.id !== undefined,
      priority: options.priority ?? task.defaults.priority,
      delayMs: options.at === undefined ? (options.delayMs ?? 0) : delayOf(options, clock),
      envelope,
    }
    if (options.uniqueFor !== undefined) made.unique = { key: uniqueKeyOf(task, payload, options.uniqueKey), forMs: options.uniqueFor }
    return made
  }

  async function hand(queue: string, made: NewTask[], tx: Database | undefined): Promise<Enqueued[]> {
    if (!tx) db?.refuseInsideTx(forgottenTx)
    if (!tx || !outbox) return refuseFull(await driver.enqueue(queue, made, tx && { tx }))
    await outbox.add(tx, queue, made)
    return made.map(({ id }) => ({ id, status: 'enqueued' }))
  }

  return {
    async enqueue(task, payload, options = {}) {
      checkTask(task)
      const queue = target(task, options)
      checkOptions(options)
      const [reply] = await hand(queue, [prepare(task, payload, options)], options.tx)
      return reply as Enqueued
    },

    async enqueueMany(task, items, { tx } = {}) {
      checkTask(task)
      if (items.length > manyMax) throw new TaskRefused('TooMany')
      const batches = batchesOf(items.map((item, at) => one(task, item, at)))
      const replies = new Array<Enqueued>(items.length)
      for (const { queue, made, places } of batches) {
        const some = await hand(queue, made, tx)
        for (const [i, place] of places.entries()) replies[place] = some[i] as Enqueued
      }
      return replies
    },

    enqueueChain: async () => notYet(),
    enqueueBatch: async () => notYet(),
  }

  function refuseFull(replies: EnqueueReply[]): Enqueued[] {
    return replies.map(reply => {
      if (reply.status === 'full') throw queueErrors.QueueFull({ retryAfterSeconds: 1 })
      return reply
    })
  }

  function one(task: AnyTask, { payload, ...options }: EnqueueItem<unknown>, at: number): [string, NewTask] {
    try {
      checkOptions(options)
      return [target(task, options), prepare(task, payload, options)]
    } catch (thrown) {
      throw placed(thrown, at)
    }
  }
}

const notYet = (): never => {
  throw new Error('not built yet')
}

/** What goes to the driver in one call. */
interface Batch {
  queue: string
  made: NewTask[]
  /** Which of the items they are. */
  places: number[]
  chars: number
}

/** In the order of the items, and cut where one call would be too large. */
function batchesOf(prepared: readonly [string, NewTask][]): Batch[] {
  const full: Batch[] = []
  const open = new Map<string, Batch>()
  for (const [place, [queue, task]] of prepared.entries()) {
    let batch = open.get(queue)
    if (!batch || batch.made.length === enqueueMax || batch.chars + task.envelope.length > batchCharsMax) {
      batch = { queue, made: [], places: [], chars: 0 }
      open.set(queue, batch)
      full.push(batch)
    }
    batch.made.push(task)
    batch.places.push(place)
    batch.chars += task.envelope.length
  }
  return full
}

/** Says of which item it is. */
function placed(thrown: unknown, at: number): unknown {
  if (!(thrown instanceof TaskRefused)) return thrown
  // Places in the payload begin with a slash, and options have names.
  const here = (pointer: string) => (pointer === '' || pointer.startsWith('/') ? `/${at}/payload${pointer}` : `/${at}/${pointer}`)
  const problems = thrown.problems.map(({ pointer, detail }) => ({ pointer: here(pointer), detail }))
  return new TaskRefused(thrown.code, problems, { cause: thrown })
}

function refuseLarge(payload: unknown, maxBytes: number): void {
  const bytes = Buffer.byteLength(JSON.stringify(payload))
  if (bytes <= maxBytes) return
  const detail = `is ${bytes} bytes of JSON, and may be ${maxBytes}: keep what is large elsewhere and name it, or raise queue.payloadMaxBytes`
  throw new TaskRefused('PayloadTooLarge', [{ pointer: '', detail }])
}

/** Under one key in the queue, whatever the task, when the caller names one; else this task with this payload. */
function uniqueKeyOf({ name }: AnyTask, payload: unknown, uniqueKey: string | undefined): string {
  const text = uniqueKey === undefined ? `payload ${name} ${canonicalJson(payload)}` : `key ${uniqueKey}`
  return shortDigest(text)
}

const noHeaders: Readonly<Record<string, string>> = Object.freeze({})

/** What was said, and whose request it is; what was said stands. */
function headersWith(said: Readonly<Record<string, string>> | undefined): Readonly<Record<string, string>> {
  const caller = currentCaller()
  if (caller?.requestId === undefined && caller?.traceparent === undefined) return said ?? noHeaders
  const { requestId, traceparent } = caller
  return { ...(requestId !== undefined && { 'x-request-id': requestId }), ...(traceparent !== undefined && { traceparent }), ...said }
}

const unknownTask = (name: string, tasks: readonly AnyTask[]): FieldProblem => ({
  pointer: 'task',
  detail: `${JSON.stringify(name)} is none of ${tasks.map(task => task.name).join(', ') || '(none)'}; list it in \`tasks\` of its module, and the module in a role of this process`,
})

export const unknownQueue = (name: string, queues: readonly string[]): FieldProblem => ({
  pointer: 'queue',
  detail: `${JSON.stringify(name)} is none of ${queues.join(', ') || '(none)'}; name one of these, or let a role work it`,
})
