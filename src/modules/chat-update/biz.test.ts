import { expect, test } from 'bun:test'
import type { Incoming } from '@/core/chat'
import { onEachBacking } from '@/testing/backings'
import { said } from '@/testing/chat/bot-scene'
import { fakeClock } from '@/testing/fake-clock'
import { testCipher } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { type ChatUpdate, chatUpdateBiz } from './biz'
import { keptMs } from './schema'
import { chatUpdateStore } from './store'

onEachBacking('what has come in from chats', open => {
  const scene = useMigrated(open, ['chatUpdate'])

  function setUp() {
    const clock = fakeClock()
    const biz = chatUpdateBiz({ db: scene.db, clock, cipher: testCipher, updates: chatUpdateStore })
    const keep = async (incoming: Incoming, awaitedUntilMs = 0): Promise<ChatUpdate> => {
      await scene.db.tx(tx => biz.keep(tx, incoming, { awaitedUntilMs }))
      return (await biz.find(incoming)) as ChatUpdate
    }
    return { biz, clock, keep, first: () => biz.first({ platform: 'telegram', chatId: 'chat1' }) }
  }

  test('is kept once, as it was said, and known by its platform and its id', async () => {
    const { biz, keep } = setUp()
    const update = said('echo', 'x'.repeat(4096), { senderName: 'Ada 🦊', replyTo: 'y'.repeat(1024), answerUntilMs: 5 })
    const kept = await keep(update)
    const { isPrivate, senderName, command, input, replyTo, answerUntilMs } = update
    expect(kept.said).toEqual({ isPrivate, senderName, command, input, replyTo, answerUntilMs })
    await expect(keep(update)).rejects.toMatchObject({ code: 'Aborted.UpdateTaken' })
    const elsewhere = { ...update, platform: 'discord' } as const
    expect([...(await biz.known(scene.db, [update, elsewhere, said('echo')]))]).toEqual([`telegram:${update.id}`])
    await keep(elsewhere)
    expect(await biz.countOf(scene.db, update, 0)).toBe(1)
  })

  test('comes in its order, chat by chat, past what is awaited elsewhere, and ends', async () => {
    const { biz, clock, keep, first } = setUp()
    const [a, b] = [said('a'), said('b')]
    await keep(said('c', '', { chatId: 'chat2', order: 0 }))
    await keep(b)
    await keep(a, clock.nowMs() + 1000)
    const update = await first()
    expect(update?.updateId).toBe(a.id)
    await biz.answer(update as ChatUpdate, 'an answer')
    expect((await first())?.updateId).toBe(b.id)
    clock.advance(1000)
    const answered = (await first()) as ChatUpdate
    expect([answered.updateId, answered.answer, answered.state]).toEqual([a.id, 'an answer', 'answered'])
    expect(await biz.countOpen(scene.db, a)).toBe(2)
    await biz.end(answered, 'sent')
    expect([(await first())?.updateId, await biz.countOpen(scene.db, a)]).toEqual([b.id, 1])
    expect(await biz.find(a)).toMatchObject({ isOpen: false, said: undefined, answer: undefined })
  })

  test('of many at the same one each step is one’s alone', async () => {
    const { biz, clock, keep } = setUp()
    const update = await keep(said('a'), clock.nowMs() + 1000)
    const begun = (await Promise.all([1, 2, 3, 4].map(() => biz.begin(update)))).filter(each => each !== undefined)
    expect(begun.map(({ attempts }) => attempts)).toEqual([1])
    const answers = await Promise.all([1, 2, 3, 4].map(i => biz.answer(begun[0] as ChatUpdate, `answer ${i}`)))
    expect(answers.filter(Boolean)).toHaveLength(1)
    const answered = (await biz.find({ platform: 'telegram', id: update.updateId })) as ChatUpdate
    const ends = await Promise.all([biz.take(answered), biz.claim(answered), biz.take(answered), biz.claim(answered)])
    expect(ends.filter(each => each !== undefined)).toHaveLength(1)
  })

  test('is removed two days later, whatever has become of it', async () => {
    const { biz, clock, keep } = setUp()
    const [old] = [await keep(said('a')), await keep(said('b'))]
    await biz.end(old as ChatUpdate, 'dropped')
    clock.advance(keptMs)
    const young = await keep(said('c'))
    expect(await biz.removeOld(10)).toBe(0)
    clock.advance(1)
    expect([await biz.removeOld(1), await biz.removeOld(10), await biz.removeOld(10)]).toEqual([1, 1, 0])
    expect(await biz.find({ platform: 'telegram', id: young.updateId })).toBeDefined()
  })
})
