import type { Log } from '@/core/log'
import { idsLoggedMax, type QueueDriver, type ReapReply } from '../driver'
import type { Samples } from '../latency'
import { crashesMax, jittered, reapEveryMs } from './limits'
import type { QueueMeters } from './meters'

export interface ReaperOptions {
  driver: QueueDriver
  queue: string
  leaseMs: number
  /** Dead letters that are older are removed; never when absent. */
  keepDeadMs?: number | undefined
  meters: QueueMeters
  /** What is handed in with each call. */
  samples: Samples
  log: Log
  random: () => number
  /** Tasks wait again. */
  found(): void
}

/**
 * Takes tasks back from workers that are not heard of any more, now and then, and removes what was kept for long enough. Every worker does,
 * so that the last one left does.
 * And checks the queue when it is told that this is due, a step at a time, with twice as much time for others between.
 * @returns what ends it; resolves when no call is under way
 */
export function startReaper({
  driver,
  queue,
  leaseMs,
  keepDeadMs,
  meters,
  samples,
  log,
  random,
  found,
}: ReaperOptions): () => Promise<void> {
  const rule = { leaseMs, crashesMax, ...(keepDeadMs !== undefined && { keepDeadMs }) }
  let isStopped = false
  let isAway = false
  let reaping: Promise<void> = Promise.resolve()
  let checking: Promise<void> = Promise.resolve()
  let timer = setTimeout(reap, jittered(reapEveryMs(leaseMs), random))

  function reap(): void {
    reaping = reapAll().finally(() => {
      if (!isStopped) timer = setTimeout(reap, jittered(reapEveryMs(leaseMs), random))
    })
  }

  async function reapAll(): Promise<void> {
    try {
      while (!isStopped) {
        const { again, poisoned, expired, more, isCheckDue } = await reapOnce()
        isAway = false
        say(again, poisoned)
        if (expired) sayExpired(expired)
        if (isCheckDue) checking = checking.then(check)
        if (!more) return
      }
    } catch (thrown) {
      // Comes by itself again; the claims say loudly enough that the queue is away.
      if (!isAway) log.warn('tasks of workers that are gone cannot be taken back', { queue, err: thrown })
      isAway = true
    }
  }

  async function reapOnce(): Promise<ReapReply> {
    const seen = samples.take()
    if (!seen) return driver.reap(queue, rule)
    try {
      return await driver.reap(queue, { ...rule, seen })
    } catch (thrown) {
      // It may have been noted, and is twice then: better than not at all.
      samples.giveBack(seen)
      throw thrown
    }
  }

  async function check(): Promise<void> {
    const counts: Record<string, number> = {}
    try {
      let cursor: string | undefined
      do {
        const sinceMs = performance.now()
        const step = await driver.fsck(queue, { fix: true, leaseMs, ...(cursor === undefined ? {} : { cursor }) })
        for (const { what } of step.findings) counts[what] = (counts[what] ?? 0) + 1
        cursor = step.cursor
        await Bun.sleep(2 * (performance.now() - sinceMs))
      } while (cursor !== undefined && !isStopped)
    } catch (thrown) {
      // Somebody is told again.
      log.warn('the queue could not be checked', { queue, err: thrown })
    }
    if (Object.keys(counts).length === 0) return
    log.warn('the queue was mended, after its server had been started anew', { queue, counts })
    found()
  }

  function say(again: readonly string[], poisoned: readonly string[]): void {
    if (again.length > 0) {
      meters.reaped.add(again.length)
      log.info('tasks were taken back from workers that are not heard of', fieldsOf(again))
      found()
    }
    if (poisoned.length > 0) {
      meters.poisoned.add(poisoned.length)
      log.warn('tasks that no worker survives have become dead letters', fieldsOf(poisoned))
    }
  }
  /** Nothing goes without a word. */
  function sayExpired({ done, dead }: NonNullable<ReapReply['expired']>): void {
    if (done > 0) meters.expired.done.add(done)
    if (dead > 0) meters.expired.dead.add(dead)
    log.info('tasks were removed since they had been kept for as long as they were to be', { queue, done, dead })
  }
  const fieldsOf = (ids: readonly string[]) => ({ queue, count: ids.length, ids: ids.slice(0, idsLoggedMax) })

  return async () => {
    isStopped = true
    clearTimeout(timer)
    await Promise.all([reaping, checking])
  }
}
