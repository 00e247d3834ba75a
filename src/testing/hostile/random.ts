/** Choices that a seed decides, so that what was found can be found again. */
export interface Random {
  /** 0 ≤ n < 1 */
  next(): number
  /** 0 ≤ n < below */
  below(below: number): number
  of<T>(items: readonly T[]): T
  /** True so often. */
  chance(share: number): boolean
}

/** Mulberry32. */
export function randomOf(seed: number): Random {
  let state = seed >>> 0
  const next = () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = state
    mixed = Math.imul(mixed ^ (mixed >>> 15), mixed | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
  const below = (limit: number) => Math.floor(next() * limit)
  return {
    next,
    below,
    of<T>(items: readonly T[]): T {
      if (items.length === 0) throw new Error('there is nothing to choose from')
      return items[below(items.length)] as T
    },
    chance: share => next() < share,
  }
}
