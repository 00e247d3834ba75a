import type { ReapReply, StoredTask } from '@/infra/queue/driver'
import type { Moment } from './moment'

/** What holds of tasks that have ended, and are kept. Each returns what is wrong. */

/** I14 */
export function theDeadStay({ call, before, after, endedMs }: Moment): string[] {
  const still = new Set(after.tasks.dead.map(({ id }) => id))
  const mayGo = call.is === 'retry' || call.is === 'remove' ? call.ids : []
  const isOver = isOverAfter(call.is === 'reap' ? call.rule.keepDeadMs : undefined, endedMs)
  return before.tasks.dead.flatMap(task => (still.has(task.id) || mayGo.includes(task.id) || isOver(task) ? [] : [task.id]))
}

export function theDoneStay({ call, before, after, endedMs }: Moment): string[] {
  const still = new Set(after.tasks.done.map(({ id, result }) => `${id} ${result}`))
  const mayGo = call.is === 'remove' ? call.ids : []
  const isOver = isOverAfter(call.is === 'reap' ? 0 : undefined, endedMs)
  return before.tasks.done.flatMap(task =>
    still.has(`${task.id} ${task.result}`) || mayGo.includes(task.id) || isOver(task) ? [] : [task.id],
  )
}

const isOverAfter =
  (keepMs: number | undefined, nowMs: number) =>
  ({ atMs = 0 }: StoredTask) =>
    keepMs !== undefined && atMs + keepMs <= nowMs

/** Nothing goes without a word. */
export function whatExpiresIsCounted({ call, reply, before, after }: Moment): string[] {
  if (call.is !== 'reap') return []
  const { done = 0, dead = 0 } = (reply as ReapReply).expired ?? {}
  const there = new Set(Object.values(after.tasks).flatMap(tasks => tasks.map(({ id }) => id)))
  const gone = (state: 'done' | 'dead') => before.tasks[state].filter(({ id }) => !there.has(id)).length
  return gone('done') === done && gone('dead') === dead ? [] : [`${done} and ${dead} were said, ${gone('done')} and ${gone('dead')} went`]
}
