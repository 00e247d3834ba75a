import { AppError, StartError } from '@/core/error'
import type { AnyModule, Faces } from '@/core/module'
import type { AnyTask } from '@/core/queue/task'
import { fileOf, type Role } from '@/core/role'
import type { AnySchedule } from '@/core/schedule/schedule'
import { checkDefinition, type Known } from './definition'

/** What a process declares, and which roles it runs of those that there are. */
export interface Declaring {
  faces: ReadonlyMap<AnyModule, Faces>
  /** What may be enqueued in this process. */
  tasks: readonly AnyTask[]
  roles: readonly Role[]
  allRoles: readonly Role[]
  /** Of JSON. A larger one would be refused at each tick. */
  payloadMaxBytes: number
}

/**
 * The schedules of the code that this process fires.
 * @throws StartError with the module, the schedule and the remedy, for one that nobody would fire, that cannot be as it is said, or whose name
 * another has
 */
export function declaredSchedules({ faces, tasks, roles, allRoles, payloadMaxBytes }: Declaring): AnySchedule[] {
  const owners = new Map<string, string>()
  const fired: AnySchedule[] = []
  for (const [module, { schedules = [] }] of faces) {
    for (const schedule of schedules) {
      const which = `the schedule ${schedule.name} of the module ${module.name}`
      refuseUnfired(which, module, allRoles)
      const other = owners.get(schedule.name)
      if (other !== undefined)
        throw new StartError(
          other === module.name
            ? `the module ${module.name} declares two schedules ${schedule.name}; give one of them another name`
            : `the modules ${other} and ${module.name} both declare a schedule ${schedule.name}; give one of them another name`,
        )
      owners.set(schedule.name, module.name)
      // Who only serves the module need not know the task.
      if (!roles.some(role => fires(role, module))) continue
      check(which, schedule, { tasks, payloadMaxBytes })
      fired.push(schedule)
    }
  }
  return fired
}

const fires = ({ firesSchedules, modules }: Role, module: AnyModule) => firesSchedules === true && modules.includes(module)

/** It would never come, and nobody would know. */
function refuseUnfired(which: string, module: AnyModule, allRoles: readonly Role[]): void {
  if (allRoles.some(role => fires(role, module))) return
  const firing = allRoles.filter(({ firesSchedules }) => firesSchedules)
  const remedy =
    firing.length > 0
      ? `add ${module.name} to the modules of ${firing.map(fileOf).join(' or ')}`
      : `no role fires schedules; say firesSchedules: true in one that has the module ${module.name}`
  throw new StartError(`nobody would fire ${which}: ${remedy}`)
}

function check(which: string, { task, ...said }: AnySchedule, known: Known): void {
  if (!known.tasks.includes(task))
    throw new StartError(
      `${which} is of the task ${task.name}, which no module of this process declares: list it in \`tasks\` of its module, and the module in a role that fires the schedule`,
    )
  try {
    checkDefinition({ ...said, task: task.name }, known)
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    const why = thrown.problems.map(({ pointer, detail }) => `${pointer.slice(1)} ${detail}`).join('; ')
    throw new StartError(`${which} cannot be so: ${why}; mend it where it is declared`, undefined, { cause: thrown })
  }
}
