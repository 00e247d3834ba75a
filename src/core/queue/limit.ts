import { dayMs } from '../clock'
import { StartError } from '../error'
import { type Check, faultWithin, namePattern, text, whole } from './checks'
import type { AnyTask } from './task'

/**
 * How much of something is done at a time, and how fast, over all processes. Each `key` that tasks are enqueued with is limited by itself,
 * and keys take turns, so that the backlog of one does not make the others wait; without a key it is one limit for all of its tasks.
 * With neither number it is fair, and no more. It holds within a queue.
 */
export interface Limit {
  /** 1–32 characters, as in the name of a task. Limits of one name are the same limit. */
  readonly name: string
  /** How many run at a time, 1–1,000,000. */
  readonly concurrency?: number
  readonly rate?: Rate
}

/** So many starts of attempts in so many milliseconds, evenly spread, with retries. */
export interface Rate {
  /** 1–1,000,000. */
  readonly count: number
  /** 1–86,400,000. */
  readonly perMs: number
  /** How many may start at once after a silence, 1–1,000,000; a tenth of a second's worth by default, and one at least. */
  readonly burst?: number
}

const nameMax = 32
const countMax = 1_000_000

/**
 * A limit that tasks are declared with: `defineTask(name, schema, { limit })`.
 * @throws Error when the name cannot be one, or a number is out of range
 */
export function defineLimit(name: string, rule: Omit<Limit, 'name'> = {}): Limit {
  const said = Object.fromEntries(Object.entries(rule).filter(([, value]) => value !== undefined))
  const fault = limitFault({ ...said, name })
  if (fault !== undefined) throw new Error(`the limit ${JSON.stringify(name)} ${fault}`)
  return { ...said, name }
}

/** Numbers of so many things at a time, of a limit or a queue. */
export const concurrencyCheck = whole(1, countMax)

const rateChecks: Record<keyof Rate, Check> = { count: whole(1, countMax), perMs: whole(1, dayMs), burst: whole(1, countMax) }

export const rateFault: Check = value => faultWithin(value, rateChecks, ['count', 'perMs'])

const limitChecks: Record<keyof Limit, Check> = {
  name: text(
    value => value.length <= nameMax && namePattern.test(value),
    `like 'mail.provider': letters, digits and . _ -, at most ${nameMax}`,
  ),
  concurrency: concurrencyCheck,
  rate: rateFault,
}

/** What is wrong with a limit, whoever made it; undefined when nothing is. */
export const limitFault: Check = value => faultWithin(value, limitChecks, ['name'])

/**
 * The limits of tasks, by their names.
 * @throws StartError when two of one name are not the same: each process would hold what it enforces to be the limit
 */
export function limitsOf(tasks: readonly AnyTask[]): Limit[] {
  const found = new Map<string, { limit: Limit; task: string }>()
  for (const { name, rules } of tasks) {
    const { limit } = rules
    if (!limit) continue
    const other = found.get(limit.name)
    if (other && !Bun.deepEquals(other.limit, limit))
      throw new StartError(
        `the tasks ${other.task} and ${name} are declared with limits of one name, ${limit.name}, and different numbers; share one defineLimit, or give one another name`,
      )
    if (!other) found.set(limit.name, { limit, task: name })
  }
  return [...found.values()].map(({ limit }) => limit)
}
