import type { Config } from '@/core/config/settings'
import { AppError } from '@/core/error'
import type { Commands } from '@/core/command'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import { SqlError } from '../../database/errors'
import { tellWhenChanged } from '../rows'
import { Unusable } from '../standing'
import type { DiscordApi } from './api'
import { digestOf, payloadsOf } from './command-options'

export const tokenRefused = 'Discord does not take discord.token; set BINGO_DISCORD_TOKEN or BINGO_DISCORD_TOKEN_FILE to that of the bot'

export interface IntroducingTools {
  config: Pick<Config['discord'], 'applicationId' | 'publicKey'>
  api: DiscordApi
  db: Database
  log: Log
  commands: Commands
}

/**
 * Looks whether token, application and key belong together, and tells Discord the commands when they are others than it was told last.
 * @throws Unusable when they do not
 */
export async function introduce({ config, api, db, log, commands }: IntroducingTools, signal: AbortSignal): Promise<void> {
  const { id, verify_key } = await api.application(signal)
  if (id !== config.applicationId)
    throw new Unusable(`discord.token is of the application ${id}; set BINGO_DISCORD_APPLICATION_ID to that, or the token of the other`)
  if (verify_key !== config.publicKey)
    throw new Unusable('discord.publicKey is not that of the application; set BINGO_DISCORD_PUBLIC_KEY to what its page shows')
  const payloads = payloadsOf(commands.all())
  const isTold = await tellWhenChanged(db, { platform: 'discord', what: 'commandsDigest', digest: digestOf(id, payloads) }, () =>
    api.setCommands(payloads, signal),
  )
  if (isTold) log.info('Discord was told the commands', { platform: 'discord', count: payloads.length })
}

/** What only people can mend. */
export function wrong(thrown: unknown): string | undefined {
  if (thrown instanceof SqlError) return undefined
  if (!(thrown instanceof AppError))
    return 'the commands cannot be made known to Discord, which is a fault of ours: report what the log says'
  if (thrown.kind === 'FailedPrecondition') return tokenRefused
  return thrown.kind === 'InvalidArgument' ? 'Discord does not take the commands; change the one that the log says' : undefined
}

export const retryAfterMs = (thrown: unknown): number => 1000 * ((thrown instanceof AppError ? thrown.retryAfterSeconds : undefined) ?? 0)
