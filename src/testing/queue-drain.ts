import type { TaskHandler } from '@/core/queue/task'
import type { Finish, QueueDriver } from '@/infra/queue/driver'
import { createWorker, type WorkerOptions } from '@/infra/queue/worker'
import { fakeMetrics } from './fakes'

/** One attempt at a task, and how it ended. */
export interface DrainedAttempt {
  id: string
  /** Undefined for what no handler was called with: it is unknown, does not fit its schema, or came too late. */
  task: string | undefined
  queue: string
  attempt: number
  outcome: Finish['outcome']
  /** What the handler threw, or why the attempt failed without it. */
  error?: unknown
}

export interface DrainOptions extends Pick<WorkerOptions, 'driver' | 'queues' | 'handlers' | 'log' | 'clock'> {
  /** Of `attemptsMax`. */
  attemptsLeft: number
  limitMs: number
}

export interface Drained {
  attempts: DrainedAttempt[]
  /** How long until there is more to be done; undefined when nothing is to come by itself. */
  nextDueMs: number | undefined
}

/** Most attempts of one call of a test, unless it says more: else it never ends. */
export const attemptsMaxDefault = 1000
/** Longer than any test moves its clock while a handler runs. */
const leaseMs = 86_400_000
/** A queue that seems to be empty is looked at again after so long, until all are. */
const pollMs = 5

/**
 * Works queues as a process does, until there is nothing more to be done now: each queue has been asked after the last attempt of all of them
 * had ended, and had nothing.
 * @throws Error when that does not come within `limitMs`, or `attemptsLeft`
 */
export async function drain({ driver, queues, handlers, attemptsLeft, limitMs, ...others }: DrainOptions): Promise<Drained> {
  const attempts: DrainedAttempt[] = []
  const calls = new Map<string, { task: string; error?: unknown }>()
  const states = new Map(
    Object.keys(queues).map(queue => [queue, { held: 0, asked: 0, emptySince: -1, nextDueMs: undefined as number | undefined }]),
  )
  const ended = Promise.withResolvers<void>()
  /** How often something has happened after which a queue may have more than it had. */
  let changes = 0
  let claimed = 0

  const exchange: QueueDriver['exchange'] = async (queue, said) => {
    const state = states.get(queue)
    if (!state) return driver.exchange(queue, said)
    const since = changes
    state.asked++
    const reply = await driver.exchange(queue, said).finally(() => state.asked--)
    const { finish = [], claim } = said
    for (const each of finish) attempts.push(attemptOf(queue, each, calls.get(keyOf(each))))
    state.held += reply.claimed.length - finish.length
    if (reply.claimed.length + finish.length > 0) changes++
    else if (claim && claim.count > 0 && reply.nextDueMs !== 0) state.emptySince = since
    state.nextDueMs = reply.nextDueMs
    claimed += reply.claimed.length
    const all = [...states.values()]
    if (all.every(each => each.held === 0 && each.asked === 0 && each.emptySince === changes)) ended.resolve()
    if (claimed > attemptsLeft)
      ended.reject(
        new Error(
          `${attemptsLeft} attempts were made, and there is more to do: does a task enqueue itself? Else say drain({ attemptsMax }); ${lastOf(attempts)}`,
        ),
      )
    return reply
  }

  const worker = createWorker({
    ...{ queues, leaseMs, graceMs: 0, metrics: fakeMetrics(), random: () => 0.5, heartbeats: { driver } },
    ...others,
    driver: { ...driver, exchange },
    handlers: handlers.map(handler => noted(handler, calls)),
    limits: { pollMs, flushMs: 0 },
  })
  const timer = setTimeout(
    () => ended.reject(new Error(`there is still something to do after ${limitMs} ms; ${lastOf(attempts)}`)),
    limitMs,
  )
  try {
    await worker.start()
    await ended.promise
  } finally {
    clearTimeout(timer)
    await worker.stop()
  }
  const dues = [...states.values()].map(({ nextDueMs }) => nextDueMs).filter(dueMs => dueMs !== undefined)
  return { attempts, nextDueMs: dues.length > 0 ? Math.min(...dues) : undefined }
}

const keyOf = ({ id, attempt }: { id: string; attempt: number }) => `${id} ${attempt}`

/** Keeps what is thrown as it is: the queue keeps its text only. */
const noted = (handler: TaskHandler, calls: Map<string, { task: string; error?: unknown }>): TaskHandler => ({
  ...handler,
  async work(payload, context) {
    const call: { task: string; error?: unknown } = { task: handler.task.name }
    calls.set(keyOf(context), call)
    try {
      return await handler.work(payload, context)
    } catch (error) {
      call.error = error
      throw error
    }
  },
})

function attemptOf(queue: string, finish: Finish, call: { task: string; error?: unknown } | undefined): DrainedAttempt {
  const { id, attempt, outcome } = finish
  const error = call?.error ?? ('error' in finish ? new Error(finish.error) : undefined)
  return { id, task: call?.task, queue, attempt, outcome, ...(error !== undefined && { error }) }
}

const saidMax = 5
const lastOf = (attempts: readonly DrainedAttempt[]) =>
  `the last were ${attempts
    .slice(-saidMax)
    .map(({ task, outcome }) => `${task}: ${outcome}`)
    .join(', ')}`
