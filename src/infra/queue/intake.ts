import { nearest } from '@/core/config/leaf'
import type { AppError, FieldProblem } from '@/core/error'
import type { TaskIntake } from '@/core/queue/admin'
import { type Queue, queueErrors, refusals, TaskRefused } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'

/** Tasks that people name. What code is refused as its own fault, they are told with what they can mend. */
export function createIntake(queue: Pick<Queue, 'enqueue'>, tasks: readonly AnyTask[]): TaskIntake {
  const byName = new Map(tasks.map(task => [task.name, task]))
  const names = [...byName.keys()].toSorted()
  return {
    tasks: names.map(name => {
      const { defaults, rules } = byName.get(name) ?? {}
      return { name, queue: defaults?.queue ?? '', ...(rules?.byHand && { byHand: rules.byHand }) }
    }),

    async enqueue(name, payload, options = {}) {
      const task = byName.get(name)
      if (!task) throw queueErrors.TaskInvalid({ problems: [unknown(name, names)] })
      return queue.enqueue(task, payload, options).catch(thrown => {
        throw thrown instanceof TaskRefused ? refused(thrown) : thrown
      })
    },
  }
}

function unknown(name: string, names: readonly string[]): FieldProblem {
  const near = nearest(name, names)
  return {
    pointer: '/task',
    detail: `is no task that a module declares${near ? `; did you mean ${near}?` : `; tasks are ${names.join(', ')}`}`,
  }
}

/** Options are said by their names, payloads by pointers into them. */
function refused(thrown: TaskRefused): AppError {
  const isPayload = thrown.code === 'PayloadInvalid' || thrown.code === 'PayloadTooLarge'
  const problems = thrown.problems.map(({ pointer, detail }) => ({ pointer: isPayload ? `/payload${pointer}` : `/${pointer}`, detail }))
  return queueErrors.TaskInvalid({
    cause: thrown,
    problems: problems.length > 0 ? problems : [{ pointer: '', detail: refusals[thrown.code] }],
  })
}
