import { backoffMs } from '@/core/backoff'
import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import { createScheduleClock } from '../../schedule/clock'
import { leavePoll, makePlatform, takePoll } from '../rows'
import { pause } from '@/core/wait'
import { pollSeconds, type TelegramApi, TelegramRefusal, TelegramSilence } from './api'
import { updatesWanted } from './updates'

/**
 * Asks Telegram for what is new, under a lease, so that of all processes one asks at a time: Telegram would cut off each by the other.
 * What was handed over is acknowledged with the next question, so a process that dies before leaves it to the next.
 */
export interface Polling {
  /** Until `signal` is aborted. @throws TelegramRefusal when the token is not taken */
  run(signal: AbortSignal): Promise<void>
}

export interface PollingTools {
  api: TelegramApi
  db: Database
  clock: Clock
  log: Log
  /** Resolves when all of it is stored, in the order of the numbers. */
  handOver(updates: readonly { update_id: number }[], signal: AbortSignal): Promise<void>
  times?: PollingTimes
}

export interface PollingTimes {
  /** For so long nobody else asks after this process was last heard of. */
  leaseMs: number
  renewEveryMs: number
  /** How often those who do not ask look whether nobody does. */
  tryEveryMs: number
}

const timesDefault: PollingTimes = { leaseMs: 8000, renewEveryMs: 2000, tryEveryMs: 1000 }
const countMax = 100
const troubleBackoff = { min: 500, max: 10_000 }
/** Somebody else asks with the same token. */
const conflictPauseMs = 3000
const lastWordMs = 2000

export function createPolling({ api, db, clock: machine, log, handOver, times = timesDefault }: PollingTools): Polling {
  const { leaseMs, renewEveryMs, tryEveryMs } = times
  const pollerId = crypto.randomUUID()
  const clock = createScheduleClock(db, machine)
  let isMade = false

  /** @returns until when the lease holds, on the clock of `performance.now()`; undefined when somebody else has it */
  async function lease(): Promise<number | undefined> {
    const startedMs = performance.now()
    await clock.sync()
    if (!isMade) await makePlatform(db, 'telegram')
    isMade = true
    const nowMs = clock.nowMs()
    return (await takePoll(db, 'telegram', { pollerId, nowMs, untilMs: nowMs + leaseMs })) ? startedMs + leaseMs : undefined
  }

  /** Aborts what it returns when the lease may be over. */
  function keep(firstUntilMs: number, signal: AbortSignal): { held: AbortSignal; end(): Promise<void> } {
    const lost = new AbortController()
    let untilMs = firstUntilMs
    const ended = new AbortController()
    const over = AbortSignal.any([signal, ended.signal])
    const watching = watch()
    async function watch(): Promise<void> {
      while (!over.aborted) {
        await pause(Math.min(renewEveryMs, Math.max(1, untilMs - performance.now())), over)
        if (over.aborted) return
        const next = await lease().catch(() => untilMs)
        if (next !== undefined) untilMs = next
        if (next === undefined || performance.now() >= untilMs) return lost.abort(new Error('another process asks Telegram'))
      }
    }
    return {
      held: AbortSignal.any([signal, lost.signal]),
      async end() {
        ended.abort()
        await watching
      },
    }
  }

  async function ask(held: AbortSignal): Promise<void> {
    let offset: number | undefined
    let failures = 0
    let limit = countMax
    let hasWebhook = true
    while (!held.aborted) {
      try {
        // As long as there is a webhook Telegram answers nobody who asks.
        if (hasWebhook) await api.call('deleteWebhook', {}, held)
        hasWebhook = false
        const wanted = { allowed_updates: updatesWanted, ...(offset !== undefined && { offset }) }
        const updates = await api.call('getUpdates', { ...wanted, limit, timeout: pollSeconds }, held)
        if (failures > 0) log.info('Telegram can be reached again', { platform: 'telegram' })
        failures = 0
        limit = countMax
        await handOver(updates, held)
        offset = updates.reduce((last, { update_id: id }) => Math.max(last ?? 0, id + 1), offset)
      } catch (thrown) {
        if (held.aborted) break
        if (thrown instanceof TelegramSilence && thrown.isTooLarge) limit = 1
        hasWebhook = isRefused(thrown, 409) && /webhook/i.test(thrown.description)
        const tryAgainMs = waitMs(thrown, failures)
        if (failures++ === 0) log.warn('Telegram cannot be asked for what is new', { platform: 'telegram', err: thrown })
        await pause(tryAgainMs, held)
      }
    }
    await acknowledge(offset)
  }

  /** So that the next one is not told again. */
  async function acknowledge(offset: number | undefined): Promise<void> {
    if (offset === undefined) return
    const question = { offset, limit: 1, timeout: 0, allowed_updates: updatesWanted }
    await api.call('getUpdates', question, AbortSignal.timeout(lastWordMs)).catch(() => {})
  }

  return {
    async run(signal) {
      let isFailing = false
      while (!signal.aborted) {
        const untilMs = await lease().catch(err => {
          if (!isFailing) log.warn('whether another process asks Telegram is not known', { platform: 'telegram', err })
          isFailing = true
          return undefined
        })
        if (untilMs === undefined) {
          await pause(tryEveryMs, signal)
          continue
        }
        isFailing = false
        const { held, end } = keep(untilMs, signal)
        log.info('asks Telegram for what is new', { platform: 'telegram' })
        try {
          await ask(held)
        } finally {
          await end()
          await leavePoll(db, 'telegram', pollerId).catch(() => {})
        }
      }
    },
  }
}

const isRefused = (thrown: unknown, ...codes: number[]): thrown is TelegramRefusal =>
  thrown instanceof TelegramRefusal && codes.includes(thrown.code)

/** @throws the refusal of the token, for which there is no use in waiting */
function waitMs(thrown: unknown, failures: number): number {
  if (isRefused(thrown, 401, 404)) throw thrown
  if (isRefused(thrown, 409)) return conflictPauseMs
  if (thrown instanceof TelegramRefusal && thrown.retryAfterSeconds !== undefined) return thrown.retryAfterSeconds * 1000
  return backoffMs(troubleBackoff, failures)
}
