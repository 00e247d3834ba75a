import { AppError, exitCodes, StartError } from '@/core/error'
import { type ScheduleAdmin, type ScheduleDefinition, scheduleErrors, type ScheduleView } from '@/core/schedule/admin'
import { type Arguments, usage } from './arguments'
import { isSomebodyThere, saysYes } from './confirm'
import { answered, explained, isAnswer, type ScheduleRun } from './schedule-definition'
import { nextLines } from './schedule-output'
import { printable } from '@/core/printable'
import { isJsonOf } from './task-run'

/** What `bingo schedule` changes. */

export async function create(run: ScheduleRun): Promise<number> {
  const {
    rest: [which = ''],
    said,
    schedules,
  } = run
  const definition = newOf(which, said)
  // Before anybody is asked; who comes first meanwhile is found out when it is saved. A name may look like the id of another.
  if ((await found(which, schedules))?.name === which)
    throw new StartError(explained(which, scheduleErrors.ScheduleNameTaken({ problems: [{ pointer: '/name', detail: 'is taken' }] })))
  await confirmed(run, definition, 'Make it?')
  return told(run, 'created', await answered(which, schedules.create(definition)))
}

export async function update(run: ScheduleRun): Promise<number> {
  const {
    rest: [which = ''],
    said,
    schedules,
  } = run
  const { seen, definition } = await changed(run)
  if (!seen) throw new StartError(explained(which, scheduleErrors.ScheduleNotFound()))
  // One of the code would be refused anyhow, and nobody need be asked before.
  if (seen.origin === 'code') throw new StartError(explained(which, scheduleErrors.ScheduleInCode()))
  await confirmed(run, definition, 'Change it so?')
  return told(run, 'changed', await answered(which, schedules.update(seen.id, said, seen.version), said.name))
}

/** The schedule that is named as flags would change it, and as it was seen; when there is none, what flags say is all. */
export async function changed({
  rest: [which = ''],
  said,
  schedules,
}: ScheduleRun): Promise<{ seen?: ScheduleView; definition: ScheduleDefinition }> {
  const seen = await found(which, schedules)
  if (!seen) return { definition: newOf(which, said) }
  const { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs } = seen
  return { seen, definition: { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs, ...said } }
}

const found = (which: string, schedules: ScheduleAdmin): Promise<ScheduleView | undefined> =>
  schedules.get(which).catch(thrown => {
    if (thrown instanceof AppError && thrown.kind === 'NotFound') return undefined
    throw thrown
  })

const newOf = (name: string, said: Partial<ScheduleDefinition>): ScheduleDefinition => ({ cron: '', task: '', name, ...said })

/** Shows when it would be fired, and asks whoever is there. @throws StartError for what cannot be, or when nobody says yes */
async function confirmed(
  { args, rest: [which = ''], said, schedules }: ScheduleRun,
  definition: ScheduleDefinition,
  question: string,
): Promise<void> {
  const next = await answered(which, schedules.preview(definition), said.name)
  for (const line of nextLines(next, definition.timeZone)) console.error(line)
  if (args.flags['yes'] !== undefined || !isSomebodyThere()) return
  if (!(await saysYes(question))) throw new StartError('nothing was saved')
}

function told({ args }: ScheduleRun, what: string, schedule: ScheduleView): number {
  console.log(isJsonOf(args) ? JSON.stringify(schedule) : `${printable(schedule.name)}  ${what}`)
  return exitCodes.ok
}

/** @throws StartError with exit code 64 where nobody can be asked */
export function checkDelete({ flags }: Arguments): void {
  if (flags['yes'] === undefined && !isSomebodyThere()) throw usage('bingo schedule delete removes for good; say --yes')
}

export async function remove(run: ScheduleRun): Promise<number> {
  const { args, rest } = run
  const what = rest.length === 1 ? `the schedule ${printable(rest[0] ?? '')}` : `${rest.length} schedules`
  if (args.flags['yes'] === undefined && !(await saysYes(`Remove ${what} for good?`))) throw new StartError('nothing was removed')
  return onEach(run, async which => {
    await run.schedules.remove(which)
    return { result: 'deleted' }
  })
}

export const pause = (run: ScheduleRun): Promise<number> =>
  onEach(run, async which => {
    await run.schedules.pause(which)
    return { result: 'paused' }
  })

export const resume = (run: ScheduleRun): Promise<number> =>
  onEach(run, async which => {
    await run.schedules.resume(which)
    return { result: 'resumed' }
  })

export const run = (run: ScheduleRun): Promise<number> =>
  onEach(run, async which => ({ result: 'enqueued', ...(await run.schedules.run(which)) }))

/** One after the other; one that cannot be done does not keep the others from it. */
async function onEach({ args, rest }: ScheduleRun, work: (which: string) => Promise<{ result: string; taskId?: string }>): Promise<number> {
  let code: number = exitCodes.ok
  for (const which of rest) {
    try {
      const { result, taskId } = await work(which)
      const line = [printable(which), result, ...(taskId === undefined ? [] : [taskId])].join('  ')
      console.log(isJsonOf(args) ? JSON.stringify({ schedule: which, result, taskId }) : line)
    } catch (thrown) {
      if (!isAnswer(thrown)) throw thrown
      console.error(`bingo: ${explained(which, thrown)}`)
      code = exitCodes.failed
    }
  }
  return code
}
