import { backoffMs } from '@/core/backoff'
import type { PlatformName, PlatformState } from '@/core/chat'
import type { Log } from '@/core/log'
import type { Service } from '@/core/service'
import { pause } from '@/core/wait'

/** How platforms are called where people read of them. */
export const titles: Readonly<Record<PlatformName, string>> = { telegram: 'Telegram', discord: 'Discord' }

/** Where a platform stands, the same way for all: what passes is tried again soon, what people have to mend now and then. */
export interface Standing {
  state(): PlatformState
  /** The platform has told somebody that it does not take the token. */
  refuse(why: string): void
  /**
   * @param attempt makes the platform ready, says when it is, and may go on for as long as it is used. It begins again when it throws and
   * when the token is refused
   */
  service(attempt: (signal: AbortSignal, ready: () => void) => Promise<void>): Service
}

export interface StandingTools {
  platform: PlatformName
  log: Log
  /** Of the configuration alone: nothing is tried then, and whoever starts the platforms has said it. */
  fault: PlatformState | undefined
  /** What only people can mend, with the remedy and no secret; undefined of what passes. */
  wrong(thrown: unknown): string | undefined
  /** How long the platform wants to be left alone. */
  retryAfterMs(thrown: unknown): number
}

/** The platform, or the database, may not be there for a while. */
const startBackoff = { min: 1000, max: 30_000 }
/** What is refused will be refused again, until somebody mends it. */
const refusedPauseMs = 300_000

/** What only people can mend. Its message is shown, so it says what to do, and no secret. */
export class Unusable extends Error {
  override readonly name = 'Unusable'
}

export function createStanding({ platform, log, fault, wrong, retryAfterMs }: StandingTools): Standing {
  const title = titles[platform]
  let state: PlatformState = fault ?? { is: 'starting' }
  let refusal = new AbortController()

  /** @param thrown for the log, where it says more */
  function fail(why: string, thrown?: unknown): void {
    const wasSaid = state.is === 'failed' && state.why === why
    state = { is: 'failed', why }
    if (!wasSaid) log.error(`${title} is off`, { platform, why, ...(thrown !== undefined && { err: thrown }) })
  }

  /** @returns how long to wait before everything is tried again */
  function failed(thrown: unknown, failures: number): number {
    const why = thrown instanceof Unusable ? thrown.message : wrong(thrown)
    if (why !== undefined) {
      fail(why, thrown instanceof Unusable ? undefined : thrown)
      return refusedPauseMs
    }
    state = { is: 'starting', why: `${title}, or the database, cannot be reached, and is tried again` }
    if (failures === 0) log.warn(`${title} is not ready, and is tried again`, { platform, err: thrown })
    return Math.max(retryAfterMs(thrown), backoffMs(startBackoff, failures))
  }

  return {
    state: () => state,
    refuse(why) {
      fail(why)
      refusal.abort(new Unusable(why))
    },
    service(attempt) {
      const stopping = new AbortController()
      let working: Promise<void> | undefined

      async function work(): Promise<void> {
        let failures = 0
        const ready = () => {
          failures = 0
          state = { is: 'ready' }
        }
        while (!stopping.signal.aborted) {
          refusal = new AbortController()
          const signal = AbortSignal.any([stopping.signal, refusal.signal])
          try {
            await attempt(signal, ready)
            await aborted(signal)
            signal.throwIfAborted()
          } catch (thrown) {
            if (stopping.signal.aborted) return
            await pause(failed(thrown, failures++), stopping.signal)
          }
        }
      }

      return {
        name: platform,
        async start() {
          if (!fault) working = work()
        },
        async stop() {
          stopping.abort(new Error('the process stops'))
          await working
        },
      }
    },
  }
}

const aborted = (signal: AbortSignal) =>
  new Promise<void>(resolve => {
    if (signal.aborted) resolve()
    else signal.addEventListener('abort', () => resolve(), { once: true })
  })
