import { type EnqueueReply, keptIdMs, type NewTask } from '@/infra/queue/driver'
import { type ModelQueue, type ModelTask, wake } from './model-state'

/** The task that collects under a key. Another task of the same id is not it. */
export interface ModelGroup {
  task: ModelTask
  count: number
  bytes: number
  untilMs: number
}

/** What becomes of a task that belongs to a group, given what the model does with any task. */
export interface GroupTools {
  nowMs: number
  /** Makes it a task of its own. */
  add(task: NewTask): ModelTask
  /** It waits from now on. */
  due(task: ModelTask): void
}

/** Adds it to the group of its key, or opens another. */
export function collect(
  queue: ModelQueue,
  said: NewTask,
  { key, countMax, bytesMax, delayMs, delayMaxMs }: NonNullable<NewTask['group']>,
  { nowMs, add, due }: GroupTools,
): EnqueueReply {
  const { id, isIdKept, envelope } = said
  const size = Buffer.byteLength(envelope)
  const close = ({ task }: ModelGroup) => {
    queue.groups.delete(key)
    due(task)
  }
  const found = queue.groups.get(key)
  let group = found && isJoinable(queue, found, nowMs) ? found : undefined
  if (group && group.bytes + size > bytesMax) {
    close(group)
    group = undefined
  }
  const isNew = group === undefined
  if (group) {
    group.task.envelope += `\n${envelope}`
    if (isIdKept) queue.kept.set(id, nowMs + keptIdMs)
  } else {
    group = { task: add({ ...said, delayMs }), count: 0, bytes: 0, untilMs: nowMs + delayMaxMs }
    queue.groups.set(key, group)
    wake(queue)
  }
  group.count++
  group.bytes += size
  group.task.atMs = Math.min(nowMs + delayMs, group.untilMs)
  if (group.count >= countMax || group.bytes >= bytesMax || group.task.atMs <= nowMs) close(group)
  return { id: group.task.id, status: isNew ? 'enqueued' : 'joined' }
}

const isJoinable = ({ tasks }: ModelQueue, { task }: ModelGroup, nowMs: number) =>
  tasks.get(task.id) === task && task.state === 'scheduled' && task.attempt === 0 && task.atMs > nowMs
