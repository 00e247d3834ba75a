import { type Clock, yearMs } from '@/core/clock'
import type { FieldProblem } from '@/core/error'
import { type Check, defaultChecks, faultsAmong, text, whole } from '@/core/queue/checks'
import { type EnqueueOptions, TaskRefused } from '@/core/queue/queue'
import type { TaskDefaults } from '@/core/queue/task'
import type { EnvelopeOptions } from './envelope'

/** What may be said when a task is enqueued, checked; and what of it goes with the task. */

const uniqueKeyMax = 1000
const headersMax = 16
const headersBytesMax = 1024

/** Braces would put a key of Redis into another slot, and spaces would end a word of a log line. */
const idPattern = /^[\x21-\x7a|~]{1,128}$/
const keyPattern = /^[\x21-\x7a|~]{1,95}$/
const headerName = /^[a-z0-9][a-z0-9_.-]{0,63}$/
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused, since a header may become a header of HTTP or a line of a log
const controls = /[\u0000-\u001f\u007f]/

const instant = text(value => instantMs(value) !== undefined, 'an RFC 3339 instant, like 2026-01-31T09:05:00Z')

const checks: Record<keyof EnqueueOptions, Check> = {
  ...defaultChecks,
  // The types of both are seen to where they are used.
  tx: () => undefined,
  queue: () => undefined,
  id: text(value => idPattern.test(value), '1–128 printable ASCII characters without spaces and braces'),
  delayMs: whole(0, yearMs),
  at: instant,
  deadline: instant,
  uniqueFor: whole(1, yearMs),
  uniqueKey: text(value => value.length >= 1 && value.length <= uniqueKeyMax, `1–${uniqueKeyMax} characters`),
  headers: headersFault,
  key: text(value => keyPattern.test(value), '1–95 printable ASCII characters without spaces and braces'),
  group: text(value => value.length >= 1 && value.length <= uniqueKeyMax, `1–${uniqueKeyMax} characters`),
}

/** Throws TaskRefused with everything that is wrong. Whether there is such a queue is asked elsewhere. @param more what is wrong besides */
export function checkOptions(options: EnqueueOptions, more: readonly FieldProblem[] = []): void {
  let problems = faultsAmong(options, checks)
  if (more.length > 0) problems = [...problems, ...more]
  const { delayMs, at, uniqueFor, uniqueKey } = options
  if (delayMs !== undefined && at !== undefined) problems = [...problems, { pointer: 'at', detail: 'and delayMs: say one' }]
  if (uniqueKey !== undefined && uniqueFor === undefined)
    problems = [...problems, { pointer: 'uniqueKey', detail: 'says what is unique; say with uniqueFor for how long' }]
  if (problems.length > 0) throw new TaskRefused('OptionInvalid', problems)
}

function headersFault(value: unknown): string | undefined {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return 'must be an object of texts'
  const headers = Object.entries(value as Record<string, unknown>)
  if (headers.length > headersMax) return `are ${headers.length}; at most ${headersMax} are handed on`
  let bytes = 0
  for (const [name, held] of headers) {
    if (!headerName.test(name)) return 'have names of 1–64 small letters, digits and _ . -, beginning with a letter or digit'
    if (typeof held !== 'string' || controls.test(held) || !held.isWellFormed())
      return `hold texts without control characters; ${name} is none`
    bytes += name.length + Buffer.byteLength(held)
  }
  return bytes > headersBytesMax ? `are ${bytes} bytes; at most ${headersBytesMax} are handed on` : undefined
}

const instantPattern = /^(\d{4}-\d\d-\d\d)T([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,9})?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$/

/** Milliseconds since 1970 of an RFC 3339 instant, or undefined when it is none: a day that there is not is none. */
export function instantMs(value: string): number | undefined {
  const day = instantPattern.exec(value)?.[1]
  if (day === undefined) return undefined
  const ms = Date.parse(value)
  const dayMs = Date.parse(day)
  return Number.isNaN(ms) || !new Date(dayMs).toISOString().startsWith(day) ? undefined : ms
}

/** How long until it may start, by the clock of this process. @throws TaskRefused when `at` is further away than a year */
export function delayOf({ delayMs, at }: EnqueueOptions, clock: Clock): number {
  if (at === undefined) return delayMs ?? 0
  const aheadMs = Math.max(0, (instantMs(at) ?? 0) - clock.nowMs())
  if (aheadMs > yearMs) throw new TaskRefused('OptionInvalid', [{ pointer: 'at', detail: 'must not be more than a year ahead' }])
  return aheadMs
}

const nothingSaid: EnvelopeOptions = Object.freeze({})

/** What of it goes with the task: only what was said, so that the defaults of a newer version hold for what waits. */
export function saidOf(options: EnqueueOptions & TaskDefaults): EnvelopeOptions {
  const { maxRetries, backoff, timeoutMs, keepForMs, deadline, delayMs = 0, at } = options
  const isRetrySaid = maxRetries !== undefined || backoff !== undefined
  const isTimeSaid = timeoutMs !== undefined || deadline !== undefined || delayMs > 0 || at !== undefined
  if (!isRetrySaid && !isTimeSaid && keepForMs === undefined) return nothingSaid
  const deadlineMs = deadline === undefined ? undefined : instantMs(deadline)
  const atMs = at === undefined ? undefined : instantMs(at)
  return {
    ...(maxRetries !== undefined && { maxRetries }),
    ...(backoff && { backoff }),
    ...(timeoutMs !== undefined && { timeoutMs }),
    ...(keepForMs !== undefined && { keepForMs }),
    ...(deadlineMs !== undefined && { deadlineMs }),
    ...(delayMs > 0 && { delayMs }),
    ...(atMs !== undefined && { atMs }),
  }
}
