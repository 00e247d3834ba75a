import type { Grant, Ledger, Span } from './ledger'
import { createRecent } from './recent'

/** What a caller may still do, as this process knows it. */
export interface Standing {
  /** Requests left of the limit for whoever asks next. */
  remaining: number
  /** Those that this process has in hand, besides. */
  left: number
  /** When something that was used will be forgotten: ms of the clock that `nowMs` reads. */
  freedAtMs: number
}

/**
 * Takes requests of limits one by one, and asks the ledger for many at a time. A lease grows while it is used up before it is over, to
 * a twentieth of the limit; what is not used goes back with the next, so little is in the hands of processes that do not use it.
 */
export interface Leases {
  /** @returns whether there was one; a promise where the ledger is in Redis and must be asked */
  take(key: string, limit: number): boolean | Promise<boolean>
  /** Whether there is none, as far as this process knows; nothing is taken, and nobody is asked. */
  isSpent(key: string): boolean
  /** Of a key just taken of. */
  standing(key: string): Standing | undefined
}

export interface LeaseOptions {
  span: Span
  nowMs: () => number
  /** Of all processes. @returns undefined while it is not to be asked */
  shared(): Ledger | undefined
  /** Says how it went with the shared one. */
  asked(wentWell: boolean): void
  /** Of this process, while the other is away. */
  own: Ledger
  keysMax: number
}

interface Lease extends Standing {
  endsAtMs: number
  /** Whether it is to be asked for more, after it had none. */
  refusedUntilMs: number
  size: number
  bucket: number
  isShared: boolean
  /** Those who wait for an answer of the ledger. */
  waiting: number
  asking: Promise<void> | undefined
}

const shareMax = 1 / 20
/** Who has reached a limit asks anew so often: another process may have given something back. */
const refusalMs = 500

export function createLeases({ span, nowMs, shared, asked, own, keysMax }: LeaseOptions): Leases {
  const leases = createRecent<Lease>(keysMax)

  function started(key: string, now: number): Lease {
    const lease = newLease(now)
    leases.set(key, lease)
    return lease
  }

  /** @returns undefined when the ledger must be asked */
  function fromLease(lease: Lease, now: number): boolean | undefined {
    if (lease.left > 0 && now < lease.endsAtMs) {
      lease.left--
      return true
    }
    return now < lease.refusedUntilMs ? false : undefined
  }

  function take(key: string, limit: number): boolean | Promise<boolean> {
    const now = nowMs()
    const lease = leases.get(key) ?? started(key, now)
    const outcome = fromLease(lease, now)
    if (outcome !== undefined) return outcome
    if (lease.asking !== undefined) return wait(lease, key, limit)
    const ledger = shared()
    if (ledger !== undefined) return wait(lease, key, limit, ledger)
    renew(lease, own.lease(key, limit, nextSize(lease, limit), unusedOf(lease, false)) as Grant, now, false)
    return fromLease(lease, now) ?? false
  }

  /** @param ledger to be asked at once. Who was given it says how it went, so it is not got where it is not asked */
  async function wait(lease: Lease, key: string, limit: number, ledger?: Ledger): Promise<boolean> {
    lease.waiting++
    try {
      for (let first = ledger; ; first = undefined) {
        lease.asking ??= ask(lease, key, limit, first ?? shared()).finally(() => {
          lease.asking = undefined
        })
        await lease.asking
        const outcome = fromLease(lease, nowMs())
        if (outcome !== undefined) return outcome
      }
    } finally {
      lease.waiting--
    }
  }

  async function ask(lease: Lease, key: string, limit: number, ledger: Ledger | undefined): Promise<void> {
    // Before it is asked: by the clock of the ledger the lease begins later, so it ends here before it does there.
    const now = nowMs()
    const want = Math.max(nextSize(lease, limit), lease.waiting)
    if (ledger) {
      try {
        const grant = await ledger.lease(key, limit, want, unusedOf(lease, true))
        asked(true)
        return renew(lease, grant, now, true)
      } catch {
        asked(false)
      }
    }
    renew(lease, await own.lease(key, limit, want, unusedOf(lease, false)), nowMs(), false)
  }

  function renew(lease: Lease, grant: Grant, now: number, isShared: boolean) {
    lease.left = grant.granted
    lease.size = grant.granted
    lease.bucket = grant.bucket
    lease.isShared = isShared
    lease.remaining = grant.remaining
    lease.endsAtMs = now + span.leaseMs
    lease.freedAtMs = now + grant.freedInMs
    lease.refusedUntilMs = grant.granted > 0 ? 0 : now + Math.min(refusalMs, Math.max(1, grant.freedInMs))
  }

  function isSpent(key: string): boolean {
    const lease = leases.get(key)
    return lease !== undefined && lease.left === 0 && lease.remaining === 0 && nowMs() < lease.freedAtMs
  }

  return { take, isSpent, standing: key => leases.get(key) }
}

const newLease = (now: number): Lease => ({
  left: 0,
  endsAtMs: now,
  refusedUntilMs: 0,
  size: 0,
  bucket: 0,
  isShared: false,
  waiting: 0,
  asking: undefined,
  remaining: 0,
  freedAtMs: now,
})

/** Twice what was used of the last one. */
const nextSize = ({ size, left }: Lease, limit: number) => Math.max(1, Math.min(2 * (size - left), Math.floor(limit * shareMax)))

const unusedOf = ({ left, bucket, isShared }: Lease, ofShared: boolean) =>
  left > 0 && isShared === ofShared ? { count: left, bucket } : undefined
