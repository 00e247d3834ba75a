import type { ClaimLimits, EnqueueReply } from '@/infra/queue/driver'
import { givenOf, type Moment } from './moment'

/** What holds of a queue that is paused, limited or full, after every call. */

/** I11 */
export function noneStartsWhilePaused(moment: Moment): string[] {
  return moment.before.stats.isPaused ? givenOf(moment).map(({ id }) => id) : []
}

const limitsOf = ({ call }: Moment): ClaimLimits => (call.is === 'exchange' && call.exchange.claim?.limits) || { lanes: {} }
const limitOf = (lane: string, { lanes }: ClaimLimits) => lanes[lane.split('/', 1)[0] as string] ?? {}

/** In which lanes those are that were given. */
function lanesGiven(moment: Moment): string[] {
  const lanes = new Map(moment.after.tasks.active.map(({ id, lane }) => [id, lane]))
  return givenOf(moment).flatMap(({ id }) => lanes.get(id) ?? [])
}

/** I12 */
export function noMoreRunThanMay(moment: Moment): string[] {
  const limits = limitsOf(moment)
  const { active } = moment.after.tasks
  const given = givenOf(moment)
  const ofQueue = given.length > 0 && active.length > (limits.concurrency ?? Number.POSITIVE_INFINITY) ? [`${active.length} run`] : []
  const ofLanes = [...new Set(lanesGiven(moment))].flatMap(name => {
    const running = active.filter(({ lane }) => lane === name).length
    return running > (limitOf(name, limits).concurrency ?? Number.POSITIVE_INFINITY) ? [`${running} of ${name} run`] : []
  })
  return [...ofQueue, ...ofLanes]
}

/** Each start as late as it may have been for its own sake, and as early for that of the next. */
export function noRateIsExceeded(moment: Moment): string[] {
  const { beganMs, endedMs, ledger } = moment
  const limits = limitsOf(moment)
  const starts = [...givenOf(moment).map(() => ''), ...lanesGiven(moment)]
  return starts.flatMap(name => {
    const rate = name === '' ? limits.rate : limitOf(name, limits).rate
    if (!rate) return []
    const tat = Math.max(ledger.tats.get(name) ?? beganMs, beganMs)
    ledger.tats.set(name, tat + rate.intervalMs)
    // Where time has whole ms, those of one may start together.
    const burst = Math.max(rate.burst, Math.ceil(1 / rate.intervalMs))
    const earliestMs = tat - (burst - 1) * rate.intervalMs
    return earliestMs > endedMs ? [`${name || 'the queue'} might start another in ${earliestMs - endedMs} ms`] : []
  })
}

export function aFullQueueTakesNothing({ call, reply, before }: Moment): string[] {
  if (call.is !== 'enqueue') return []
  const { waiting, scheduled, held } = before.stats
  const isFull = waiting + scheduled + held >= (call.backlogMax ?? Number.POSITIVE_INFINITY)
  const wrong = isFull ? 'enqueued' : 'full'
  return (reply as EnqueueReply[]).flatMap(({ id, status }) => (status === wrong ? [`${id} was ${status}`] : []))
}
