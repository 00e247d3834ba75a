export interface BackoffRange {
  min: number
  max: number
}

/**
 * The wait before something that failed is tried again: `min` after the first failure, doubled with each up to `max`, and up to a
 * half less, so that those that failed together do not come back together.
 * @param failures 0 for `min` itself
 */
export const backoffMs = ({ min, max }: BackoffRange, failures: number, random: () => number = Math.random): number =>
  Math.min(min * 2 ** failures, max) * (1 - random() / 2)
