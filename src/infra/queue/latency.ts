import type { Percentiles } from '@/core/queue/admin'

/**
 * How long things took, counted in buckets that grow by a quarter of an octave: bucket 0 is less than a millisecond, bucket n from
 * `2^((n−1)/4)` to `2^(n/4)` ms. So counts of many processes and times can be added, and what is read from them is off by a tenth at most.
 */
export type Counts = Readonly<Record<number, number>>

/** What one process has seen: how long tasks waited for their first start, and how long attempts ran. */
export interface Seen {
  waits: Counts
  runs: Counts
}

/** Of 64 days and more. */
const bucketMax = 4 * 32 + 1

const bucketOf = (ms: number): number => (ms < 1 ? 0 : Math.min(bucketMax, 1 + Math.floor(4 * Math.log2(ms))))
/** The middle, as ratios go. */
const msOf = (bucket: number): number => (bucket === 0 ? 0.5 : 2 ** ((bucket - 0.5) / 4))

export interface Samples {
  waited(ms: number): void
  ran(ms: number): void
  /** What was seen since it was last taken; undefined when nothing was. */
  take(): Seen | undefined
  /** It could not be handed in. */
  giveBack(seen: Seen): void
}

/** Counting costs a logarithm and an addition. */
export function createSamples(): Samples {
  let waits = new Uint32Array(bucketMax + 1)
  let runs = new Uint32Array(bucketMax + 1)
  let isEmpty = true
  function count(counts: Uint32Array, bucket: number, by = 1): void {
    counts[bucket] = (counts[bucket] ?? 0) + by
    isEmpty = false
  }
  return {
    waited: ms => count(waits, bucketOf(ms)),
    ran: ms => count(runs, bucketOf(ms)),
    take() {
      if (isEmpty) return undefined
      const seen = { waits: sparse(waits), runs: sparse(runs) }
      waits = new Uint32Array(bucketMax + 1)
      runs = new Uint32Array(bucketMax + 1)
      isEmpty = true
      return seen
    },
    giveBack(seen) {
      for (const [bucket, by] of Object.entries(seen.waits)) count(waits, Number(bucket), by)
      for (const [bucket, by] of Object.entries(seen.runs)) count(runs, Number(bucket), by)
    },
  }
}

function sparse(counts: Uint32Array): Counts {
  const found: Record<number, number> = {}
  for (const [bucket, many] of counts.entries()) if (many > 0) found[bucket] = many
  return found
}

/** @returns undefined of none */
export function percentilesOf(all: readonly Counts[]): Percentiles | undefined {
  const sums = new Array<number>(bucketMax + 1).fill(0)
  for (const counts of all) {
    for (const [bucket, by] of Object.entries(counts)) {
      const place = Math.min(bucketMax, Number(bucket))
      sums[place] = (sums[place] ?? 0) + by
    }
  }
  const count = sums.reduce((sum, by) => sum + by, 0)
  if (count === 0) return undefined
  const at = (share: number): number => {
    let left = Math.ceil(share * count)
    let bucket = -1
    while (left > 0) left -= sums[++bucket] ?? left
    return Number(msOf(bucket).toPrecision(3))
  }
  return { count, p50Ms: at(0.5), p95Ms: at(0.95), p99Ms: at(0.99) }
}
