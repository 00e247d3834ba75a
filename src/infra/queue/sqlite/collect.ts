import type { EnqueueReply, NewTask } from '../driver'
import { remember } from './ending'
import { insertTask, isKnown } from './enqueue'
import { entered } from './lanes'
import { laneNameOf, states } from './rows'
import { atTail, type Session } from './session'

/**
 * Tasks that collect others: one of each `groupKey` has a `groupUntil`, which is when it starts at the latest. That stays when it has
 * been started; who looks for it then takes it away.
 */
export async function collect(session: Session, queue: string, task: NewTask, rule: NonNullable<NewTask['group']>): Promise<EnqueueReply> {
  const { id, isIdKept, envelope } = task
  if (await isKnown(session, queue, id)) return { id, status: 'duplicate' }
  const group = await joinable(session, queue, rule.key)
  const size = Buffer.byteLength(envelope)
  if (!group) return open(session, queue, task, { rule, size })
  if (group.bytes + size > rule.bytesMax) {
    await close(session, queue, group)
    return open(session, queue, task, { rule, size })
  }
  await add(session, queue, envelope, { group, rule })
  if (group.count + 1 >= rule.countMax || group.bytes + size >= rule.bytesMax || group.startMs <= session.nowMs)
    await close(session, queue, group)
  if (isIdKept) await remember(session, queue, id)
  return { id: group.id, status: 'joined' }
}

interface Group {
  seq: number
  priority: number
  lane: string | null
  id: string
  count: number
  /** Of the envelopes, without what is between them. */
  bytes: number
  startMs: number
  untilMs: number
}

async function joinable({ tx, nowMs }: Session, queue: string, key: string): Promise<Group | undefined> {
  const row = await tx.first(
    `select "seq", "id", "state", "priority", "lane", "attempt", "at", "groupCount", "groupUntil", octet_length("envelope") as "bytes" from "queueTask"
      where "queue" = ? and "groupKey" = ? and "groupUntil" is not null`,
    [queue, key],
  )
  if (!row) return undefined
  if (row['state'] !== states.scheduled || row['attempt'] !== 0 || Number(row['at']) <= nowMs) {
    await tx.run('update "queueTask" set "groupUntil" = null where "seq" = ?', [row['seq'] ?? null])
    return undefined
  }
  const count = Number(row['groupCount'])
  return {
    ...{ priority: Number(row['priority']), lane: laneNameOf(row) },
    ...{ seq: Number(row['seq']), id: String(row['id']), count, bytes: Number(row['bytes']) - (count - 1) },
    ...{ startMs: Number(row['at']), untilMs: Number(row['groupUntil']) },
  }
}

interface Opening {
  rule: NonNullable<NewTask['group']>
  size: number
}

async function open(session: Session, queue: string, task: NewTask, { rule, size }: Opening): Promise<EnqueueReply> {
  const { key, countMax, bytesMax, delayMs, delayMaxMs } = rule
  const isFull = countMax <= 1 || size >= bytesMax
  const reply = await insertTask(session, queue, { ...task, delayMs: isFull ? 0 : delayMs })
  if (!isFull)
    await session.tx.run('update "queueTask" set "groupKey" = ?, "groupUntil" = ?, "groupCount" = 1 where "queue" = ? and "id" = ?', [
      key,
      session.nowMs + delayMaxMs,
      queue,
      task.id,
    ])
  session.wake(queue)
  return reply
}

async function add(session: Session, queue: string, envelope: string, { group, rule }: { group: Group; rule: Opening['rule'] }) {
  const { tx, nowMs } = session
  const atMs = Math.min(nowMs + rule.delayMs, group.untilMs)
  await tx.run(
    'update "queueTask" set "envelope" = "envelope" || char(10) || ?, "groupCount" = "groupCount" + 1, "at" = ? where "seq" = ?',
    [envelope, atMs, group.seq],
  )
  const summary = await session.of(queue)
  summary.nextDueMs = undefined
  if (atMs < group.startMs) session.wake(queue)
  group.startMs = atMs
}

/** It is added to no more, and waits. */
async function close(session: Session, queue: string, { seq, priority, lane }: Group): Promise<void> {
  const summary = await session.of(queue)
  await session.tx.run(`update "queueTask" set "state" = ${states.waiting}, "line" = ?, "at" = ?, "groupUntil" = null where "seq" = ?`, [
    atTail(summary),
    session.nowMs,
    seq,
  ])
  summary.scheduled--
  summary.waiting++
  await entered(session, summary, lane, priority)
  summary.nextDueMs = undefined
  session.wake(queue)
}
