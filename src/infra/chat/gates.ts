import type { Clock } from '@/core/clock'
import type { PlatformName } from '@/core/chat'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import { createRecent } from '../limit/recent'
import { createScheduleClock } from '../schedule/clock'
import { busyUntilMs, keepBusy, makePlatform } from './rows'

/**
 * When a platform has said that it wants no calls for a while. What it says of the whole bot all processes learn, through the database;
 * what it says of one chat is known to the process that it was said to.
 */
export interface Gates {
  /** Nobody is called for so long, or not that chat. A gate that is closed for longer stays so. */
  close(chatId: string | undefined, forMs: number): void
  /** 0 when it is open. @param chatId the gate of the whole bot when absent */
  closedForMs(chatId?: string): number
  /** Learns what was said to other processes, at most five times in a second. Never throws. */
  refresh(): Promise<void>
  /** Resolves when what was said is known to others. */
  settled(): Promise<void>
}

const refreshEveryMs = 200
const chatsMax = 10_000
/** Clocks are known to a few milliseconds, and the platform's own may be slower. */
const marginMs = 10

export interface GateTools {
  db: Database
  clock: Clock
  log: Log
  /** Which bot it is, as the platform calls it: what one is told is nothing to the next. At most 23 characters. */
  bot: string
}

export function createGates(platform: PlatformName, { db, clock: machine, log, bot }: GateTools): Gates {
  const name = `${platform}:${bot}` as const
  const clock = createScheduleClock(db, machine)
  const chats = createRecent<number>(chatsMax)
  const now = () => performance.now()
  let opensAtMs = 0
  let readAtMs = Number.NEGATIVE_INFINITY
  let telling: Promise<void> = Promise.resolve()

  async function tell(untilMs: number): Promise<void> {
    try {
      await clock.sync()
      await makePlatform(db, name)
      await keepBusy(db, name, Math.ceil(clock.nowMs() + untilMs - now()))
    } catch (err) {
      // The others learn it from the platform.
      log.debug('that a chat platform is busy could not be noted', { platform, err })
    }
  }

  return {
    close(chatId, forMs) {
      const untilMs = now() + forMs + marginMs
      if (chatId !== undefined) return chats.set(chatId, Math.max(untilMs, chats.get(chatId) ?? 0))
      if (untilMs <= opensAtMs) return
      opensAtMs = untilMs
      telling = telling.then(() => tell(untilMs))
    },
    closedForMs: chatId => Math.max(0, (chatId === undefined ? opensAtMs : (chats.get(chatId) ?? 0)) - now()),
    async refresh() {
      if (now() - readAtMs < refreshEveryMs) return
      readAtMs = now()
      try {
        await clock.sync()
        const untilMs = await busyUntilMs(db, name)
        if (untilMs > 0) opensAtMs = Math.max(opensAtMs, now() + untilMs - clock.nowMs())
      } catch (err) {
        log.debug('whether a chat platform is busy is not known', { platform, err })
      }
    },
    settled: () => telling,
  }
}
