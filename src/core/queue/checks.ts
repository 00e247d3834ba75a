import { dayMs, monthMs } from '../clock'
import { nearest } from '../config/leaf'
import type { FieldProblem } from '../error'
import type { Backoff, GroupRule, TaskDefaults } from './task'

/**
 * What may be said of tasks, in a declaration and when one is enqueued. The types are not trusted: a number may have been computed
 * or configured, and an option may come from the command line or the administrators' API.
 */

/** What is wrong with a value, as the end of a sentence; undefined when nothing is. */
export type Check = (value: unknown) => string | undefined

const retriesMax = 1000
const priorityMax = 9
const factorMax = 10
const groupCountMax = 1000
const groupBytesMax = 1_048_576

/** As names of tasks and limits are: letters and digits, and single `.`, `_` and `-` between them. */
export const namePattern = /^[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*$/i

const isWhole = (value: unknown, min: number, max: number): value is number =>
  typeof value === 'number' && Number.isInteger(value) && value >= min && value <= max

export const whole =
  (min: number, max: number): Check =>
  value =>
    isWhole(value, min, max) ? undefined : `must be an integer from ${min} to ${max}`

export const text =
  (fits: (value: string) => boolean, words: string): Check =>
  value =>
    typeof value === 'string' && fits(value) ? undefined : `must be ${words}`

/** Whether some module declares the permission is asked where the modules are known. */
export const byHandFault: Check = text(
  value => value === 'never' || /^[a-z][a-z-]*:[a-z-]+$/.test(value),
  "'never' or a permission such as users:export",
)

/** Those that a declaration may say, too. Whether there is such a queue is asked where the roles are known. */
export const defaultChecks: Record<keyof TaskDefaults, Check> = {
  queue: text(value => value !== '', 'the name of a queue'),
  priority: whole(0, priorityMax),
  maxRetries: whole(0, retriesMax),
  backoff: backoffFault,
  timeoutMs: whole(1, dayMs),
  keepForMs: whole(0, monthMs),
}

const groupChecks: Record<keyof GroupRule, Check> = {
  countMax: whole(1, groupCountMax),
  bytesMax: whole(1, groupBytesMax),
  delayMs: whole(1, dayMs),
  delayMaxMs: whole(1, dayMs),
}
export function groupFault(value: unknown): string | undefined {
  const fault = faultWithin(value, groupChecks)
  if (fault !== undefined) return fault
  const { delayMs, delayMaxMs } = value as GroupRule
  return delayMaxMs !== undefined && delayMaxMs < (delayMs ?? groupDefaults.delayMs)
    ? `has a delayMaxMs below its delayMs, which is ${groupDefaults.delayMs} by default`
    : undefined
}

export const groupDefaults: Required<GroupRule> = { countMax: 100, bytesMax: 262_144, delayMs: 1000, delayMaxMs: 10_000 }

/** @param said by name; what is undefined is not said. @returns each that is wrong, and each that there is no check for */
export function faultsAmong(said: object, checks: Readonly<Record<string, Check>>): FieldProblem[] {
  let faults: FieldProblem[] = none
  for (const name in said) {
    const value = said[name as keyof typeof said] as unknown
    if (value === undefined) continue
    const check = Object.hasOwn(checks, name) ? checks[name] : undefined
    const detail = check ? check(value) : `is no option${hint(name, Object.keys(checks))}`
    if (detail !== undefined) faults = [...faults, { pointer: name, detail }]
  }
  return faults
}

/** What is wrong with the fields of a value, in one sentence. */
export function faultWithin(value: unknown, checks: Readonly<Record<string, Check>>, needed: readonly string[] = []): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return `must be an object of ${Object.keys(checks).join(', ')}`
  const missing = needed.filter(name => (value as Record<string, unknown>)[name] === undefined)
  if (missing.length > 0) return `needs ${missing.join(' and ')}`
  const faults = faultsAmong(value, checks).map(({ pointer, detail }) => `${pointer} ${detail}`)
  return faults.length > 0 ? `is wrong: ${faults.join('; ')}` : undefined
}

const none: FieldProblem[] = []

function hint(name: string, names: readonly string[]): string {
  const near = nearest(name, names)
  return near ? `; did you mean ${near}?` : `; options are ${names.join(', ')}`
}

function backoffFault(value: unknown): string | undefined {
  const { minMs, maxMs, factor, ...rest } = (value ?? {}) as Partial<Backoff>
  const fits =
    isWhole(minMs, 0, dayMs) &&
    isWhole(maxMs, minMs, dayMs) &&
    typeof factor === 'number' &&
    factor >= 1 &&
    factor <= factorMax &&
    Object.keys(rest).length === 0
  return fits ? undefined : `must be { minMs: 0–${dayMs}, maxMs: minMs–${dayMs}, factor: 1–${factorMax} }`
}
