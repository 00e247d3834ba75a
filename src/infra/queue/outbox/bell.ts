import type { RedisServer } from '../../redis'

/** Tells relays that there is something in the outbox. Words may get lost: relays look by themselves, too. */
export interface Bell {
  /** Does not wait, and never fails. */
  ring(): void
  /** Calls `heard` when somebody rings, in this process or another. @returns what ends it */
  listen(heard: () => void): () => void
}

const publishLimitMs = 1000
/** Under load each word is for all who commit within so long. */
const pauseMs = 5
const subscribeLimitMs = 2000

export function createBell(server: RedisServer, prefix: string): Bell {
  const channel = `${prefix}:outbox`
  const listeners = new Set<() => void>()
  // Made now, since what is said before it is there is lost.
  const speaker = server.connect('outbox')
  let isSpeaking = false
  let isAgain = false

  /** The first is heard at once; those who ring soon after are heard together. */
  async function speak(): Promise<void> {
    if (isSpeaking) {
      isAgain = true
      return
    }
    isSpeaking = true
    do {
      isAgain = false
      await speaker.call(publishLimitMs, 'PUBLISH', channel, '').catch(() => {})
      await Bun.sleep(pauseMs)
    } while (isAgain)
    isSpeaking = false
  }

  return {
    ring() {
      // Where a relay is at hand, it takes what is there; others need not know.
      for (const heard of listeners) heard()
      if (listeners.size === 0) void speak()
    },
    listen(heard) {
      listeners.add(heard)
      const listener = server.connect('outbox-bell')
      let isClosed = false
      listener.onChange(async runId => {
        if (runId === undefined || isClosed) return
        try {
          await listener.subscribe(subscribeLimitMs, channel, heard)
          // Whatever was said before nobody was told.
          if (!isClosed) heard()
        } catch {
          if (!isClosed) listener.reconnect()
        }
      })
      return () => {
        isClosed = true
        listeners.delete(heard)
        void listener.close()
      }
    },
  }
}
