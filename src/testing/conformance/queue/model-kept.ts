import { type EndListener, type Finish, type Held, type PeekedTask, reapMax } from '@/infra/queue/driver'
import { inOrder, isHolder, type ModelQueue, type ModelTask } from './model-state'

/** What the model keeps of tasks for a time. */

/** It stays for so long. @returns whether it does; else nothing is to be left of it */
export function keep(queue: ModelQueue, task: ModelTask, said: Extract<Finish, { outcome: 'done' }>, nowMs: number): boolean {
  if (!said.keepForMs) return false
  Object.assign(task, { state: 'done', atMs: nowMs + said.keepForMs, isCancelled: false, worker: '', nonce: '' })
  if (said.result !== undefined) task.result = said.result
  tellEnd(queue, task)
  return true
}

export function tellEnd({ endListeners }: ModelQueue, { id }: ModelTask): void {
  for (const listener of endListeners) listener.ended(id)
}

/** It listens at once, and says so as drivers do that need a moment. */
export function watchEnds({ endListeners }: ModelQueue, listener: EndListener): () => void {
  const own = { ...listener }
  endListeners.add(own)
  setImmediate(own.missed)
  return () => void endListeners.delete(own)
}

export function report({ tasks }: ModelQueue, reports: readonly (Held & { progress: string })[]): boolean[] {
  return reports.map(said => {
    const task = tasks.get(said.id)
    if (!task || !isHolder(task, said)) return false
    task.progress = said.progress
    return true
  })
}

export function peek({ tasks }: ModelQueue, ids: readonly string[]): (PeekedTask | undefined)[] {
  return ids.map(id => {
    const task = tasks.get(id)
    if (!task) return undefined
    const { state, result, progress, errors } = task
    const error = state === 'dead' ? errors.at(-1)?.message : undefined
    return {
      ...((state === 'done' || state === 'dead') && { outcome: state }),
      ...(result !== undefined && { result }),
      ...(error !== undefined && { error }),
      ...(progress !== undefined && { progress }),
    }
  })
}

/** Those whose time is over, at most so many as a reaper takes of each. */
export function over(queue: ModelQueue, keepDeadMs: number | undefined, nowMs: number) {
  const done = inOrder(queue, 'done').filter(({ atMs }) => atMs <= nowMs)
  const dead = keepDeadMs === undefined ? [] : inOrder(queue, 'dead').filter(({ atMs }) => atMs <= nowMs - keepDeadMs)
  return { done: done.slice(0, reapMax), dead: dead.toReversed().slice(0, reapMax) }
}
