import type { FieldProblem } from '@/core/error'
import type { EnqueueOptions } from '@/core/queue/queue'
import { type AnyTask, groupRuleOf } from '@/core/queue/task'
import { shortDigest } from '../digest'
import type { NewTask } from './driver'

/** What is said of a whole task, and so not of a member of a group; each with the end of a sentence. */
const notOfMembers: Partial<Record<keyof EnqueueOptions, string>> = {
  delayMs: 'a group starts by the rule of its task',
  at: 'a group starts by the rule of its task',
  uniqueFor: 'what is collected is not unique; an id is enqueued once only',
  deadline: 'a group has the time that its task has',
  maxRetries: 'it is of all of the group: say it where the task is declared',
  backoff: 'it is of all of the group: say it where the task is declared',
  timeoutMs: 'it is of all of the group: say it where the task is declared',
  keepForMs: 'it is of all of the group: say it where the task is declared',
}

const none: readonly FieldProblem[] = []

/** What is wrong with options of which one is `group`. */
export function groupFaults({ name, rules }: AnyTask, options: EnqueueOptions): readonly FieldProblem[] {
  if (options.group === undefined) return none
  if (!rules.group) {
    const detail = `the task ${name} has no rule for groups; declare it with one, { group: {} }, and handle it with handleGroup`
    return [{ pointer: 'group', detail }]
  }
  return Object.entries(notOfMembers)
    .filter(([option]) => options[option as keyof EnqueueOptions] !== undefined)
    .map(([pointer, why]) => ({ pointer, detail: `goes not together with group: ${why}` }))
}

/** What a driver is told. Those of another queue, priority or key are of another group. @param options in which `groupFaults` finds nothing */
export function groupOf({ name, defaults, rules }: AnyTask, options: EnqueueOptions): NewTask['group'] {
  const { group, key, queue = defaults.queue, priority = defaults.priority } = options
  if (group === undefined || !rules.group) return undefined
  return { key: shortDigest(`group ${JSON.stringify([name, queue, priority, key ?? null, group])}`), ...groupRuleOf(rules.group) }
}
