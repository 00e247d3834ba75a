import { expect, test } from 'bun:test'
import { onEachBacking } from '@/testing/backings'
import { failure, openAgain } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { type ChatOf, subscriptionBiz } from './biz'
import { chatStore, subscriptionStore } from './store'

const dayMs = 86_400_000
const topics = [
  { name: 'maintenance', summary: 'When something is down on purpose' },
  { name: 'news', summary: 'What is new' },
]
const chat = (id: string, platform: ChatOf['platform'] = 'telegram'): ChatOf => ({ platform, id, isPrivate: true })
const ada = chat('17')

onEachBacking('subscriptions', open => {
  const scene = useMigrated(open, ['subscription', 'chat'])

  function setUp(db = scene.db) {
    const clock = { ms: Date.parse('2026-01-31T09:05:00.000Z'), nowMs: () => clock.ms }
    const log = fakeLog()
    return { biz: subscriptionBiz({ db, clock, log, topics, chats: chatStore, subscriptions: subscriptionStore }), clock, log }
  }
  const rows = async (table: 'chat' | 'subscription') =>
    Number((await scene.db.first(`select count(*) as "n" from "${table}"`, [], { from: 'primary' }))?.['n'])

  test('a topic that no module declares can be neither subscribed to nor asked for, and nothing is kept of the chat', async () => {
    const { biz } = setUp()
    for (const name of ['', 'News', 'all', 'else']) {
      expect(await failure(biz.subscribe(ada, name))).toBe('NotFound.TopicUnknown')
      expect(await failure(biz.counts(name))).toBe('NotFound.TopicUnknown')
    }
    expect([await rows('chat'), await rows('subscription')]).toEqual([0, 0])
  })

  test('a chat subscribes once, however often it says so, and ends what it has', async () => {
    const { biz } = setUp()
    expect([await biz.subscribe(ada, 'news'), await biz.subscribe(ada, 'news'), await biz.subscribe(ada, 'maintenance')]).toEqual([
      true,
      false,
      true,
    ])
    expect([await rows('chat'), await rows('subscription')]).toEqual([1, 2])
    expect((await biz.list(ada)).map(({ isSubscribed }) => isSubscribed)).toEqual([true, true])
    // The same id on another platform is another chat.
    expect((await biz.list(chat('17', 'discord'))).map(({ isSubscribed }) => isSubscribed)).toEqual([false, false])
    expect([await biz.unsubscribe(chat('17', 'discord')), await biz.unsubscribe(ada, 'news'), await biz.unsubscribe(ada, 'news')]).toEqual([
      0, 1, 0,
    ])
    expect((await biz.list(ada)).map(({ name, isSubscribed }) => [name, isSubscribed])).toEqual([
      ['maintenance', true],
      ['news', false],
    ])
    expect([await biz.unsubscribe(ada), await biz.unsubscribe(ada), await rows('subscription')]).toEqual([1, 0, 0])
  })

  test('all is ended, also what is of a topic that is declared no more', async () => {
    const { biz } = setUp()
    await biz.subscribe(ada, 'news')
    await scene.db.run('update "subscription" set "topic" = ?', ['former'])
    expect((await biz.list(ada)).some(({ isSubscribed }) => isSubscribed)).toBe(false)
    expect([await biz.unsubscribe(ada), await rows('subscription')]).toEqual([1, 0])
  })

  test('of a hundred that subscribe a chat at the same time on two processes each succeeds, and one row is there', async () => {
    const other = await openAgain(scene.backing)
    try {
      const [one, two] = [setUp().biz, setUp(other).biz]
      const told = await Promise.all(Array.from({ length: 100 }, (_, i) => (i % 2 ? one : two).subscribe(ada, 'news')))
      expect(told.filter(isNew => isNew)).toHaveLength(1)
      expect([await rows('chat'), await rows('subscription')]).toEqual([1, 1])
      // Of whoever comes and goes at the same time: the chat is empty exactly when it says so.
      for (let round = 0; round < 30; round++) {
        const coming = [one.subscribe(ada, 'news'), two.left([{ platform: 'telegram', chatId: '17' }]), one.subscribe(ada, 'maintenance')]
        await Promise.all([...coming, two.unsubscribe(ada, 'news')])
        const kept = await chatStore(scene.db).find({ chatId: '17' }, { from: 'primary' })
        expect(kept?.emptySince === undefined).toBe((await rows('subscription')) > 0)
      }
    } finally {
      await other.close()
    }
  }, 30_000)

  test('a chat that has blocked the bot gets nothing more, and is the same one when it comes back', async () => {
    const { biz, log } = setUp()
    await biz.subscribe(ada, 'news')
    await biz.subscribe(chat('18'), 'news')
    const [before] = await biz.page('news', { limit: 10 })
    const gone = { platform: 'telegram', chatId: '17' } as const
    await biz.left([gone, { platform: 'telegram', chatId: 'never seen' }])
    await biz.left([gone])
    expect((await biz.page('news', { limit: 10 })).map(({ chatId }) => chatId)).toEqual(['18'])
    expect(log.lines).toMatchObject([{ level: 'info', fields: { platform: 'telegram', ended: 1 } }])
    expect(JSON.stringify(log.lines)).not.toContain('17')
    await biz.subscribe(ada, 'news')
    expect((await biz.page('news', { limit: 10 }))[0]).toEqual(before as never)
  })

  test('a chat that is called otherwise by now keeps what it wants, or has what it wants there', async () => {
    const { biz } = setUp()
    await biz.subscribe(ada, 'news')
    await biz.moved([{ platform: 'telegram', from: '17', to: '-100' }])
    await biz.moved([{ platform: 'telegram', from: '17', to: '-100' }])
    expect((await biz.page('news', { limit: 10 })).map(({ chatId }) => chatId)).toEqual(['-100'])
    await biz.subscribe(ada, 'maintenance')
    await biz.moved([{ platform: 'telegram', from: '17', to: '-100' }])
    expect((await biz.list(chat('-100'))).map(({ isSubscribed }) => isSubscribed)).toEqual([false, true])
    expect([await biz.count('maintenance'), await biz.count('news')]).toEqual([0, 1])
  })

  test('subscribers come a page at a time, each once, while others come and go', async () => {
    const { biz } = setUp()
    for (let i = 0; i < 25; i++) await biz.subscribe(chat(`${i}`, i % 5 === 0 ? 'discord' : 'telegram'), 'news')
    await biz.subscribe(chat('other'), 'maintenance')
    const seen: string[] = []
    for (let after: string | undefined; ; ) {
      const page = await biz.page('news', { after, limit: 10 })
      if (page.length === 0) break
      seen.push(...page.map(({ platform, chatId }) => `${platform}:${chatId}`))
      after = page.at(-1)?.id
      await biz.unsubscribe(chat('1'))
      await biz.unsubscribe(chat('24'))
    }
    const all = Array.from({ length: 24 }, (_, i) => `${i % 5 === 0 ? 'discord' : 'telegram'}:${i}`)
    expect(seen.toSorted()).toEqual(all.toSorted())
    expect(await biz.counts()).toEqual({
      items: [
        { topic: 'maintenance', summary: 'When something is down on purpose', total: 1, telegram: 1, discord: 0 },
        { topic: 'news', summary: 'What is new', total: 23, telegram: 18, discord: 5 },
      ],
    })
    expect((await biz.counts('news')).items.map(({ topic }) => topic)).toEqual(['news'])
    expect(await biz.count('news')).toBe(23)
  })

  test('a chat that has wanted nothing for a month is forgotten, and no other', async () => {
    const { biz, clock } = setUp()
    for (const id of ['stays', 'goes', 'returns']) await biz.subscribe(chat(id), 'news')
    await biz.left([{ platform: 'telegram', chatId: 'goes' }])
    await biz.unsubscribe(chat('returns'))
    clock.ms += 30 * dayMs
    expect(await biz.removeEmpty(100)).toBe(0)
    clock.ms++
    await biz.subscribe(chat('returns'), 'maintenance')
    expect([await biz.removeEmpty(100), await biz.removeEmpty(100), await rows('chat')]).toEqual([1, 0, 2])
    expect((await biz.list(chat('returns'))).map(({ isSubscribed }) => isSubscribed)).toEqual([true, false])
  })
})
