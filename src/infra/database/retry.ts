/** How often, and when, what lost against others at the same time is run again. */
export const retriesDefault = 5
const pauseFirstMs = 10
const pauseMaxMs = 500

/**
 * Anything up to twice as much as before: whoever lost together should not meet again ("full jitter").
 * @param retry 0 for the first
 */
export const retryPauseMs = (retry: number): number => Math.random() * Math.min(pauseMaxMs, pauseFirstMs * 2 ** retry)
