/** Waits that end when somebody does not want them any more. */

/** Waits, and no longer when `signal` is aborted. Never throws. */
export const pause = (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, signal).catch(() => {})

/**
 * Resolves at that time of the clock that is never set, and not before: timers may be early by a part of a millisecond.
 * @param atMs of `performance.now()`
 * @throws what `signal` is aborted with, at once
 */
export async function until(atMs: number, signal: AbortSignal): Promise<void> {
  for (let leftMs = atMs - performance.now(); leftMs > 0; leftMs = atMs - performance.now()) await sleep(Math.ceil(leftMs), signal)
}

/** The outcome of `work`, or what `signal` is aborted with, at once; the work itself goes on. */
export function orAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  const over = Promise.withResolvers<never>()
  const end = () => over.reject(signal.reason)
  if (signal.aborted) end()
  else signal.addEventListener('abort', end, { once: true })
  return Promise.race([over.promise, work]).finally(() => signal.removeEventListener('abort', end))
}

function sleep(ms: number, signal: AbortSignal): Promise<void> {
  const slept = Promise.withResolvers<void>()
  const timer = setTimeout(slept.resolve, ms)
  return orAborted(slept.promise, signal).finally(() => clearTimeout(timer))
}
