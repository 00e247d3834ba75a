import { afterEach } from 'bun:test'
import { systemClock } from '@/core/clock'
import { type AnyCommand, defineCommand } from '@/core/command'
import { everyone } from '@/core/access'
import { Type } from '@/core/schema'
import { createCipher } from '@/core/seal'
import type { Database } from '@/core/database'
import { openChat } from '@/infra/chat/open'
import { fakeReceiver } from './fake-receiver'
import { serveChat } from './webhook-server'
import { type FakeDiscord, type FakeDiscordOptions, startDiscord } from './fake-discord'
import { countingMetrics, fakeLog } from '../fakes'

const echo = defineCommand({
  name: 'echo',
  summary: 'Says it again.',
  args: Type.Object({ theText: Type.String({ description: 'What.' }), times: Type.Optional(Type.Integer({ minimum: 1 })) }),
  access: [everyone()],
  run: async ({ theText }) => theText,
})

export interface DiscordBotOptions extends FakeDiscordOptions {
  commands?: readonly AnyCommand[]
  /** Instead of what belongs to the Discord. */
  config?: Partial<{ token: string; applicationId: string; publicKey: string; apiRoot: string; messagesPerSecond: number }>
  /** Another bot of the same Discord. */
  beside?: FakeDiscord
}

/** The platform alone, with a fake Discord and a receiver in memory; all of it ends with the test. */
export function useDiscordBots(scene: { db: Database }) {
  const ends: (() => unknown)[] = []
  afterEach(async () => {
    for (const end of ends.splice(0).toReversed()) await end()
  })
  return async (options: DiscordBotOptions = {}) => {
    const discord = options.beside ?? (await startDiscord(options))
    const { token, applicationId, publicKey, apiRoot } = discord
    const config = { token, applicationId, publicKey, apiRoot, messagesPerSecond: 1000, ...options.config }
    const [log, metrics, receiver] = [fakeLog(), countingMetrics(), fakeReceiver()]
    const platform = openChat({
      config: { discord: config, telegram: { apiRoot: 'http://127.0.0.1:1', mode: 'polling', messagesPerSecond: 25 }, redis: {} as never },
      ...{ db: scene.db, clock: systemClock, log, metrics, redis: undefined },
      commands: { all: () => options.commands ?? [echo] },
      cipher: createCipher(new Uint8Array(32), 'chat'),
    }).get('discord')
    const server = serveChat(platform, receiver)
    const service = platform.service(receiver)
    ends.push(discord.stop, server.stop, () => service.stop())
    return { discord, platform, receiver, service, log, metrics, url: server.url }
  }
}
