import type { Database } from '@/core/database'
import { faultsAmong, text, whole } from '@/core/queue/checks'
import { type Queue, queueErrors, TaskRefused, type WaitOptions } from '@/core/queue/queue'
import type { OutboxView } from './admin'
import { isPassing, operateMax, type PeekedTask, type QueueDriver } from './driver'
import { readJson } from './json'
import { unknownQueue } from './queue'

/** Those in this process who wait until a task has ended. They share what they listen to, and look together. */
export interface Waits {
  wait: Queue['wait']
  /** Nobody waits any more: those who do hear that the queue cannot be reached. */
  close(): void
}

export interface WaitsOptions {
  driver: Pick<QueueDriver, 'peek' | 'watchEnds'>
  /** Where tasks are not in the database, and a task may be on its way there. */
  outbox?: Pick<OutboxView, 'held'> | undefined
  /** Nobody may wait inside its transactions: what they enqueue does not start before they end. */
  db?: Pick<Database, 'refuseInsideTx'>
  queues: readonly string[]
  /** How often is looked though nobody has said that there is something to see: words may get lost, and none is said of what is not kept. */
  pollMs?: number
}

type Outcome = Awaited<ReturnType<Queue['wait']>>

interface Waiting {
  id: string
  /** Where it may be, and where it was last. */
  queues: readonly string[]
  seenIn?: string
  /** Nobody has looked yet. */
  isNew: boolean
  /** Whoever has no time at all is told after one look. */
  isOneLook: boolean
  resolve(outcome: Outcome): void
  reject(thrown: unknown): void
}

interface Watched {
  /** By the ids of their tasks: each end is told to those who wait for it, however many wait. */
  waiting: Map<string, Set<Waiting>>
  end(): void
}

const pollMsDefault = 2000
const timeoutMsDefault = 30_000
const timeoutMsMax = 600_000
/** More than so many do not wait at a time in a process. */
const waitingMax = 10_000

const checks = {
  queue: text(() => true, 'the name of a queue'),
  timeoutMs: whole(0, timeoutMsMax),
  signal: (value: unknown) => (value instanceof AbortSignal ? undefined : 'must be an AbortSignal'),
}

export function createWaits({ driver, outbox, db, queues, pollMs = pollMsDefault }: WaitsOptions): Waits {
  const all = new Set<Waiting>()
  const watched = new Map<string, Watched>()
  let due = new Set<Waiting>()
  let isLooking = false
  let isClosed = false
  let timer: ReturnType<typeof setInterval> | undefined

  function begin(one: Waiting): void {
    all.add(one)
    for (const queue of one.queues) {
      const { waiting } = watched.get(queue) ?? watch(queue)
      const same = waiting.get(one.id)
      if (same) same.add(one)
      else waiting.set(one.id, new Set([one]))
    }
    timer ??= setInterval(() => lookSoon(all), pollMs)
  }

  function watch(queue: string): Watched {
    const waiting: Watched['waiting'] = new Map()
    const end = driver.watchEnds(queue, {
      ended: id => lookSoon(waiting.get(id) ?? []),
      missed: () => waiting.forEach(lookSoon),
    })
    const made = { waiting, end }
    watched.set(queue, made)
    return made
  }

  function end(one: Waiting): void {
    all.delete(one)
    due.delete(one)
    for (const queue of one.queues) {
      const found = watched.get(queue)
      const same = found?.waiting.get(one.id)
      if (!found || !same?.delete(one) || same.size > 0) continue
      found.waiting.delete(one.id)
      if (found.waiting.size > 0) continue
      watched.delete(queue)
      found.end()
    }
    if (all.size > 0) return
    clearInterval(timer)
    timer = undefined
  }

  function lookSoon(some: Iterable<Waiting>): void {
    for (const one of some) due.add(one)
    if (!isLooking && due.size > 0) void lookAtAll()
  }

  /** One look at a time. Who is named while it lasts is looked at once more. */
  async function lookAtAll(): Promise<void> {
    isLooking = true
    while (due.size > 0) {
      const some = [...due]
      due = new Set()
      await lookAt(some)
    }
    isLooking = false
  }

  async function lookAt(some: readonly Waiting[]): Promise<void> {
    try {
      const missing = await find(some, ({ seenIn, queues }) => (seenIn === undefined ? queues : [seenIn]))
      const nowhere = await notHandedOver(missing)
      // It may have been handed over, or moved, in between.
      for (const one of await find(nowhere, ({ queues }) => queues)) one.resolve({ id: one.id, outcome: 'gone' })
      for (const one of some) seen(one)
    } catch (thrown) {
      // Who has just come is told; the others may as well wait until it is over.
      for (const one of some) if (one.isNew || !isPassing(thrown)) one.reject(thrown)
    }
  }

  function seen(one: Waiting): void {
    one.isNew = false
    if (one.isOneLook) one.reject(queueErrors.TaskNotEnded())
  }

  /** @returns those whose tasks are not on their way either */
  async function notHandedOver(missing: readonly Waiting[]): Promise<readonly Waiting[]> {
    if (!outbox) return missing
    const nowhere: Waiting[] = []
    for (let from = 0; from < missing.length; from += operateMax) {
      const portion = missing.slice(from, from + operateMax)
      const held = await outbox.held(portion.map(({ id }) => id))
      for (const one of portion) if (!one.queues.some(queue => held.get(one.id)?.has(queue))) nowhere.push(one)
    }
    return nowhere
  }

  /** Settles those that have ended. @returns those that are nowhere */
  async function find(some: readonly Waiting[], where: (one: Waiting) => readonly string[]): Promise<Waiting[]> {
    const missing = new Set(some)
    for (const queue of queues) {
      const here = [...missing].filter(one => where(one).includes(queue))
      for (let from = 0; from < here.length; from += operateMax) {
        const portion = here.slice(from, from + operateMax)
        const found = await driver.peek(
          queue,
          portion.map(({ id }) => id),
        )
        for (const [i, one] of portion.entries()) {
          const task = found[i]
          if (!task) continue
          missing.delete(one)
          one.seenIn = queue
          if (task.outcome) one.resolve(endedOf(one.id, task.outcome, task))
        }
      }
    }
    return [...missing]
  }

  return {
    async wait(id, options = {}) {
      const { queue, timeoutMs = timeoutMsDefault, signal } = options
      checkOptions(options, queues)
      db?.refuseInsideTx('wait when it is over: what it enqueues does not start before')
      signal?.throwIfAborted()
      if (isClosed) throw closed()
      if (all.size >= waitingMax) throw queueErrors.TooManyWaits({ retryAfterSeconds: 1 })
      const { promise, resolve, reject } = Promise.withResolvers<Outcome>()
      const one: Waiting = { id, queues: queue === undefined ? queues : [queue], isNew: true, isOneLook: timeoutMs === 0, resolve, reject }
      // A look may take as long as the queue does not answer, and others may be before it.
      const late = one.isOneLook ? undefined : setTimeout(() => reject(queueErrors.TaskNotEnded()), timeoutMs)
      const abort = () => reject(signal?.reason)
      signal?.addEventListener('abort', abort)
      try {
        // Whoever listens before looking misses no end.
        begin(one)
        lookSoon([one])
        return await promise
      } finally {
        clearTimeout(late)
        signal?.removeEventListener('abort', abort)
        end(one)
      }
    },
    close() {
      isClosed = true
      for (const one of all) one.reject(closed())
    },
  }
}

function checkOptions(options: WaitOptions, queues: readonly string[]): void {
  const faults = faultsAmong(options, checks)
  if (faults.length > 0) throw new TaskRefused('OptionInvalid', faults)
  const { queue } = options
  if (queue !== undefined && !queues.includes(queue)) throw new TaskRefused('UnknownQueue', [unknownQueue(queue, queues)])
}

const closed = () => queueErrors.QueueUnavailable({ cause: new Error('the queue is closed'), retryAfterSeconds: 1 })

const endedOf = (id: string, outcome: 'done' | 'dead', { result, error }: PeekedTask): Outcome => ({
  ...{ id, outcome },
  ...(result !== undefined && { result: readJson(result) }),
  ...(error !== undefined && { error }),
})
