import type { Log } from '@/core/log'
import { withoutLiterals } from './errors'
import type { Meters } from './meters'

/** What is said of statements and transactions that take long. */
const sqlShownMax = 2000
const framesShownMax = 5

/** @returns what says that a statement was slow */
export const slowQueryWarning =
  (dialect: 'sqlite' | 'server', log: Log, meters: Meters) =>
  (sql: string, durationMs: number): void => {
    meters.slowQueries.add()
    log.warn('slow query', { sql: shapeOf(withoutLiterals(sql, dialect)).slice(0, sqlShownMax), durationMs: Math.round(durationMs) })
  }

/** The same for lists of any length: `in (?, …)`, `values (?, …), …`. */
const shapeOf = (sql: string) => sql.replace(/\?(?:, \?)+/g, '?, …').replace(/(\([^()]*\))(?:, \1)+/g, '$1, …')

interface HoldLimits {
  leakWarnMs: number
  traceCallers: boolean
}

/**
 * Warns once when a connection is held for too long.
 * @param caller what `callerOf` gave when the transaction was asked for
 * @returns what ends the watch
 */
export function watchHold({ leakWarnMs }: HoldLimits, caller: string[] | undefined, log: Log, meters: Meters): () => void {
  if (leakWarnMs === 0) return () => {}
  const startedMs = performance.now()
  const timer = setTimeout(() => {
    meters.txHeldLong.add()
    const heldMs = Math.round(performance.now() - startedMs)
    log.warn('a transaction holds its connection', { heldMs, ...(caller && { caller }) })
  }, leakWarnMs)
  return () => clearTimeout(timer)
}

/** Who called the database, nearest first. To be asked before the first `await`, which would hide it. */
export function callerOf({ leakWarnMs, traceCallers }: HoldLimits): string[] | undefined {
  if (!traceCallers || leakWarnMs === 0) return undefined
  const frames = (new Error().stack ?? '').split('\n').slice(1)
  return frames
    .map(frame => frame.trim())
    .filter(frame => !/[\\/]infra[\\/]database[\\/]/.test(frame))
    .slice(0, framesShownMax)
}
