import { AppError, StartError } from '@/core/error'
import type { ScheduleAdmin, ScheduleDefinition } from '@/core/schedule/admin'
import type { CatchUp, Overlap } from '@/core/schedule/schedule'
import { type Arguments, usage } from './arguments'
import { printable } from '@/core/printable'
import { duration } from './task-run'

/** What the actions of `bingo schedule` share: a schedule as flags say it, and what is wrong with it in the words of the flags. */
export interface ScheduleRun {
  args: Arguments
  /** What stands after the action. */
  rest: readonly string[]
  /** What flags say of a schedule. */
  said: Partial<ScheduleDefinition>
  schedules: ScheduleAdmin
}

/** What can be read without knowing of tasks and times; the rest is checked where it is kept. @throws StartError with exit code 64 */
export function saidIn(args: Arguments): Partial<ScheduleDefinition> {
  const { name, cron, task, payload, overlap, 'time-zone': timeZone, 'catch-up': catchUp, 'catch-up-window': window, jitter } = args.flags
  return {
    ...(name !== undefined && { name }),
    ...(cron !== undefined && { cron }),
    ...(timeZone !== undefined && { timeZone }),
    ...(task !== undefined && { task }),
    ...(payload !== undefined && { payload: jsonIn(payload) }),
    // Which there are is checked where schedules are kept, with all else.
    ...(overlap !== undefined && { overlap: overlap as Overlap }),
    ...(catchUp !== undefined && { catchUp: catchUpIn(catchUp) }),
    ...(window !== undefined && { catchUpWindowMs: duration(args, 'catch-up-window') }),
    ...(jitter !== undefined && { jitterMs: duration(args, 'jitter') }),
  }
}

function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text)
  } catch {
    throw usage(`--payload is JSON, such as '{"format":"csv"}'; quote it, so that the shell leaves it as it is`)
  }
}

function catchUpIn(text: string): CatchUp {
  if (text === 'none' || text === 'latest') return text
  const all = /^all:(\d{1,9})$/.exec(text)?.[1]
  if (all === undefined) throw usage(`--catch-up is none, latest or all:COUNT, such as all:10, not ${JSON.stringify(text)}`)
  return { all: Number(all) }
}

const flagOf: Readonly<Record<string, string>> = {
  ...{ name: 'NAME', cron: '--cron', timeZone: '--time-zone', task: '--task', payload: '--payload', overlap: '--overlap' },
  ...{ catchUp: '--catch-up', catchUpWindowMs: '--catch-up-window', jitterMs: '--jitter' },
}

const remedies: Readonly<Record<string, string>> = {
  'NotFound.ScheduleNotFound': "'bingo schedule list' shows which there are.",
  'Conflict.ScheduleNameTaken': "'bingo schedule update' changes it.",
  'Aborted.ScheduleChanged': "'bingo schedule show' says how it is now.",
}

/** What the schedules themselves said, rather than that they are away. */
export const isAnswer = (thrown: unknown): thrown is AppError => thrown instanceof AppError && thrown.kind !== 'Unavailable'

/** A line for each thing that is wrong, the first with the name. @param newName that flags say */
export function explained(which: string, { code, message, problems }: AppError, newName?: string): string {
  const isNewNameTaken = newName !== undefined && code === 'Conflict.ScheduleNameTaken'
  const remedy = isNewNameTaken ? 'Say another.' : remedies[code]
  const said = `${printable(isNewNameTaken ? newName : which)}: ${message} ${remedy ?? ''}`.trimEnd()
  const flags = newName === undefined ? flagOf : { ...flagOf, name: '--name' }
  return [said, ...problems.map(({ pointer, detail }) => `  ${printable(placeOf(pointer, flags))}: ${printable(detail)}`)].join('\n')
}

/** `/payload/format` → `--payload /format`. */
function placeOf(pointer: string, flags: typeof flagOf): string {
  const [, field = '', ...rest] = pointer.split('/')
  const flag = Object.hasOwn(flags, field) ? (flags[field] ?? field) : field
  return rest.length > 0 ? `${flag} /${rest.join('/')}` : flag
}

/** Of the one that an action is about. @param newName that flags say. @throws StartError that says what is wrong */
export async function answered<T>(which: string, asked: Promise<T>, newName?: string): Promise<T> {
  return asked.catch(thrown => {
    throw isAnswer(thrown) ? new StartError(explained(which, thrown, newName)) : thrown
  })
}
