/** Those who wait for something that is given out one at a time: the urgent ones first, else in the order in which they came. */
export interface Line {
  /** @throws what `signal` was aborted with, and then nothing was taken for it */
  enter(isUrgent: boolean, signal: AbortSignal): Promise<void>
}

/** Longest sleep between two looks, so that what opens earlier is seen. */
const stepMs = 100

/** @param take takes one. @returns 0, or in how many milliseconds there may be one */
export function createLine(take: () => Promise<number>): Line {
  const urgent = new Set<() => void>()
  const others = new Set<() => void>()
  let isGiving = false

  async function give(): Promise<void> {
    if (isGiving) return
    isGiving = true
    try {
      while (urgent.size + others.size > 0) {
        const waitMs = await take()
        if (waitMs > 0) await Bun.sleep(Math.min(stepMs, Math.max(1, waitMs)))
        else letFirstIn()
      }
    } finally {
      isGiving = false
    }
  }

  function letFirstIn(): void {
    const waiting = urgent.size > 0 ? urgent : others
    const [enter] = waiting
    if (enter === undefined) return
    waiting.delete(enter)
    enter()
  }

  return {
    async enter(isUrgent, signal) {
      signal.throwIfAborted()
      const entered = Promise.withResolvers<void>()
      const waiting = isUrgent ? urgent : others
      const leave = () => {
        if (waiting.delete(entered.resolve)) entered.reject(signal.reason)
      }
      waiting.add(entered.resolve)
      signal.addEventListener('abort', leave, { once: true })
      void give()
      try {
        await entered.promise
      } finally {
        signal.removeEventListener('abort', leave)
      }
    },
  }
}
