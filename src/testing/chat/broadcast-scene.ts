import { expect } from 'bun:test'
import type { Announcement } from '@/modules/announcement/schema'
import { addChats } from './announcements'
import { type Backing, type BackingName, openBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type Client, newAdministrator } from '../clients'
import { openAgain } from '../conformance/fixture'
import { type FakeTelegram, startTelegram } from './fake-telegram'

/** Chats that have subscribed, an admin server, and a Telegram of the test's own, for what is sent to all of them. */
export interface BroadcastScene {
  telegram: FakeTelegram
  startBot(env?: Record<string, string>): Promise<RunningBingo>
  announce(input?: object, headers?: Record<string, string>): Promise<Announcement>
  see(id: string): Promise<Announcement>
  cancel(id: string): Promise<Announcement>
  /** Asks how far it is until `check` says that it is enough. @throws Error after `timeoutMs` */
  until(id: string, check: (announcement: Announcement) => boolean, timeoutMs: number): Promise<Announcement>
  /** The chats that were called, and how often. */
  calls(): Map<string, number>
  /** The chats that have it, and how often. */
  taken(): Map<string, number>
  [Symbol.asyncDispose](): Promise<void>
}

/** Tasks of a process that is killed are somebody else's after so long. */
export const leaseMs = 6000
const fast = { BINGO_TELEGRAM_MESSAGES_PER_SECOND: '1000', BINGO_QUEUE_LEASE_MS: `${leaseMs}` }

/** @param chats how many have subscribed to news: 1, 2 and so on */
export async function broadcastScene(name: BackingName, chats: number): Promise<BroadcastScene> {
  const telegram = await startTelegram()
  const backing = (await openBacking(name)) as Backing
  const { env = {}, args = [] } = backing.options
  const both = { ...env, BINGO_QUEUE_LEASE_MS: `${leaseMs}` }
  const admin = await startBingo({ roles: 'admin', env: both, args })
  const operator: Client = await newAdministrator(admin.urls['admin'] ?? '', both)
  const db = await openAgain(backing)
  await addChats(db, chats)
  await db.close()
  const bots: RunningBingo[] = []
  const url = `${admin.urls['admin']}/admin/v1/announcements`
  const see = async (id: string) => (await operator.send<Announcement>('GET', `${url}/${id}`)).body
  const counted = (isWanted: (status: number | undefined) => boolean) => {
    const counts = new Map<string, number>()
    for (const { payload, status } of telegram.of('sendMessage'))
      if (isWanted(status)) counts.set(String(payload['chat_id']), (counts.get(String(payload['chat_id'])) ?? 0) + 1)
    return counts
  }
  return {
    telegram,
    async startBot(more = {}) {
      const of = { BINGO_TELEGRAM_TOKEN: telegram.token, BINGO_TELEGRAM_API_ROOT: telegram.url }
      const bot = await startBingo({ roles: 'bot', env: { ...env, ...fast, ...of, ...more }, args })
      bots.push(bot)
      return bot
    },
    async announce(input = {}, headers = {}) {
      const { status, body } = await operator.send<Announcement>('POST', url, { topic: 'news', text: 'Hello.', ...input }, headers)
      expect(status).toBe(201)
      return body
    },
    see,
    async cancel(id) {
      const { status, body } = await operator.send<Announcement>('POST', `${url}/${id}/cancel`)
      expect(status).toBe(200)
      return body
    },
    async until(id, check, timeoutMs) {
      const endMs = performance.now() + timeoutMs
      for (;;) {
        const seen = await see(id)
        if (check(seen)) return seen
        if (performance.now() > endMs) throw new Error(`it did not come to this within ${timeoutMs} ms: ${check}\n${JSON.stringify(seen)}`)
        await Bun.sleep(100)
      }
    },
    calls: () => counted(() => true),
    taken: () => counted(status => status === 200),
    async [Symbol.asyncDispose]() {
      await Promise.all([admin, ...bots].map(each => each.stop('SIGKILL')))
      await telegram.close()
      await backing.dispose()
    },
  }
}
