import { yearMs } from '@/core/clock'
import { nearest } from '@/core/config/leaf'
import type { FieldProblem } from '@/core/error'
import { type Check, faultsAmong, faultWithin, text, whole } from '@/core/queue/checks'
import type { AnyTask } from '@/core/queue/task'
import { type ScheduleDefinition, scheduleErrors } from '@/core/schedule/admin'
import { catchUpMax, overlaps, type ScheduleRules, scheduleDefaults } from '@/core/schedule/schedule'
import { cronFaults } from '../cron'
import { payloadFaults, sizeFault } from '../queue/payload'

export interface CheckedDefinition {
  name: string
  rules: ScheduleRules
  task: AnyTask
  payload: unknown
}

export interface Known {
  /** What may be scheduled. One that is collected into groups is a group of one at each tick. */
  tasks: readonly AnyTask[]
  /** When absent, the size is first asked when a tick is fired. */
  payloadMaxBytes?: number
  /** Of a time that is said anew, which must come soon after. What was taken once stays, also in code that starts years later. */
  nowMs?: number
}

/**
 * What a definition says, with the defaults where it says nothing. The types are not trusted, since it may come from people, or was computed.
 * @throws ScheduleInvalid with all that is wrong, the pointers into the definition
 */
export function checkDefinition(said: ScheduleDefinition, known: Known): CheckedDefinition {
  const isObject = typeof said === 'object' && said !== null && !Array.isArray(said)
  if (!isObject) throw scheduleErrors.ScheduleInvalid({ problems: [{ pointer: '', detail: 'must be an object with name, cron and task' }] })
  const { name, cron, task: taskName, payload = {} } = said
  const rules: ScheduleRules = {
    cron,
    timeZone: said.timeZone === undefined ? scheduleDefaults.timeZone : said.timeZone,
    overlap: said.overlap ?? scheduleDefaults.overlap,
    catchUp: said.catchUp ?? scheduleDefaults.catchUp,
    catchUpWindowMs: said.catchUpWindowMs ?? scheduleDefaults.catchUpWindowMs,
    jitterMs: said.jitterMs ?? scheduleDefaults.jitterMs,
  }
  const task = known.tasks.find(each => each.name === taskName)
  const problems = [
    // What is needed is asked for when it is absent, too.
    ...faultsAmong({ ...said, name: name ?? null }, checks).map(({ pointer, detail }) => ({ pointer: `/${pointer}`, detail })),
    ...cronFaults(cron, rules.timeZone, known.nowMs),
    ...(task ? payloadProblems(task, payload, known) : [taskProblem(taskName, known)]),
  ]
  if (problems.length > 0 || !task) throw scheduleErrors.ScheduleInvalid({ problems })
  return { name, rules, task, payload }
}

const jitterMaxMs = 3_600_000
const namePattern = /^[a-z][a-z0-9.-]{0,63}$/
const elsewhere: Check = () => undefined

const checks: Record<keyof ScheduleDefinition, Check> = {
  name: text(value => namePattern.test(value), '1–64 small letters, digits, . and -, beginning with a letter'),
  cron: elsewhere,
  timeZone: elsewhere,
  task: elsewhere,
  payload: elsewhere,
  overlap: text(value => overlaps.some(each => each === value), `one of ${overlaps.join(', ')}`),
  catchUp: catchUpFault,
  catchUpWindowMs: whole(1, yearMs),
  jitterMs: whole(0, jitterMaxMs),
}

function catchUpFault(value: unknown): string | undefined {
  if (value === 'none' || value === 'latest') return undefined
  return faultWithin(value, { all: whole(1, catchUpMax) }, ['all']) && `must be none, latest, or { all: 1–${catchUpMax} }`
}

function taskProblem(name: unknown, { tasks }: Known): FieldProblem {
  const pointer = '/task'
  if (typeof name !== 'string') return { pointer, detail: 'must be the name of a task' }
  const names = tasks.map(task => task.name)
  const near = nearest(name, names)
  const hint = near ? `; did you mean ${near}?` : `; tasks are ${names.join(', ') || '(none)'}`
  return { pointer, detail: `${JSON.stringify(name)} is no task that a role which fires schedules declares${hint}` }
}

function payloadProblems(task: AnyTask, payload: unknown, { payloadMaxBytes }: Known): FieldProblem[] {
  const faults = payloadFaults(task, payload)
  const size = faults || payloadMaxBytes === undefined ? undefined : sizeFault(payload, payloadMaxBytes)
  return [...(faults ?? []), ...(size ? [size] : [])].map(({ pointer, detail }) => ({ pointer: `/payload${pointer}`, detail }))
}
