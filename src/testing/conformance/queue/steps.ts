import fc from 'fast-check'
import { type TaskState, taskStates } from '@/core/queue/admin'
import { type ClaimLimits, exchangeMax, type NewTask, type RateLimit } from '@/infra/queue/driver'
import type { HowItEnded } from './fixture'
import { groupRules } from './trace-group'

/**
 * Random work on a queue. A step says what is to be done in words that stay the same while a failing run is made shorter; which
 * attempt it is about is found out when it is played, from what was claimed before it.
 */
export type Step =
  | { is: 'enqueue'; tasks: readonly StepTask[]; backlogMax: number | undefined }
  | { is: 'exchange'; finish: readonly StepFinish[]; claim: StepClaim | undefined }
  | { is: 'beat'; leaseMs: number; who: readonly Who[] }
  | { is: 'reap'; crashesMax: number; keepDeadMs: number | undefined }
  | { is: 'report'; reports: readonly { who: Who; progress: string }[] }
  | { is: 'cancel' | 'retry' | 'remove' | 'bury'; which: readonly Which[] }
  | { is: 'pause' | 'resume' }
  /** The last call but so many is made again, as when its answer was lost. */
  | { is: 'resend'; back: number }
  | { is: 'pass'; ms: number }
  /** A worker dies, and says nothing more of what it holds. */
  | { is: 'crash'; worker: string }
  | { is: 'restart' }

interface StepTask extends Omit<NewTask, 'envelope'> {
  text: string
}
interface StepClaim {
  worker: string
  count: number
  leaseMs: number
  /** The same in all of a trace: who is held back by a limit is not looked at again because another claim allows more. */
  limits?: ClaimLimits
}
interface StepFinish {
  who: Who
  how: HowItEnded
}
/** Whose attempt: the newest but `back` of all that were ever claimed; or one who says that he is. */
export interface Who {
  back: number
  lie: 'none' | 'attempt' | 'nonce' | 'id'
}

/** One of those in a state, counted round, or whichever has this id when there is none in it. */
export interface Which {
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
  /** Of a lane, and of the queue. */
  rates: { lane: readonly RateLimit[]; queue: readonly RateLimit[] }
}
export const movedTimes: Times = {
  delays: [0, 0, 1, 50, 4000, 3_600_000],
  keeps: [0, 1, 4000, 3_600_000],
  leases: [1, 1000, 30_000],
  passes: [1, 50, 1000, 4000, 8000, 30_000, 3_600_000, 86_400_000],
  rates: {
    lane: [
      { intervalMs: 1000, burst: 2 },
      { intervalMs: 0.3, burst: 1 },
      { intervalMs: 3_600_000, burst: 1 },
    ],
    queue: [
      { intervalMs: 20, burst: 3 },
      { intervalMs: 333.3, burst: 1 },
    ],
  },
}
export const realTimes: Times = {
  delays: [0, 0, 1, 3_600_000],
  keeps: [0, 1, 3_600_000],
  leases: [1, 3_600_000],
  passes: [3],
  rates: { lane: [2, 4].map(burst => ({ intervalMs: 3_600_000, burst })), queue: [{ intervalMs: 3_600_000, burst: 30 }] },
}

const workers = ['one:1', 'one:2', 'other:1']
const lanes = ['one/a', 'one/b', 'two', 'two/a', 'slow/a', 'slow/b', 'both/a', 'free/a', 'free/b']
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

/**
 * Most claim a few, of whatever there is. Where all are to get the same each takes all that its limits allow (`whole`), or there are no lanes
 * (`plain`), since which of them is next is no promise.
 */
export type Claims = 'few' | 'whole' | 'plain'

/** What claims of one trace may not exceed: nothing in some. */
function limits({ rates }: Times, claims: Claims): fc.Arbitrary<ClaimLimits | undefined> {
  const rate = fc.constantFrom(...rates.lane)
  const ofLanes = fc.record({
    one: fc.constant({ concurrency: 1 }),
    two: fc.constant({ concurrency: 2 }),
    slow: fc.record({ rate }),
    both: fc.record({ concurrency: fc.constant(2), rate }),
  })
  const whole = fc.record({ lanes: ofLanes })
  if (claims !== 'few') return claims === 'whole' ? whole : fc.constant(undefined)
  const ofQueue = fc.record(
    { concurrency: fc.integer({ min: 1, max: 5 }), rate: fc.constantFrom(...rates.queue), lanes: ofLanes },
    { requiredKeys: ['lanes'] },
  )
  return fc.oneof(fc.constant(undefined), whole, ofQueue)
}

/** @param times which they may name; @param most and @param least how many */
export const steps = (times: Times, most: number, least = 1, claims: Claims = 'few'): fc.Arbitrary<Step[]> =>
  limits(times, claims).chain(said => stepsUnder(said, times, { most, least, claims }))

function stepsUnder(
  limits: ClaimLimits | undefined,
  times: Times,
  { most, least, claims }: { most: number; least: number; claims: Claims },
): fc.Arbitrary<Step[]> {
  const delayMs = pick(times.delays)
  const lane = claims === 'plain' ? fc.constant(undefined) : fc.option(fc.constantFrom(...lanes), { nil: undefined, freq: 2 })
  const unique = fc.option(fc.record({ key: fc.constantFrom(...keys), forMs: pick(times.delays.filter(ms => ms > 0)) }), {
    nil: undefined,
    freq: 2,
  })
  const follower = fc.option(fc.record({ id: fc.constantFrom(...followers), wantsResult: fc.boolean() }), { nil: undefined })
  const text = fc.constantFrom('', 'text', '\n"é世')
  const laned = (name: string | undefined) => (name === undefined ? {} : { lane: name })
  const alone = fc
    .record({ id, priority, delayMs, unique, lane, follower, text })
    .map(({ unique: said, lane: name, follower: next, ...rest }): StepTask => {
      const after = afters[rest.id]
      const follower = next && next.id > rest.id ? next : undefined
      return {
        ...{ ...rest, isIdKept: isKept(rest.id), ...laned(name), ...(follower && { follower }) },
        ...(after ? { after } : said && { unique: said }),
      }
    })
  const grouped = fc
    .record({ id: id.filter(each => !afters[each]), priority, lane, text, group: groupRules(times.delays) })
    .map(({ lane: name, ...rest }): StepTask => ({ ...rest, ...laned(name), delayMs: 0, isIdKept: isKept(rest.id) }))
  const task = fc.oneof({ weight: 2, arbitrary: alone }, { weight: 1, arbitrary: grouped })
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
    count: claims === 'whole' ? fc.constant(exchangeMax) : fc.integer({ min: 1, max: 4 }),
    leaseMs: pick(times.leases),
    ...(limits ? { limits: fc.constant(limits) } : {}),
  })
  const step: fc.Arbitrary<Step> = fc.oneof(
    {
      weight: 6,
      arbitrary: fc.record({
        is: fc.constant('enqueue' as const),
        tasks: fc.array(task, { minLength: 1, maxLength: 4 }),
        backlogMax: fc.option(fc.constantFrom(2, 6), { nil: undefined, freq: 3 }),
      }),
    },
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
        is: fc.constantFrom('cancel' as const, 'cancel' as const, 'retry' as const, 'remove' as const, 'bury' as const),
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
    { weight: 2, arbitrary: fc.record({ is: fc.constantFrom('pause' as const, 'resume' as const, 'resume' as const) }) },
  )
  return fc.array(step, { minLength: least, maxLength: most, size: 'max' })
}

/** Stands for a message of more characters than are kept. */
export const tooLong = 'too long'
