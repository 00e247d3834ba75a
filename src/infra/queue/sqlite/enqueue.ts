import type { EnqueueReply, NewTask } from '../driver'
import { end } from './ending'
import { arrive, relate } from './followers'
import { states } from './rows'
import { atTail, type Session } from './session'

/** The condition and its parameters come last: an id is refused while it is remembered. */
const insertion = `insert into "queueTask" ("queue", "id", "state", "priority", "line", "at", "isIdKept", "uniqueKey", "uniqueFor", "uniqueUntil", "envelope")
  select ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11
  where not exists (select 1 from "queueTombstone" where "queue" = ?1 and "id" = ?2 and "until" > ?12)
  on conflict ("queue", "id") do nothing`

export async function enqueue(session: Session, queue: string, tasks: readonly NewTask[]): Promise<EnqueueReply[]> {
  const replies: EnqueueReply[] = []
  for (const task of tasks) replies.push(await enqueueOne(session, queue, task))
  if (replies.some(({ status }) => status === 'enqueued')) session.wake(queue)
  return replies
}

async function enqueueOne(session: Session, queue: string, task: NewTask): Promise<EnqueueReply> {
  const { tx, nowMs } = session
  const { id, isIdKept, priority, delayMs, unique, follower, after, envelope } = task
  if (unique) {
    const taken = await whoHas(session, queue, id, unique.key)
    if (taken) return taken
  }
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
    }
  } else if (isScheduled) {
    summary.scheduled++
    if (summary.nextDueMs !== undefined) summary.nextDueMs = Math.min(summary.nextDueMs ?? atMs, atMs)
  } else {
    summary.waiting++
    atTail(summary)
  }
  return { id, status: 'enqueued' }
}

/** @returns the reply when the key, or the id itself, is taken */
async function whoHas(session: Session, queue: string, id: string, key: string): Promise<EnqueueReply | undefined> {
  const { tx, nowMs } = session
  const known = await tx.first(
    `select 1 from "queueTask" where "queue" = ?1 and "id" = ?2
      union all select 1 from "queueTombstone" where "queue" = ?1 and "id" = ?2 and "until" > ?3`,
    [queue, id, nowMs],
  )
  if (known) return { id, status: 'duplicate' }
  const holder = await holderOf(session, queue, key)
  return holder === undefined ? undefined : { id: holder, status: 'unique' }
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
