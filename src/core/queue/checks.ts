import { dayMs, monthMs } from '../clock'
import { nearest } from '../config/leaf'
import type { FieldProblem } from '../error'
import type { Backoff, TaskDefaults } from './task'

/**
 * What may be said of tasks, in a declaration and when one is enqueued. The types are not trusted: a number may have been computed
 * or configured, and an option may come from the command line or the administrators' API.
 */

/** What is wrong with a value, as the end of a sentence; undefined when nothing is. */
export type Check = (value: unknown) => string | undefined

const retriesMax = 1000
const priorityMax = 9
const factorMax = 10

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

/** Those that a declaration may say, too. Whether there is such a queue is asked where the roles are known. */
export const defaultChecks: Record<keyof TaskDefaults, Check> = {
  queue: text(value => value !== '', 'the name of a queue'),
  priority: whole(0, priorityMax),
  maxRetries: whole(0, retriesMax),
  backoff: backoffFault,
  timeoutMs: whole(1, dayMs),
  keepForMs: whole(0, monthMs),
}

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
