import type { Incoming } from '@/core/chat'
import type { Database } from '@/core/database'
import { createStore, type Store } from '@/core/store'
import { chatUpdates, type ChatUpdateRow, type ChatUpdateTable } from './schema'

type Chat = Pick<Incoming, 'platform' | 'chatId'>

export interface ChatUpdateStore extends Store<ChatUpdateTable> {
  /** The first of a chat of which something is still to be done; those whose answer is awaited elsewhere are in nobody's way. */
  first(chat: Chat, nowMs: number): Promise<ChatUpdateRow | undefined>
  /** Up to so many that came in before. */
  before(atMs: number, countMax: number): Promise<string[]>
}

const primary = { from: 'primary' } as const

export const chatUpdateStore = (db: Database): ChatUpdateStore => {
  const store = createStore(db, chatUpdates)
  return {
    ...store,
    async first({ platform, chatId }, nowMs) {
      const sql = `select "id" from "chatUpdate" where "platform" = ? and "chatId" = ? and "isOpen" = 1
        and ("state" = 'received' or "awaitedUntilMs" <= ?) order by "position", "id" limit 1`
      const found = await db.first(sql, [platform, chatId, nowMs], primary)
      return found && store.get(String(found['id']), primary)
    },
    async before(atMs, countMax) {
      const sql = `select "id" from "chatUpdate" where "receivedAtMs" < ? order by "receivedAtMs" limit ${countMax}`
      return (await db.all(sql, [atMs], primary)).map(row => String(row['id']))
    },
  }
}
