import type { Ledger, Span } from './ledger'
import { createRecent } from './recent'

/** The ledger of one process alone. @param keysMax keys that are remembered; those not used for longest make room */
export function memoryLedger({ windowMs, bucketMs, leaseMs }: Span, nowMs: () => number, keysMax: number): Ledger {
  const used = createRecent<Map<number, number>>(keysMax)
  const keptMs = windowMs + leaseMs
  return {
    lease(key, limit, want, back) {
      const now = nowMs()
      const buckets = used.get(key) ?? new Map<number, number>()
      used.set(key, buckets)
      const bucket = Math.floor(now / bucketMs)
      const first = Math.floor((now - keptMs) / bucketMs)
      let sum = 0
      let oldest = bucket
      for (const [at, noted] of buckets) {
        if (at < first) {
          buckets.delete(at)
          continue
        }
        const count = back?.bucket === at ? Math.max(0, noted - back.count) : noted
        buckets.set(at, count)
        sum += count
        if (count > 0 && at < oldest) oldest = at
      }
      const granted = Math.max(0, Math.min(want, limit - sum))
      if (granted > 0) buckets.set(bucket, (buckets.get(bucket) ?? 0) + granted)
      return { granted, bucket, remaining: Math.max(0, limit - sum - granted), freedInMs: (oldest + 1) * bucketMs + keptMs - now }
    },
  }
}
