import { yearMs } from '@/core/clock'
import { AppError } from '@/core/error'
import { type Backoff, TaskAborted, type TaskResult } from '@/core/queue/task'
import { type Finish, keptError, resultMaxBytes } from '../driver'
import { faultOfJson } from '../json'
import type { Run } from './run'

/** What the queue is told of an attempt, and what the log is told besides. */
export interface Ended {
  finish: Finish
  /** What was thrown, for its stack. */
  err?: unknown
}

/**
 * What a handler that returned means. Success is done whatever was asked of it meanwhile: its effects are there, and a second
 * attempt would have them again.
 */
export function returned(run: Run, result: TaskResult | undefined, random: () => number): Ended {
  // Anything but the results that there are is nothing, which is success.
  if (result?.is === 'giveUp') return { finish: dead(run, `gave up: ${result.reason}`) }
  if (result?.is === 'result' && result.value !== undefined) return withResult(run, result.value, random)
  if (result?.is !== 'snooze') return { finish: done(run) }
  const { delayMs } = result
  if (!Number.isInteger(delayMs) || delayMs < 0 || delayMs > yearMs)
    return failed(run, new RangeError(`snooze takes 0–${yearMs} whole milliseconds`), random)
  // One that could snooze when its time is over would never be over.
  if (run.abortedFor && run.abortedFor !== 'shutdown') return failed(run, new TaskAborted(run.abortedFor), random)
  return { finish: { ...held(run), outcome: 'snooze', delayMs } }
}

function done(run: Run): Extract<Finish, { outcome: 'done' }> {
  const { keepForMs } = run
  return keepForMs > 0 ? { ...held(run), outcome: 'done', keepForMs } : { ...held(run), outcome: 'done' }
}

/** One that cannot be kept is a failure, since whoever waits for it would never have it. */
function withResult(run: Run, value: unknown, random: () => number): Ended {
  const fault = faultOfJson(value)
  if (fault) return failed(run, new RangeError(`the result cannot be kept: ${fault.pointer} ${fault.detail}`), random)
  const result = JSON.stringify(value)
  const bytes = Buffer.byteLength(result)
  if (bytes <= resultMaxBytes) return { finish: { ...done(run), result } }
  const detail = `the result is ${bytes} bytes of JSON, and may be ${resultMaxBytes}: keep what is large elsewhere and name it`
  return failed(run, new RangeError(detail), random)
}

/** What a handler that threw means: a failure, unless it was told to end for a reason that is not its own. */
export function failed(run: Run, thrown: unknown, random: () => number): Ended {
  if (run.abortedFor === 'cancelled') return { finish: { ...held(run), outcome: 'cancelled' } }
  // Nothing is counted. After a lease that seemed lost and was not, the task waits again at once; else nobody hears of it.
  if (run.abortedFor === 'shutdown' || run.abortedFor === 'leaseLost') return { finish: { ...held(run), outcome: 'release' } }
  const isOurs = run.abortedFor !== undefined && thrown instanceof TaskAborted
  const err = isOurs ? undefined : thrown
  const error = [run.abortedFor && timeoutText(run), isOurs ? undefined : errorText(thrown)].filter(Boolean).join('; ')
  if (run.isAtDeadline && run.abortedFor) return { finish: dead(run, error), err }
  const failures = run.failures + 1
  if (failures > run.maxRetries) return { finish: dead(run, error), err }
  return { finish: { ...held(run), outcome: 'retry', delayMs: retryDelayMs(run.backoff, failures, random), error: keptError(error) }, err }
}

export const dead = (run: Pick<Run, 'id' | 'attempt' | 'nonce'>, error: string, isFailure = true): Finish => ({
  ...held(run),
  outcome: 'dead',
  error: keptError(error),
  isFailure,
})

const held = ({ id, attempt, nonce }: Pick<Run, 'id' | 'attempt' | 'nonce'>) => ({ id, attempt, nonce })

const timeoutText = ({ isAtDeadline, timeoutMs }: Run) =>
  isAtDeadline ? 'deadline: it has passed while the task ran' : `timeout: not done within ${timeoutMs} ms`

/** The wait before retry n, and up to a fifth more or less. */
export const retryDelayMs = ({ minMs, maxMs, factor }: Backoff, n: number, random: () => number): number =>
  // Where the power is too large for a number, nothing times it is no number.
  Math.round(Math.min(minMs * factor ** (n - 1) || 0, maxMs) * (0.8 + 0.4 * random()))

/** Anything can be thrown, also what cannot be made a text of. */
function errorText(thrown: unknown): string {
  try {
    if (thrown instanceof AppError) return `${thrown.code}: ${thrown.message}`
    return thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : `thrown: ${String(thrown)}`
  } catch {
    return 'thrown: something without a text'
  }
}
