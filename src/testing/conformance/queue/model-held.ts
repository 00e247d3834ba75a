import type { Clock } from '@/core/clock'
import { beforeMax, type Ended, keptIdMs, type NewTask } from '@/infra/queue/driver'
import type { ModelQueue, ModelTask } from './model-state'

/** Tasks that wait until others have ended, as the model has them. */
export interface Mark {
  outcome: Ended['outcome']
  result?: string
}
/** How members have ended, by their ids; of a task that is not there only for a time. */
export type Marks = Map<string, Mark & { untilMs: number }>

/** What is later here is known for sure: a dead letter may still be removed, and a task that was retried may be done. */
const certainty = ['dead', 'cancelled', 'done'] as const

interface Moves {
  /** It waits, or is scheduled, from now. */
  release(queue: ModelQueue, task: ModelTask): void
  endCancelled(queue: ModelQueue, task: ModelTask): void
}

export function modelRelations(clock: Clock, { release, endCancelled }: Moves) {
  function marksOf(queue: ModelQueue, id: string): Marks {
    const valid = [...(queue.marks.get(id) ?? [])].filter(([, { untilMs }]) => untilMs > clock.nowMs())
    const marks: Marks = new Map(valid)
    queue.marks.set(id, marks)
    return marks
  }

  function look(queue: ModelQueue, task: ModelTask) {
    if (task.state === 'held' && heldForOf(queue, task) <= 0) release(queue, task)
  }

  return {
    /** A task with `after` has come, and is in its queue. */
    arrived(queue: ModelQueue, task: ModelTask, after: NonNullable<NewTask['after']>) {
      const marks = marksOf(queue, task.id)
      if (after.isDoneNeeded && [...marks.values()].some(({ outcome }) => outcome === 'cancelled')) {
        // As if it had never been there: what it was told stays for its time.
        delete task.after
        return endCancelled(queue, task)
      }
      for (const mark of marks.values()) mark.untilMs = Number.POSITIVE_INFINITY
      if (after.isDoneNeeded) for (const [id, { outcome }] of marks) if (outcome === 'dead') marks.delete(id)
      Object.assign(task, { state: 'held', atMs: clock.nowMs() })
      look(queue, task)
    },

    /** A task has ended, for now at least. */
    tell(queue: ModelQueue, { id, follower }: ModelTask, mark: Mark) {
      if (!follower) return
      const next = queue.tasks.get(follower.id)
      const isFollowing = next?.after !== undefined
      if (isFollowing && next.after?.isDoneNeeded && mark.outcome !== 'done') {
        if (mark.outcome === 'cancelled' && next.state === 'held') endCancelled(queue, next)
        return
      }
      const marks = marksOf(queue, follower.id)
      const before = marks.get(id)
      if (!before || certainty.indexOf(before.outcome) < certainty.indexOf(mark.outcome)) {
        const { result, ...plain } = { ...mark, untilMs: isFollowing ? Number.POSITIVE_INFINITY : clock.nowMs() + keptIdMs }
        marks.set(id, follower.wantsResult && result !== undefined ? { ...plain, result } : plain)
      }
      if (next) look(queue, next)
    },

    before: (queue: ModelQueue, id: string): Ended[] =>
      [...marksOf(queue, id)]
        .map(([id, { untilMs: _, ...mark }]) => ({ id, ...mark }))
        .toSorted((a, b) => (a.id < b.id ? -1 : 1))
        .slice(0, beforeMax),
  }
}

/** For how many others it is held still. */
export const heldForOf = ({ marks }: ModelQueue, { id, after }: ModelTask): number => (after?.count ?? 0) - (marks.get(id)?.size ?? 0)

/** Nothing is left of it. */
export function drop(queue: ModelQueue, { id, after }: ModelTask): void {
  queue.tasks.delete(id)
  if (after) queue.marks.delete(id)
}
