import type { EnqueueReply, EnqueueRule, NewTask } from '../driver'
import { collect } from './collect'
import { end } from './ending'
import { arrive, relate } from './followers'
import { entered } from './lanes'
import { states } from './rows'
import { atTail, type Session, type Summary } from './session'

/** The condition and its parameters come last: an id is refused while it is remembered. */
const insertion = `insert into "queueTask" ("queue", "id", "state", "priority", "line", "at", "isIdKept", "uniqueKey", "uniqueFor", "uniqueUntil", "lane", "envelope")
  select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12
  where not exists (select 1 from "queueTombstone" where "queue" = ?1 and "id" = ?2 and "until" > ?13)
  on conflict ("queue", "id") do nothing`

export async function enqueue(
  session: Session,
  queue: string,
  tasks: readonly NewTask[],
  { backlogMax }: Pick<EnqueueRule, 'backlogMax'>,
): Promise<EnqueueReply[]> {
  const replies: EnqueueReply[] = []
  const isFull = backlogMax !== undefined && backlogOf(await session.of(queue)) >= backlogMax
  const calledOff = new Set<string>()
  for (const task of tasks) {
    // Named a second time in a call it is known, also when it was cancelled at once.
    const isKnown = calledOff.size > 0 && calledOff.has(task.id)
    if (isKnown) replies.push({ id: task.id, status: 'duplicate' })
    else replies.push(await (isFull ? refuse(session, queue, task) : enqueueOne(session, queue, task, calledOff)))
  }
  if (replies.some(({ status }) => status === 'enqueued')) session.wake(queue)
  return replies
}

const backlogOf = ({ waiting, scheduled, held }: Summary): number => waiting + scheduled + held

/** Who says again what was accepted before the queue was full is told so. */
async function refuse(session: Session, queue: string, { id, unique }: NewTask): Promise<EnqueueReply> {
  return (await whoHas(session, queue, id, unique?.key)) ?? { id, status: 'full' }
}

async function enqueueOne(session: Session, queue: string, task: NewTask, calledOff: Set<string>): Promise<EnqueueReply> {
  const { id, unique, group } = task
  if (group) return collect(session, queue, task, group)
  if (unique) {
    const taken = await whoHas(session, queue, id, unique.key)
    if (taken) return taken
  }
  return insertTask(session, queue, task, calledOff)
}

/** Its unique key is nobody else's. @param calledOff takes its id when it is cancelled at once, with what it was to wait for */
export async function insertTask(session: Session, queue: string, task: NewTask, calledOff?: Set<string>): Promise<EnqueueReply> {
  const { tx, nowMs } = session
  const { id, isIdKept, priority, delayMs, unique, lane = null, follower, after, envelope } = task
  const summary = await session.of(queue)
  const isScheduled = delayMs > 0 && !after
  const atMs = after ? nowMs : nowMs + delayMs
  const { changes } = await tx.run(insertion, [
    queue,
    id,
    after ? states.held : isScheduled ? states.scheduled : states.waiting,
    priority,
    isScheduled || after ? 0 : summary.tail + 1,
    atMs,
    isIdKept ? 1 : 0,
    unique?.key ?? null,
    unique?.forMs ?? null,
    unique ? nowMs + unique.forMs : null,
    lane,
    envelope,
    nowMs,
  ])
  if (changes === 0) return { id, status: 'duplicate' }
  summary.enqueued++
  if (follower || after) await relate(session, queue, task)
  if (after) {
    summary.held++
    const cancelled = await arrive(session, queue, id)
    if (cancelled) {
      await end(session, queue, cancelled, { outcome: 'cancelled' })
      summary.held--
      summary.cancelled++
      calledOff?.add(id)
    }
  } else if (isScheduled) {
    summary.scheduled++
    if (summary.nextDueMs !== undefined) summary.nextDueMs = Math.min(summary.nextDueMs ?? atMs, atMs)
  } else {
    summary.waiting++
    atTail(summary)
    await entered(session, summary, lane, priority)
  }
  return { id, status: 'enqueued' }
}

/** @returns the reply when the key, or the id itself, is taken */
async function whoHas(session: Session, queue: string, id: string, key: string | undefined): Promise<EnqueueReply | undefined> {
  if (await isKnown(session, queue, id)) return { id, status: 'duplicate' }
  const holder = key === undefined ? undefined : await holderOf(session, queue, key)
  return holder === undefined ? undefined : { id: holder, status: 'unique' }
}

/** Whether there is such a task, or its id is remembered. */
export async function isKnown({ tx, nowMs }: Session, queue: string, id: string): Promise<boolean> {
  const known = await tx.first(
    `select 1 from "queueTask" where "queue" = ?1 and "id" = ?2
      union all select 1 from "queueTombstone" where "queue" = ?1 and "id" = ?2 and "until" > ?3`,
    [queue, id, nowMs],
  )
  return known !== undefined
}

/** The id of the task that has a unique key. From one that has had it for its whole time it is taken away. */
export async function holderOf({ tx, nowMs }: Session, queue: string, key: string): Promise<string | undefined> {
  const holder = await tx.first(
    'select "seq", "id", "uniqueUntil" from "queueTask" where "queue" = ? and "uniqueKey" = ? and "uniqueUntil" is not null',
    [queue, key],
  )
  if (!holder) return undefined
  if (Number(holder['uniqueUntil']) > nowMs) return String(holder['id'])
  await tx.run('update "queueTask" set "uniqueUntil" = null where "seq" = ?', [holder['seq'] ?? null])
  return undefined
}
