import { expect, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import type { Database } from '@/core/database'
import { onEachBacking } from '@/testing/backings'
import { byRoot, startMs, useAnnouncements } from '@/testing/chat/announcements'
import { chatStore } from '@/modules/subscription/store'
import { deliveryStore } from './store'

const later = { is: 'snooze', delayMs: 2000 } as const

onEachBacking('sending announcements', open => {
  const { used, setUp } = useAnnouncements(open)

  test('each chat of each platform has one delivery and one task, whatever page it is on', async () => {
    const { biz, addChats, queue, attempt, enqueued } = setUp()
    await addChats(501, 'discord')
    await addChats(1000)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    expect(await biz.send(id, attempt())).toEqual(later)
    const ids = enqueued()
    expect([ids.length, new Set(ids).size]).toEqual([1501, 1501])
    const rows = await Array.fromAsync(deliveryStore(used.db).iterate({ where: { announcementId: id } }))
    const chats = await Array.fromAsync(chatStore(used.db).iterate())
    const named = (platform: string, id: string) => `${platform} ${id}`
    const told = rows.map(row => named(row.platform, row.subscriberId))
    expect(told.toSorted()).toEqual(chats.map(each => named(each.platform, each.id)).toSorted())
    const tasks = queue.enqueued.filter(({ task }) => task === 'announcement.deliver')
    for (const { options } of tasks.slice(0, 3)) expect(options).toMatchObject({ id: expect.stringMatching(/^delivery:/), key: 'discord' })
    // Looked at again, nobody is told again.
    expect(await biz.send(id, attempt())).toEqual(later)
    expect(enqueued()).toHaveLength(1501)
  })

  test('the time to begin is that of its task, and with it the number of chats', async () => {
    const { biz, queue, addChats, attempt, clock } = setUp()
    const at = new Date(startMs + 60_000).toISOString()
    const { id } = await biz.announce({ topic: 'news', text: 'Later.', at }, byRoot)
    expect(queue.enqueued[0]).toMatchObject({ task: 'announcement.send', options: { at, id: `announcement:${id}` } })
    expect(await biz.get(id)).toMatchObject({ state: 'scheduled', at, progress: { total: 0, pending: 0 } })
    await addChats(2)
    clock.ms += 60_000
    await biz.send(id, attempt())
    expect(await biz.get(id)).toMatchObject({ state: 'sending', startedAt: at, progress: { total: 2, pending: 2 } })
  })

  test('an attempt that dies with a page is followed by one that goes on there, and nobody is in twice', async () => {
    const { biz, addChats, attempt, enqueued } = setUp()
    await addChats(1200)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    // The commit is carried out, and its answer is lost.
    const { biz: dying } = setUp(lossy(used.db))
    await expect(dying.send(id, attempt())).rejects.toThrow('no answer')
    await biz.send(id, attempt())
    const rows = await Array.fromAsync(deliveryStore(used.db).iterate({ where: { announcementId: id } }))
    expect([rows.length, new Set(rows.map(({ subscriberId }) => subscriberId)).size]).toEqual([1200, 1200])
    expect(enqueued()).toHaveLength(700)
  })

  test('two that send the same at the same time give each chat one delivery', async () => {
    const { biz, addChats, attempt, enqueued } = setUp()
    await addChats(1300)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await Promise.allSettled([biz.send(id, attempt()), biz.send(id, attempt()), biz.send(id, attempt())])
    await biz.send(id, attempt())
    expect([enqueued().length, new Set(enqueued()).size]).toEqual([1300, 1300])
  })

  test('it is sent when every delivery has ended, and keeps its numbers', async () => {
    const { biz, addChats, attempt, enqueued, platforms, log } = setUp()
    await addChats(3)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await biz.send(id, attempt())
    for (const each of enqueued().slice(1)) await biz.deliver(each, attempt())
    expect(await biz.send(id, attempt())).toEqual(later)
    expect(await biz.get(id)).toMatchObject({ state: 'sending', progress: { total: 3, sent: 2, pending: 1 } })
    for (const each of enqueued()) await biz.deliver(each, attempt())
    expect(await biz.send(id, attempt())).toBeUndefined()
    const done = { total: 3, sent: 3, gone: 0, failed: 0, pending: 0, cancelled: 0 }
    expect(await biz.get(id)).toMatchObject({ state: 'sent', endedAt: expect.any(String), progress: done })
    expect(platforms.telegram.sent).toHaveLength(3)
    expect(log.lines.map(({ message }) => message)).toEqual(['an announcement begins to be sent', 'an announcement was sent'])
    await used.db.run('delete from "delivery"')
    expect(await biz.get(id)).toMatchObject({ progress: done })
    expect(await biz.send(id, attempt())).toBeUndefined()
  })

  test('of nobody it is sent at once', async () => {
    const { biz, attempt } = setUp()
    const { id } = await biz.announce({ topic: 'news', text: 'Hello?' }, byRoot)
    expect(await biz.send(id, attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ state: 'sent', progress: { total: 0 } })
  })

  test('chats of a platform that is off have failed from the beginning, and the others are told', async () => {
    const { biz, addChats, attempt, enqueued, platforms } = setUp()
    await addChats(2, 'discord')
    await addChats(1)
    platforms.discord.is = { is: 'off' }
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await biz.send(id, attempt())
    for (const each of enqueued()) await biz.deliver(each, attempt())
    expect(await biz.send(id, attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ state: 'sent', progress: { total: 3, sent: 1, failed: 2 } })
  })

  test('what has not been delivered within a day is given up, also without its task', async () => {
    const { biz, addChats, attempt, clock, enqueued, platforms } = setUp()
    await addChats(600)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await biz.send(id, attempt())
    clock.ms += dayMs + 1
    expect(await biz.deliver(enqueued()[0] ?? '', attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ progress: { failed: 1, pending: 599 } })
    expect(await biz.send(id, attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ state: 'sent', progress: { failed: 600, pending: 0 } })
    expect(platforms.telegram.sent).toEqual([])
  })

  test('one that is cancelled midway begins no message any more, and keeps its numbers when the last has come', async () => {
    const { biz, addChats, attempt, enqueued, platforms, clock } = setUp()
    await addChats(5)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await biz.send(id, attempt())
    const [first = '', second = '', ...others] = enqueued()
    await biz.deliver(first, attempt())
    platforms.telegram.whileSent = async () => void (await biz.cancel(id, byRoot))
    await biz.deliver(second, attempt())
    for (const each of others) expect(await biz.deliver(each, attempt())).toBeUndefined()
    const progress = { total: 5, sent: 2, gone: 0, failed: 0, pending: 0, cancelled: 3 }
    expect(await biz.get(id)).toMatchObject({ state: 'cancelled', progress })
    expect(platforms.telegram.sent).toHaveLength(2)
    expect(await biz.send(id, attempt())).toEqual({ is: 'snooze', delayMs: 120_000 })
    clock.ms += 120_000
    expect(await biz.send(id, attempt())).toBeUndefined()
    await used.db.run('delete from "delivery"')
    expect(await biz.get(id)).toMatchObject({ state: 'cancelled', progress })
  })

  test('one that is cancelled while chats get their deliveries gives out no more of them', async () => {
    const { biz, addChats, attempt } = setUp()
    await addChats(1100)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    let pages = 0
    const counting = {
      ...used.db,
      async all(...asked: Parameters<Database['all']>) {
        if (asked[0].includes('join "chat"') && ++pages === 2) await biz.cancel(id, byRoot)
        return used.db.all(...asked)
      },
    }
    const { biz: slow, queue } = setUp(counting)
    expect(await slow.send(id, attempt())).toEqual({ is: 'snooze', delayMs: 0 })
    expect([pages, queue.enqueued.length]).toEqual([2, 500])
    expect(await biz.get(id)).toMatchObject({ state: 'cancelled', progress: { total: 1100, cancelled: 1100 } })
  })
})

/** Commits the first transaction that is large, and loses its answer. */
function lossy(db: Database): Database {
  let isLost = false
  return {
    ...db,
    async tx(work, options) {
      const done = await db.tx(work, options)
      if (!isLost) {
        isLost = true
        throw new Error('no answer')
      }
      return done
    },
  }
}
