import { currentCaller } from '@/core/caller'
import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { FieldProblem } from '@/core/error'
import {
  type Enqueued,
  type EnqueueItem,
  type EnqueueOptions,
  PartlyEnqueued,
  type Queue,
  queueErrors,
  TaskRefused,
} from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import type { SharedRule } from '@/core/role'
import { shortDigest } from '../digest'
import type { EnqueueReply, EnqueueRule, NewTask, QueueDriver } from './driver'
import { packEnvelope } from './envelope'
import { groupFaults, groupOf } from './grouping'
import { canonicalJson } from './json'
import { checkOptions, delayOf, saidOf } from './options'
import { payloadFaults, sizeFault } from './payload'
import { batchesOf, placed } from './pieces'
import { enqueueBatch, enqueueChain, type Relating } from './relations'

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
  /** What holds of them in all processes. */
  rules?: Readonly<Record<string, Pick<SharedRule, 'backlogMax'>>>
  clock: Clock
  payloadMaxBytes: number
}

const forgottenTx = 'pass its tx to enqueue: queue.enqueue(task, payload, { tx })'
/** Most tasks of one `enqueueMany`. */
const manyMax = 10_000
/** The most bytes that one UTF-16 code unit takes in UTF-8. */
const bytesPerUnitMax = 3
/** When a queue is full: nobody knows when it will not be, and it should not be asked all the time. */
const fullRetryAfterSeconds = 5

/** The queue as modules see it. Everything is checked before anything is enqueued; what follows is the driver's. */
export function createQueue({ driver, outbox, db, tasks, queues, rules = {}, clock, payloadMaxBytes }: QueueOptions): Omit<Queue, 'wait'> {
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

  function prepare(task: AnyTask, payload: unknown, options: EnqueueOptions, isHeld = false): NewTask {
    const faults = payloadFaults(task, payload)
    if (faults) throw new TaskRefused('PayloadInvalid', faults)
    const headers = headersWith(options.headers)
    const id = options.id ?? Bun.randomUUIDv7('base64url')
    const group = groupOf(task, options)
    const said = isHeld ? { ...saidOf(options), isHeld } : saidOf(options)
    const parts = { task: task.name, payload, enqueuedAtMs: clock.nowMs(), headers, said }
    const envelope = packEnvelope(group ? { ...parts, memberId: id } : parts)
    // The envelope is longer than the payload in it, so most are measured by their length alone.
    if (envelope.length * bytesPerUnitMax > payloadMaxBytes) refuseLarge(payload, payloadMaxBytes)
    const made: NewTask = {
      id,
      isIdKept: options.id !== undefined,
      priority: options.priority ?? task.defaults.priority,
      delayMs: options.at === undefined ? (options.delayMs ?? 0) : delayOf(options, clock),
      envelope,
    }
    const { limit } = task.rules
    if (limit) made.lane = options.key === undefined ? limit.name : `${limit.name}/${options.key}`
    if (options.uniqueFor !== undefined) made.unique = { key: uniqueKeyOf(task, payload, options.uniqueKey), forMs: options.uniqueFor }
    if (group) made.group = group
    return made
  }

  const relating: Relating = {
    queueOf: (task, options) => target(task, options),
    isBounded: queue => backlogMaxOf(queue) !== undefined,
    prepare({ task, payload, options }, isHeld) {
      checkTask(task)
      checkOptions(options, faultsFor(task, options))
      return prepare(task, payload, options, isHeld)
    },
    hand: async (queue, made, tx, isLetIn) => accepted(await hand(queue, made, tx, isLetIn)),
  }

  /** @param isLetIn whether there is room for it, however full the queue is */
  async function hand(queue: string, made: NewTask[], tx: Database | undefined, isLetIn = false): Promise<EnqueueReply[]> {
    if (!tx) db?.refuseInsideTx(forgottenTx)
    // In a database of its own it cannot be undone.
    if (!tx && outbox) await currentCaller()?.once?.beforeOutside()
    if (!tx || !outbox) return driver.enqueue(queue, made, ruleOf(queue, tx, isLetIn))
    // Whether the queue is full is seen when it is handed over, and then it waits in the outbox.
    await outbox.add(tx, queue, made)
    return made.map(({ id }) => ({ id, status: 'enqueued' }))
  }

  return {
    async enqueue(task, payload, options = {}) {
      checkTask(task)
      const queue = target(task, options)
      checkOptions(options, faultsFor(task, options))
      const [reply] = accepted(await hand(queue, [prepare(task, payload, options)], options.tx))
      return reply as Enqueued
    },

    async enqueueMany(task, items, { tx } = {}) {
      checkTask(task)
      if (items.length > manyMax) throw new TaskRefused('TooMany')
      const batches = batchesOf(items.map((item, at) => one(task, item, at)))
      const replies = new Array<EnqueueReply | undefined>(items.length).fill(undefined)
      for (const { queue, made, places } of batches) {
        const some = await hand(queue, made, tx)
        for (const [i, place] of places.entries()) replies[place] = some[i]
        if (some.some(isFull)) break
      }
      return accepted(replies)
    },

    enqueueChain: (steps, options) => enqueueChain(relating, steps, options),
    enqueueBatch: (steps, last, options) => enqueueBatch(relating, steps, last, options),
  }

  function backlogMaxOf(queue: string): number | undefined {
    return Object.hasOwn(rules, queue) ? rules[queue]?.backlogMax : undefined
  }

  function ruleOf(queue: string, tx: Database | undefined, isLetIn: boolean): EnqueueRule | undefined {
    const backlogMax = isLetIn ? undefined : backlogMaxOf(queue)
    return tx || backlogMax !== undefined ? { tx, backlogMax } : undefined
  }

  function one(task: AnyTask, { payload, ...options }: EnqueueItem<unknown>, at: number): [string, NewTask] {
    try {
      checkOptions(options, faultsFor(task, options))
      return [target(task, options), prepare(task, payload, options)]
    } catch (thrown) {
      throw placed(thrown, at)
    }
  }
}

const isFull = (reply: EnqueueReply): boolean => reply.status === 'full'

/** @throws QueueFull when one of them is not enqueued, with what became of each when others are */
function accepted(replies: readonly (EnqueueReply | undefined)[]): Enqueued[] {
  const kept = replies.map(reply => (reply && reply.status !== 'full' ? reply : undefined))
  const all = kept.filter(reply => reply !== undefined)
  if (all.length === replies.length) return all
  const cause = all.length > 0 ? new PartlyEnqueued(kept) : undefined
  throw queueErrors.QueueFull({ cause, retryAfterSeconds: fullRetryAfterSeconds })
}

function refuseLarge(payload: unknown, maxBytes: number): void {
  const fault = sizeFault(payload, maxBytes)
  if (fault) throw new TaskRefused('PayloadTooLarge', [fault])
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

/** What is wrong with options beside this task. */
const faultsFor = (task: AnyTask, options: EnqueueOptions): readonly FieldProblem[] =>
  options.key === undefined || task.rules.limit ? groupFaults(task, options) : [...groupFaults(task, options), keyWithoutLimit(task)]

const keyWithoutLimit = ({ name }: AnyTask): FieldProblem => ({
  pointer: 'key',
  detail: `is of a limit, and ${name} is under none; declare it with one: defineTask('${name}', schema, { limit: defineLimit('…', { concurrency: 4 }) })`,
})

const unknownTask = (name: string, tasks: readonly AnyTask[]): FieldProblem => ({
  pointer: 'task',
  detail: `${JSON.stringify(name)} is none of ${tasks.map(task => task.name).join(', ') || '(none)'}; list it in \`tasks\` of its module, and the module in a role of this process`,
})

export const unknownQueue = (name: string, queues: readonly string[]): FieldProblem => ({
  pointer: 'queue',
  detail: `${JSON.stringify(name)} is none of ${queues.join(', ') || '(none)'}; name one of these, or let a role work it`,
})
