import type { Clock } from '@/core/clock'
import { keptIdMs, type NewTask } from '@/infra/queue/driver'
import { drop, type Mark, modelRelations } from './model-held'
import { tellEnd } from './model-kept'
import { leaveLine, type ModelQueue, type ModelTask, wake } from './model-state'

/** What tasks of the model do: wait, come later, die, end, and what that does to their ids and keys, and to others. */
export function movesOf(clock: Clock) {
  const relations = modelRelations(clock, { release: start, endCancelled })

  function start(queue: ModelQueue, task: ModelTask) {
    if (task.delayMs > 0) schedule(task, task.delayMs)
    else wait(queue, task, 'tail')
  }

  function wait(queue: ModelQueue, task: ModelTask, place: 'head' | 'tail', sinceMs = clock.nowMs()) {
    const line = queue.lines[task.priority] as string[]
    if (place === 'head') line.unshift(task.id)
    else line.push(task.id)
    Object.assign(task, { state: 'waiting', atMs: sinceMs })
    wake(queue)
  }

  function schedule(task: ModelTask, delayMs: number) {
    Object.assign(task, { state: 'scheduled', atMs: clock.nowMs() + delayMs })
  }

  /** It stays, but it lives no more: its id is remembered from now on, its unique key is free. */
  function bury(queue: ModelQueue, task: ModelTask) {
    Object.assign(task, { state: 'dead', atMs: clock.nowMs() })
    queue.total.dead++
    forget(queue, task)
    tellEnd(queue, task)
    relations.tell(queue, task, { outcome: 'dead' })
  }

  function endCancelled(queue: ModelQueue, task: ModelTask) {
    queue.total.cancelled++
    end(queue, task, { outcome: 'cancelled' })
  }

  function end(queue: ModelQueue, task: ModelTask, how: Mark) {
    leaveLine(queue, task)
    drop(queue, task)
    forget(queue, task)
    relations.tell(queue, task, how)
  }

  function forget(queue: ModelQueue, { id, isIdKept, unique }: ModelTask) {
    if (isIdKept) queue.kept.set(id, clock.nowMs() + keptIdMs)
    if (unique && queue.keys.get(unique.key)?.id === id) queue.keys.delete(unique.key)
  }

  function holderOf({ keys }: ModelQueue, key: string): string | undefined {
    const holder = keys.get(key)
    return holder && holder.untilMs > clock.nowMs() ? holder.id : undefined
  }

  /** It has its key, unless another has. */
  function takeKey(queue: ModelQueue, id: string, unique: NewTask['unique']): void {
    if (unique && holderOf(queue, unique.key) === undefined) queue.keys.set(unique.key, { id, untilMs: clock.nowMs() + unique.forMs })
  }

  return { relations, start, wait, schedule, bury, endCancelled, end, forget, holderOf, takeKey }
}
