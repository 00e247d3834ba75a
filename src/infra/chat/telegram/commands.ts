import { backoffMs } from '@/core/backoff'
import type { PlatformName } from '@/core/chat'
import { type AnyCommand, type Commands, mayGive } from '@/core/command'
import type { Database } from '@/core/database'
import { anonymous } from '@/core/identity'
import type { Log } from '@/core/log'
import type { Cipher } from '@/core/seal'
import { pause } from '@/core/wait'
import { tellWhenChanged } from '../rows'
import { type TelegramApi, TelegramRefusal } from './api'
import type { Bot } from './updates'

const commandsMax = 100
const backoff = { min: 1000, max: 60_000 }
const platform: PlatformName = 'telegram'

/** As Telegram lists them: first what everybody may give. */
export async function listed(commands: readonly AnyCommand[]): Promise<{ command: string; description: string }[]> {
  const open = await mayGive(anonymous, commands)
  const ordered = [...open, ...commands.filter(command => !open.includes(command))]
  return ordered.slice(0, commandsMax).map(({ name, summary }) => ({ command: name, description: summary }))
}

/** Tells Telegram the commands, unless it was told the same before; tries until it succeeds. Never throws. */
export async function tellCommands(
  { id }: Bot,
  { api, db, cipher, commands, log }: { api: TelegramApi; db: Database; cipher: Cipher; commands: Commands; log: Log },
  signal: AbortSignal,
): Promise<void> {
  const list = await listed(commands.all())
  const digest = cipher.digest(JSON.stringify([id, list]))
  for (let failures = 0; !signal.aborted; failures++) {
    try {
      const isTold = await tellWhenChanged(db, { platform, what: 'commandsDigest', digest }, () =>
        api.call('setMyCommands', { commands: list }, signal),
      )
      if (isTold) log.info('Telegram was told the commands', { platform, count: list.length })
      return
    } catch (err) {
      if (signal.aborted) return
      if (failures === 0) log.warn('Telegram could not be told the commands', { platform, err })
      const asked = err instanceof TelegramRefusal ? err : undefined
      // It will not take them later either.
      if (asked && asked.retryAfterSeconds === undefined && asked.code < 500) return
      await pause(Math.max((asked?.retryAfterSeconds ?? 0) * 1000, backoffMs(backoff, failures)), signal)
    }
  }
}
