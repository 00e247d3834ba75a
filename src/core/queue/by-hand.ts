import { defineErrors } from '../error'
import type { Identity } from '../identity'
import { everything } from '../permission'
import type { DeclaredTask } from './admin'

/**
 * Which tasks administrators may enqueue over HTTP, themselves or by a schedule: a task does what some permission guards, and whoever may
 * enqueue could do it without that. The command line may do all.
 */

export const byHandErrors = defineErrors({
  TaskOfSystem: ['PermissionDenied', 'Tasks of this kind are enqueued by the system alone; whoever sits at the shell may with bingo task.'],
  TaskPermission: ['PermissionDenied', 'Tasks of this kind do what another permission is for, which you do not have.'],
})

/**
 * What is in no list is left to whoever looks for the task.
 * @throws TaskOfSystem, or TaskPermission with the permission that is lacking
 */
export function refuseByHand(identity: Identity, name: string, tasks: readonly DeclaredTask[]): void {
  const byHand = tasks.find(task => task.name === name)?.byHand
  if (byHand === undefined) return
  if (byHand === 'never') throw byHandErrors.TaskOfSystem()
  const held = identity.kind === 'admin' ? identity.permissions : new Set<string>()
  if (held.has(byHand) || held.has(everything)) return
  throw byHandErrors.TaskPermission({ problems: [{ pointer: '/task', detail: `needs the permission ${byHand}` }] })
}
