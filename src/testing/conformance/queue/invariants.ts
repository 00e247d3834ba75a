import { type TaskState, taskStates } from '@/core/queue/admin'
import type { EnqueueReply, ExchangeReply, Finish, Held, ReapReply, StoredTask } from '@/infra/queue/driver'
import { aFullQueueTakesNothing, noMoreRunThanMay, noneStartsWhilePaused, noRateIsExceeded } from './invariants-limits'
import { theDeadStay, theDoneStay, whatExpiresIsCounted } from './kept-invariants'
import { givenOf, type Moment, type Snapshot } from './moment'

/**
 * What holds of a queue after every call, whatever was called before it. Each looks only at what the driver itself says; none knows
 * of the model. Numbered as in the design; those that are about schedules and speed are tested elsewhere.
 */
interface Invariant {
  name: string
  says: string
  /** @returns what is wrong */
  broken(moment: Moment): string[]
}

const everything = ({ tasks }: Snapshot) => taskStates.flatMap(state => tasks[state])
const idsIn = (seen: Snapshot, states: readonly TaskState[] = taskStates) => states.flatMap(state => seen.tasks[state].map(({ id }) => id))
const alive = ['waiting', 'scheduled', 'held', 'active'] as const
const attemptOf = ({ id, attempt, nonce }: Held) => `${id} ${attempt} ${nonce}`

/** Each end that was said in a call, with the answer. */
function saidOf({ call, reply }: Moment): { said: Finish; status: string | undefined }[] {
  if (call.is !== 'exchange') return []
  return (call.exchange.finish ?? []).map((said, i) => ({ said, status: (reply as ExchangeReply).finished[i] }))
}

function acceptedOf({ call, reply }: Moment) {
  if (call.is !== 'enqueue') return []
  return call.tasks.filter((_, i) => (reply as EnqueueReply[])[i]?.status === 'enqueued')
}

/** I1 */
function nothingIsLost({ after, ledger }: Moment): string[] {
  const { total, waiting, scheduled, held, active, dead } = after.stats
  const known = waiting + scheduled + held + active + dead + total.done + total.cancelled + ledger.removed
  return known === total.enqueued ? [] : [`${total.enqueued} were accepted, and ${known} are known of`]
}

/** I1 */
function nothingComesBack(moment: Moment): string[] {
  const may = new Set([...idsIn(moment.before), ...acceptedOf(moment).map(({ id }) => id)])
  return idsIn(moment.after).filter(id => !may.has(id))
}

/** I2 */
function eachIsInOnePlace({ after }: Moment): string[] {
  const ids = idsIn(after)
  return ids.filter((id, i) => ids.indexOf(id) !== i)
}

/** I3 */
function eachHasItsEnvelope({ after }: Moment): string[] {
  return everything(after).flatMap(({ id, envelope }) => (envelope === undefined ? [id] : []))
}

/** I4 */
function whatRunsHasAnOwner({ after }: Moment): string[] {
  const isOwned = ({ worker, atMs, attempt }: StoredTask) => Boolean(worker) && atMs !== undefined && attempt > 0
  const orphans = after.tasks.active.filter(task => !isOwned(task))
  const owned = taskStates.filter(state => state !== 'active').flatMap(state => after.tasks[state].filter(({ worker }) => worker))
  return [...orphans, ...owned].map(({ id }) => id)
}

/** I5 */
function anAttemptEndsOnce(moment: Moment): string[] {
  const { before, after, ledger } = moment
  const ended = new Map(ledger.ended)
  const first: Finish[] = []
  const wrong: string[] = []
  for (const { said, status } of saidOf(moment)) {
    if (status !== 'ok') continue
    const was = ended.get(attemptOf(said))
    if (was === undefined) first.push(said)
    else if (was !== said.outcome) wrong.push(`${attemptOf(said)}: ${was}, then ${said.outcome}`)
    ended.set(attemptOf(said), said.outcome)
  }
  const done = first.filter(({ outcome }) => outcome === 'done').length
  const counted = after.stats.total.done - before.stats.total.done
  if (counted !== done) wrong.push(`${done} were done for the first time, and ${counted} were counted`)
  const failed = first.filter(said => said.outcome === 'retry' || (said.outcome === 'dead' && said.isFailure)).length
  if (after.stats.total.failed - before.stats.total.failed > failed) wrong.push(`only ${failed} failed`)
  return wrong
}

/** I6 */
function theStaleChangeNothing(moment: Moment): string[] {
  const { call, reply, before, after } = moment
  const said = saidOf(moment)
  const isStale =
    (call.is === 'exchange' && !call.exchange.claim && said.every(({ status }) => status !== 'ok')) ||
    (call.is === 'beat' && (reply as { lost: string[] }).lost.length === call.held.length) ||
    (call.is === 'report' && (reply as boolean[]).every(isOwn => !isOwn))
  const { oldestWaitingMs: _, ...was } = before.stats
  const { oldestWaitingMs: __, ...is } = after.stats
  return isStale && !Bun.deepEquals([before.tasks, was], [after.tasks, is]) ? [`${JSON.stringify(call)} changed something`] : []
}

/** I7 */
function noneStartsBeforeItsTime(moment: Moment): string[] {
  const due = new Map(moment.before.tasks.scheduled.map(({ id, atMs }) => [id, atMs ?? 0]))
  return givenOf(moment).flatMap(({ id }) => ((due.get(id) ?? 0) > moment.endedMs ? [id] : []))
}

/** I9 */
function aKeyHasOneHolder(moment: Moment): string[] {
  const keys = new Map(moment.ledger.keys)
  return acceptedOf(moment).flatMap(({ id, unique }) => {
    if (!unique) return []
    const holder = keys.get(unique.key)
    keys.set(unique.key, { id, untilMs: Number.POSITIVE_INFINITY })
    return holder && holder.untilMs > moment.endedMs ? [`${unique.key} was ${holder.id}'s when ${id} got it`] : []
  })
}

function whatJoinsIsThere({ call, reply, after }: Moment): string[] {
  if (call.is !== 'enqueue') return []
  const there = new Map(everything(after).map(({ id, envelope }) => [id, envelope]))
  return call.tasks.flatMap((task, i) => {
    const { id, status } = (reply as EnqueueReply[])[i] as EnqueueReply
    if (status !== 'joined') return []
    const times = (there.get(id)?.split(task.envelope).length ?? 1) - 1
    return times === 1 || (times > 1 && !task.isIdKept) ? [] : [`${task.id} is ${times} times in ${id}`]
  })
}

function attemptsGrow(moment: Moment): string[] {
  return givenOf(moment).flatMap(({ id, attempt }) => (attempt > (moment.ledger.attempts.get(id) ?? 0) ? [] : [`${id} ${attempt}`]))
}

export const invariants: readonly Invariant[] = [
  { name: 'I1', says: 'what was accepted is alive or dead, has ended, or was removed', broken: nothingIsLost },
  { name: 'I1', says: 'what has ended does not come back', broken: nothingComesBack },
  { name: 'I2', says: 'a task is in one state', broken: eachIsInOnePlace },
  { name: 'I3', says: 'each task that is listed has its envelope', broken: eachHasItsEnvelope },
  { name: 'I4', says: 'what runs, and only that, has a worker and a time until which it is held', broken: whatRunsHasAnOwner },
  { name: 'I5', says: 'one end is accepted of an attempt', broken: anAttemptEndsOnce },
  { name: 'I6', says: 'who is stale changes nothing', broken: theStaleChangeNothing },
  { name: 'I7', says: 'no task starts before its time', broken: noneStartsBeforeItsTime },
  { name: 'I9', says: 'a unique key has one holder', broken: aKeyHasOneHolder },
  { name: 'I11', says: 'nothing starts while the queue is paused', broken: noneStartsWhilePaused },
  { name: 'I12', says: 'no more run than may, of the queue and of each lane', broken: noMoreRunThanMay },
  { name: 'rates', says: 'no more start than a rate allows', broken: noRateIsExceeded },
  { name: 'backlog', says: 'what comes is refused while so many wait, and only then', broken: aFullQueueTakesNothing },
  { name: 'groups', says: 'what has joined a group is in it, and once when its id is kept', broken: whatJoinsIsThere },
  { name: 'I14', says: 'dead letters go only when they are told to, or when they are older than they may be', broken: theDeadStay },
  {
    name: 'kept',
    says: 'what is done and kept goes when its time is over or somebody removes it, and keeps its result',
    broken: theDoneStay,
  },
  { name: 'expired', says: 'what is removed since its time was over is counted', broken: whatExpiresIsCounted },
  { name: 'attempts', says: 'each start of a task has a higher number than all before it', broken: attemptsGrow },
]

/** @throws Error when one does not hold */
export function check(moment: Moment): void {
  moment.ledger.removed += uncountedOf(moment)
  for (const { name, says, broken } of invariants) {
    const wrong = broken(moment)
    if (wrong.length > 0) throw new Error(`${name} does not hold: ${says}. ${wrong.join('; ')}`)
  }
  enter(moment)
}

/** Ids that an operator's call was about and that were answered so. */
const answered = ({ call, reply }: Moment, is: 'retry' | 'remove', answer: string): string[] =>
  call.is === is ? call.ids.filter((_, i) => (reply as string[])[i] === answer) : []

/** How many went that were not counted when they ended: one that is done and kept was. */
function uncountedOf(moment: Moment): number {
  const { call, reply, before } = moment
  if (call.is === 'reap') return (reply as ReapReply).expired?.dead ?? 0
  const done = new Set(idsIn(before, ['done']))
  return answered(moment, 'remove', 'removed').filter(id => !done.has(id)).length
}

/** Writes the call down. */
function enter(moment: Moment): void {
  const { after, beganMs, ledger } = moment
  for (const { said, status } of saidOf(moment)) if (status === 'ok') ledger.ended.set(attemptOf(said), said.outcome)
  for (const { id, attempt } of givenOf(moment)) ledger.attempts.set(id, attempt)
  for (const { id, unique } of acceptedOf(moment)) {
    if (!unique) continue
    ledger.uniques.set(id, unique)
    ledger.keys.set(unique.key, { id, untilMs: beganMs + unique.forMs })
  }
  for (const id of answered(moment, 'retry', 'retried')) {
    const again = ledger.uniques.get(id)
    if (again && (ledger.keys.get(again.key)?.untilMs ?? 0) <= beganMs) ledger.keys.set(again.key, { id, untilMs: beganMs + again.forMs })
  }
  const there = new Set(idsIn(after))
  for (const id of ledger.attempts.keys()) if (!there.has(id)) ledger.attempts.delete(id)
  for (const id of ledger.uniques.keys()) if (!there.has(id)) ledger.uniques.delete(id)
  const living = new Set(idsIn(after, alive))
  for (const [key, { id }] of ledger.keys) if (!living.has(id)) ledger.keys.delete(key)
}
