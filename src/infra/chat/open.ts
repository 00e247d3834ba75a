import type { ChatPlatform, ChatPlatforms } from '@/core/chat'
import type { Commands } from '@/core/command'
import type { Config } from '@/core/config/settings'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Clock } from '@/core/clock'
import type { Cipher } from '@/core/seal'
import type { RedisServer } from '../redis'
import { discordPlatform } from './discord/platform'
import { telegramPlatform } from './telegram/platform'

export interface ChatTools {
  config: Pick<Config, 'telegram' | 'discord' | 'redis'>
  db: Database
  clock: Clock
  log: Log
  metrics: Metrics
  /** By which processes share the limits of platforms; absent on SQLite, where each keeps them by itself. */
  redis: RedisServer | undefined
  commands: Commands
  /** For secrets that are derived from the root key, such as that of webhooks. */
  cipher: Cipher
}

/** Asks nothing of any platform before its service has started. */
export function openChat(tools: ChatTools): ChatPlatforms {
  const all: ChatPlatform[] = [telegramPlatform(tools), discordPlatform(tools)]
  return { all, get: name => all.find(platform => platform.name === name) as ChatPlatform }
}
