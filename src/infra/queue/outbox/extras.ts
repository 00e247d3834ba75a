import type { SqlValue } from '@/core/database'
import type { NewTask } from '../driver'

/** What is said of few tasks, in one column of the outbox: JSON, null when there is nothing. */
type Extras = Pick<NewTask, (typeof names)[number]>
const names = ['lane', 'group', 'after', 'follower'] as const

export function extrasText(task: Extras): SqlValue {
  const said = names.flatMap(name => (task[name] === undefined ? [] : [[name, task[name]]]))
  return said.length === 0 ? null : JSON.stringify(Object.fromEntries(said))
}

export const readExtras = (column: unknown): Extras => (typeof column === 'string' ? (JSON.parse(column) as Extras) : {})
