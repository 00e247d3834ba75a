import fc from 'fast-check'
import { type TaskState, taskStates } from '@/core/queue/admin'
import type { Exchange, ExchangeReply, Finish, Held, NewTask, QueueDriver, ReapRule } from '@/infra/queue/driver'
import type { HowItEnded } from './fixture'

/**
 * Random work on a queue. A step says what is to be done in words that stay the same while a failing run is made shorter; which
 * attempt it is about is found out when it is played, from what was claimed before it.
 */
export type Step =
  | { is: 'enqueue'; tasks: readonly StepTask[] }
  | { is: 'exchange'; finish: readonly StepFinish[]; claim: StepClaim | undefined }
  | { is: 'beat'; leaseMs: number; who: readonly Who[] }
  | { is: 'reap'; crashesMax: number; keepDeadMs: number | undefined }
  | { is: 'report'; reports: readonly { who: Who; progress: string }[] }
  | { is: 'cancel' | 'retry' | 'remove'; which: readonly Which[] }
  /** The last call but so many is made again, as when its answer was lost. */
  | { is: 'resend'; back: number }
  | { is: 'pass'; ms: number }
  /** A worker dies, and says nothing more of what it holds. */
  | { is: 'crash'; worker: string }
  | { is: 'restart' }

export type Call = {
  /** Which process makes it; a worker is always of the same. */
  by: 0 | 1
} & (
  | { is: 'enqueue'; tasks: NewTask[] }
  | { is: 'exchange'; exchange: Exchange }
  | { is: 'beat'; leaseMs: number; held: Held[] }
  | { is: 'reap'; rule: ReapRule }
  | { is: 'report'; reports: (Held & { progress: string })[] }
  | { is: 'cancel' | 'retry' | 'remove'; ids: string[] }
)

interface StepTask extends Omit<NewTask, 'envelope'> {
  text: string
}
interface StepClaim {
  worker: string
  count: number
  leaseMs: number
}
interface StepFinish {
  who: Who
  how: HowItEnded
}
/** Whose attempt: the newest but `back` of all that were ever claimed; or one who says that he is. */
interface Who {
  back: number
  lie: 'none' | 'attempt' | 'nonce' | 'id'
}

/** One of those in a state, counted round, or whichever has this id when there is none in it. */
interface Which {
  state: TaskState
  nth: number
  id: string
}

/** Which times a step may name, in milliseconds: those of a store whose clock can be moved, or none that ends between two steps. */
export interface Times {
  delays: readonly number[]
  /** How long what has ended is kept. */
  keeps: readonly number[]
  leases: readonly number[]
  passes: readonly number[]
}
export const movedTimes: Times = {
  delays: [0, 0, 1, 50, 4000, 3_600_000],
  keeps: [0, 1, 4000, 3_600_000],
  leases: [1, 1000, 30_000],
  passes: [1, 50, 1000, 4000, 8000, 30_000, 3_600_000, 86_400_000],
}
export const realTimes: Times = { delays: [0, 0, 1, 3_600_000], keeps: [0, 1, 3_600_000], leases: [1, 3_600_000], passes: [3] }

const workers = ['one:1', 'one:2', 'other:1']
const keys = ['k', 'l'].map(letter => letter.repeat(22))
/** So few that some are used again. */
const id = fc.integer({ min: 0, max: 11 }).map(n => `task-${String(n).padStart(2, '0')}`)
/** Those that wait for others, and for how many; the last needs them done. None waits for one with a higher id, so none for itself. */
const afters: Readonly<Record<string, NonNullable<NewTask['after']>>> = {
  'task-09': { count: 1, isDoneNeeded: false },
  'task-10': { count: 2, isDoneNeeded: false },
  'task-11': { count: 1, isDoneNeeded: true },
}
export const followers = Object.keys(afters)
/** Whoever uses an id that is kept says so each time. */
const isKept = (id: string) => Number(id.slice(-2)) % 3 === 0
const priority = fc.constantFrom(5, 5, 0, 9)
const pick = (values: readonly number[]) => fc.constantFrom(...values)

const who = fc.record<Who>({
  back: fc.oneof({ weight: 4, arbitrary: fc.integer({ min: 0, max: 3 }) }, { weight: 1, arbitrary: fc.integer({ min: 0, max: 15 }) }),
  lie: fc.oneof(
    { weight: 8, arbitrary: fc.constant('none' as const) },
    { weight: 1, arbitrary: fc.constantFrom('attempt' as const, 'nonce' as const, 'id' as const) },
  ),
})

/** @param times which they may name; @param most and @param least how many */
export function steps(times: Times, most: number, least = 1): fc.Arbitrary<Step[]> {
  const delayMs = pick(times.delays)
  const unique = fc.option(fc.record({ key: fc.constantFrom(...keys), forMs: pick(times.delays.filter(ms => ms > 0)) }), {
    nil: undefined,
    freq: 2,
  })
  const follower = fc.option(fc.record({ id: fc.constantFrom(...followers), wantsResult: fc.boolean() }), { nil: undefined })
  const task = fc
    .record({ id, priority, delayMs, unique, follower, text: fc.constantFrom('', 'text', '\n"é世') })
    .map(({ unique: said, follower: next, ...rest }): StepTask => {
      const after = afters[rest.id]
      const follower = next && next.id > rest.id ? next : undefined
      return { ...rest, isIdKept: isKept(rest.id), ...(follower && { follower }), ...(after ? { after } : said && { unique: said }) }
    })
  const error = fc.constantFrom('no', tooLong)
  const how: fc.Arbitrary<HowItEnded> = fc.oneof(
    fc.record({ outcome: fc.constantFrom('done' as const, 'release' as const, 'cancelled' as const) }),
    fc
      .record({ keepForMs: pick(times.keeps), result: fc.option(fc.constantFrom('1', '{"a":"\\n é世"}'), { nil: undefined }) })
      .map(({ keepForMs, result }) => ({ outcome: 'done' as const, keepForMs, ...(result !== undefined && { result }) })),
    fc.record({ outcome: fc.constant('retry' as const), delayMs, error }),
    fc.record({ outcome: fc.constant('snooze' as const), delayMs }),
    fc.record({ outcome: fc.constant('dead' as const), error, isFailure: fc.boolean() }),
  )
  const claim = fc.record<StepClaim>({
    worker: fc.constantFrom(...workers),
    count: fc.integer({ min: 1, max: 4 }),
    leaseMs: pick(times.leases),
  })
  const step: fc.Arbitrary<Step> = fc.oneof(
    { weight: 6, arbitrary: fc.record({ is: fc.constant('enqueue' as const), tasks: fc.array(task, { minLength: 1, maxLength: 4 }) }) },
    {
      weight: 12,
      arbitrary: fc.record({
        is: fc.constant('exchange' as const),
        finish: fc.array(fc.record({ who, how }), { maxLength: 3 }),
        claim: fc.option(claim, { nil: undefined, freq: 3 }),
      }),
    },
    {
      weight: 2,
      arbitrary: fc.record({ is: fc.constant('beat' as const), leaseMs: pick(times.leases), who: fc.array(who, { maxLength: 4 }) }),
    },
    {
      weight: 4,
      arbitrary: fc.record({
        is: fc.constant('reap' as const),
        crashesMax: fc.constantFrom(3, 1, 0),
        keepDeadMs: fc.option(pick(times.keeps), { nil: undefined }),
      }),
    },
    {
      weight: 3,
      arbitrary: fc.record({
        is: fc.constant('report' as const),
        reports: fc.array(fc.record({ who, progress: fc.constantFrom('{"done":1}', '{"message":"é世"}') }), { minLength: 1, maxLength: 3 }),
      }),
    },
    {
      weight: 6,
      arbitrary: fc.record({
        is: fc.constantFrom('cancel' as const, 'cancel' as const, 'retry' as const, 'remove' as const),
        which: fc.array(fc.record<Which>({ state: fc.constantFrom(...taskStates, 'active', 'dead'), nth: fc.nat({ max: 5 }), id }), {
          minLength: 1,
          maxLength: 3,
        }),
      }),
    },
    { weight: 3, arbitrary: fc.record({ is: fc.constant('resend' as const), back: fc.integer({ min: 0, max: 4 }) }) },
    { weight: 3, arbitrary: fc.record({ is: fc.constant('pass' as const), ms: pick(times.passes) }) },
    { weight: 1, arbitrary: fc.record({ is: fc.constant('crash' as const), worker: fc.constantFrom(...workers) }) },
    { weight: 1, arbitrary: fc.constant({ is: 'restart' as const }) },
  )
  return fc.array(step, { minLength: least, maxLength: most, size: 'max' })
}

/** What processes remember while a trace is played. */
export interface Memory {
  /** Every attempt that was ever given, and whose worker lives, oldest first. */
  claimed: (Held & { worker: string })[]
  calls: Call[]
  steps: number
}
export const newMemory = (): Memory => ({ claimed: [], calls: [], steps: 0 })

const processOf = (worker: string): 0 | 1 => (worker.startsWith('one') ? 0 : 1)

/** The call that a step means; undefined when it is none, or there is nothing that it could be about. @param there what each state holds */
export function callOf(memory: Memory, step: Step, there: Record<TaskState, readonly { id: string }[]>): Call | undefined {
  memory.steps++
  const by = memory.steps % 2 === 0 ? 0 : 1
  switch (step.is) {
    case 'enqueue':
      return {
        is: 'enqueue',
        by,
        tasks: step.tasks.map(({ text, ...task }) => ({ ...task, envelope: `["test.do",0,"${task.id} ${text}"]` })),
      }
    case 'exchange': {
      const finish = step.finish.flatMap(({ who, how }): Finish[] => attemptOf(memory, who).map(held => ({ ...held, ...spelled(how) })))
      const said = finish.length > 0 ? { finish } : {}
      if (!step.claim) return { is: 'exchange', by, exchange: said }
      const claim = { ...step.claim, nonce: `nonce-${String(memory.steps).padStart(10, '0')}` }
      return { is: 'exchange', by: processOf(claim.worker), exchange: { ...said, claim } }
    }
    case 'beat':
      return { is: 'beat', by, leaseMs: step.leaseMs, held: step.who.flatMap(each => attemptOf(memory, each)) }
    case 'reap':
      return {
        is: 'reap',
        by,
        rule: { leaseMs: 1, crashesMax: step.crashesMax, ...(step.keepDeadMs !== undefined && { keepDeadMs: step.keepDeadMs }) },
      }
    case 'report':
      return {
        is: 'report',
        by,
        reports: step.reports.flatMap(({ who, progress }) => attemptOf(memory, who).map(held => ({ ...held, progress }))),
      }
    case 'cancel':
    case 'retry':
    case 'remove':
      return { is: step.is, by, ids: step.which.map(each => idOf(each, there[each.state])) }
    case 'resend':
      return resendable(memory, step.back)
    default:
      return undefined
  }
}

/** Stands for a message of more characters than are kept. */
const tooLong = 'too long'
const spelled = (how: HowItEnded): HowItEnded => ('error' in how && how.error === tooLong ? { ...how, error: 'é'.repeat(1001) } : how)

const idOf = ({ nth, id }: Which, among: readonly { id: string }[]) => among[nth % Math.max(1, among.length)]?.id ?? id

function attemptOf({ claimed }: Memory, { back, lie }: Who): Held[] {
  const one = claimed.at(-1 - back)
  if (!one) return []
  const { id, attempt, nonce } = one
  if (lie === 'attempt') return [{ id, attempt: attempt + 1, nonce }]
  if (lie === 'nonce') return [{ id, attempt, nonce: 'x'.repeat(16) }]
  return [{ id: lie === 'id' ? 'nobody' : id, attempt, nonce }]
}

/** A process makes a call again while it waits for its answer, so of its claims only the last. */
function resendable({ calls }: Memory, back: number): Call | undefined {
  const call = calls.at(-1 - back)
  if (call?.is !== 'exchange' || !call.exchange.claim) return call
  const { worker, nonce } = call.exchange.claim
  const last = calls.findLast(each => each.is === 'exchange' && each.exchange.claim?.worker === worker)
  return last?.is === 'exchange' && last.exchange.claim?.nonce === nonce ? call : undefined
}

/** Keeps in mind what a call has brought. */
export function remember(memory: Memory, call: Call, reply: unknown): void {
  memory.calls.push(call)
  if (call.is !== 'exchange' || !call.exchange.claim) return
  const { worker, nonce } = call.exchange.claim
  for (const { id, attempt } of (reply as ExchangeReply).claimed) {
    const isKnown = memory.claimed.some(each => each.id === id && each.attempt === attempt && each.nonce === nonce)
    if (!isKnown) memory.claimed.push({ id, attempt, nonce, worker })
  }
}

/** A worker has died. */
export function forget(memory: Memory, worker: string): void {
  memory.claimed = memory.claimed.filter(each => each.worker !== worker)
}

/** A process has ended, and another begun. It repeats no calls of the one before. */
export function forgetCalls(memory: Memory, process: 0 | 1): void {
  memory.calls = memory.calls.filter(({ by }) => by !== process)
}

export function make(driver: QueueDriver, queue: string, call: Call): Promise<unknown> {
  switch (call.is) {
    case 'enqueue':
      return driver.enqueue(queue, call.tasks)
    case 'exchange':
      return driver.exchange(queue, call.exchange)
    case 'beat':
      return driver.beat(queue, call.leaseMs, call.held)
    case 'reap':
      return driver.reap(queue, call.rule)
    case 'report':
      return driver.report(queue, call.reports)
    default:
      return driver[call.is](queue, call.ids)
  }
}
