import { expect, test } from 'bun:test'
import { dayMs, yearMs } from '@/core/clock'
import { onEachBacking } from '@/testing/backings'
import { byRoot, startMs, useAnnouncements } from '@/testing/chat/announcements'
import { openMax } from './schema'
import { deliveryStore } from './store'

const instant = (ms: number) => new Date(ms).toISOString()
const nobody = { total: 0, sent: 0, gone: 0, failed: 0, pending: 0, cancelled: 0 }

onEachBacking('announcements', open => {
  const { used, setUp } = useAnnouncements(open)

  test('are refused for a topic that there is not, and for a time that nobody can wait for', async () => {
    const { biz, queue, audit } = setUp()
    await expect(biz.announce({ topic: 'gossip', text: 'Psst.' }, byRoot)).rejects.toMatchObject({
      code: 'Unprocessable.UnknownTopic',
      problems: [{ pointer: '/topic', detail: 'must be one of news' }],
    })
    const at = instant(startMs + yearMs + 1)
    await expect(biz.announce({ topic: 'news', text: 'Soon.', at }, byRoot)).rejects.toMatchObject({ code: 'Unprocessable.AtTooLate' })
    expect([queue.enqueued, audit.events, (await biz.list({})).items]).toEqual([[], [], []])
  })

  test('are made with their task and their line in the audit log', async () => {
    const { biz, queue, audit } = setUp()
    const made = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    const at = instant(startMs)
    expect(made).toEqual({
      ...{ id: made.id, topic: 'news', text: 'Hello.', state: 'scheduled', at, createdAt: expect.any(String), progress: nobody },
    })
    expect(await biz.get(made.id)).toEqual(made)
    expect(queue.enqueued).toMatchObject([{ task: 'announcement.send', payload: { announcementId: made.id } }])
    expect(queue.enqueued[0]?.options.at).toBeUndefined()
    const object = `announcement:${made.id}`
    const after = { topic: 'news', text: 'Hello.', at }
    expect(audit.events).toMatchObject([{ actor: 'admin:root', action: 'announcement.create', object, after }])
  })

  test('of a time that is over begin now', async () => {
    const { biz } = setUp()
    expect(await biz.announce({ topic: 'news', text: 'Late.', at: instant(0) }, byRoot)).toMatchObject({ at: instant(startMs) })
  })

  test('are so many at a time and no more; those that have ended do not count', async () => {
    const { biz } = setUp()
    const at = instant(startMs + dayMs)
    const ids: string[] = []
    for (let i = 0; i < openMax; i++) ids.push((await biz.announce({ topic: 'news', text: `${i}`, at }, byRoot)).id)
    const one = () => biz.announce({ topic: 'news', text: 'One more.' }, byRoot)
    await expect(one()).rejects.toMatchObject({ code: 'ResourceExhausted.TooManyAnnouncements' })
    await biz.cancel(ids[0] ?? '', byRoot)
    expect((await one()).state).toBe('scheduled')
  })

  test('are listed, the newest first, each with how far it is', async () => {
    const { biz, addChats, attempt } = setUp()
    await addChats(2)
    const first = await biz.announce({ topic: 'news', text: 'First.' }, byRoot)
    await biz.send(first.id, attempt())
    const second = await biz.announce({ topic: 'news', text: 'Second.' }, byRoot)
    const { items, nextPageToken } = await biz.list({ pageSize: 1 })
    expect(items).toEqual([second])
    expect((await biz.list({ pageSize: 1, pageToken: nextPageToken })).items).toMatchObject([
      { id: first.id, state: 'sending', progress: { ...nobody, total: 2, pending: 2 } },
    ])
  })

  test('that wait can be cancelled, and then begin no more', async () => {
    const { biz, addChats, attempt, audit, enqueued } = setUp()
    await addChats(2)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.', at: instant(startMs + 1000) }, byRoot)
    expect(await biz.cancel(id, byRoot)).toMatchObject({ state: 'cancelled', endedAt: instant(startMs), progress: nobody })
    expect(await biz.cancel(id, byRoot)).toMatchObject({ state: 'cancelled' })
    expect(await biz.send(id, attempt())).toBeUndefined()
    expect([enqueued(), (await biz.get(id)).state]).toEqual([[], 'cancelled'])
    expect(audit.events.map(({ action }) => action)).toEqual(['announcement.create', 'announcement.cancel'])
  })

  test('that were sent, or are not there, cannot be cancelled', async () => {
    const { biz, attempt, audit } = setUp()
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await biz.send(id, attempt())
    await expect(biz.cancel(id, byRoot)).rejects.toMatchObject({ code: 'FailedPrecondition.AnnouncementEnded' })
    for (const other of [crypto.randomUUID(), 'x'])
      await expect(biz.cancel(other, byRoot)).rejects.toMatchObject({ code: 'NotFound.AnnouncementNotFound' })
    await expect(biz.get('x')).rejects.toMatchObject({ code: 'NotFound.AnnouncementNotFound' })
    expect(audit.events).toHaveLength(1)
  })

  test('keep who has them for a week and their numbers for a year', async () => {
    const { biz, addChats, attempt, enqueued, clock } = setUp()
    await addChats(150)
    const { id } = await biz.announce({ topic: 'news', text: 'Hello.' }, byRoot)
    await biz.send(id, attempt())
    for (const each of enqueued().slice(0, 130)) await biz.deliver(each, attempt())
    await biz.cancel(id, byRoot)
    const open = await biz.announce({ topic: 'news', text: 'At the end of the year.', at: instant(startMs + yearMs) }, byRoot)
    clock.ms += 7 * dayMs
    expect(await biz.removeOld(100)).toBe(0)
    clock.ms += 1
    const known = await biz.get(id)
    expect(known.progress).toEqual({ ...nobody, total: 150, sent: 130, cancelled: 20 })
    expect([await biz.removeOld(100), await biz.removeOld(100), await biz.removeOld(100)]).toEqual([100, 50, 0])
    expect([await deliveryStore(used.db).count(), await biz.get(id)]).toEqual([0, known])
    clock.ms = startMs + yearMs + 1
    expect([await biz.removeOld(100), await biz.removeOld(100)]).toEqual([1, 0])
    expect((await biz.list({})).items).toMatchObject([{ id: open.id }])
  })
})
