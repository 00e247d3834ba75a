import { expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { defineCommand } from '@/core/command'
import { Input } from '@/core/schema'
import { botScene, echo, said } from '@/testing/chat/bot-scene'
import { answerLaterMs, awaitedMaxMs } from './schema'
import { tooMuch } from './words'

const awaited = (command: string, input = '') => said(command, input, { isAwaited: true })

test('a platform that waits takes the answer, and nobody sends it', async () => {
  await using bot = await botScene()
  const update = awaited('echo', 'here')
  await bot.biz.receiver.receive([update])
  const answer = bot.biz.receiver.answerOf(update, 2000)
  await bot.queue.drain()
  expect(await answer).toBe('here')
  await bot.queue.drain({ andScheduled: true })
  expect([bot.sent, await bot.states()]).toEqual([[], ['sent']])
  expect(await bot.biz.receiver.answerOf(update, 2000)).toBeUndefined()
})

test('of several who wait one takes the answer', async () => {
  await using bot = await botScene()
  const update = awaited('echo', 'here')
  await bot.biz.receiver.receive([update])
  const answers = [1, 2, 3].map(() => bot.biz.receiver.answerOf(update, 2000))
  await bot.queue.drain()
  expect((await Promise.all(answers)).filter(answer => answer !== undefined)).toEqual(['here'])
})

test('what takes longer than the platform waits is sent, and not before the platform knows that it comes later', async () => {
  const end = Promise.withResolvers<string>()
  const slow = defineCommand({ name: 'slow', summary: 'Take long', args: Input({}), access: [everyone()], run: () => end.promise })
  await using bot = await botScene([slow, echo])
  const update = awaited('slow')
  await bot.biz.receiver.receive([update])
  const draining = bot.queue.drain()
  expect(await bot.biz.receiver.answerOf(update, 0)).toBeUndefined()
  end.resolve('at last')
  await draining
  expect(bot.sent).toEqual([])
  const leftAtMs = bot.queue.clock.nowMs()
  let sentAtMs = 0
  bot.platform.answering = () => {
    sentAtMs = bot.queue.clock.nowMs()
  }
  await bot.queue.drain({ andScheduled: true })
  expect(bot.sent.map(({ text }) => text)).toEqual(['at last'])
  expect(sentAtMs - leftAtMs).toBeGreaterThanOrEqual(answerLaterMs)
  expect(sentAtMs - leftAtMs).toBeLessThan(awaitedMaxMs)
})

test('whoever waits and is gone is not waited for: the answer is sent', async () => {
  await using bot = await botScene()
  await bot.biz.receiver.receive([awaited('echo', 'here')])
  await bot.queue.drain()
  expect(bot.sent).toEqual([])
  bot.queue.clock.advance(awaitedMaxMs)
  await bot.queue.drain()
  expect(bot.sent.map(({ text }) => text)).toEqual(['here'])
})

test('an answer that is waited for keeps nothing else of the chat waiting', async () => {
  await using bot = await botScene()
  await bot.biz.receiver.receive([awaited('echo', 'first'), said('echo', 'second')])
  await bot.queue.drain()
  expect(bot.sent.map(({ text }) => text)).toEqual(['second'])
})

test('what was too much to be kept is answered all the same', async () => {
  await using bot = await botScene()
  await bot.say(...Array.from({ length: 25 }, () => said('echo')))
  const update = awaited('echo')
  await bot.biz.receiver.receive([update])
  expect(await bot.biz.receiver.answerOf(update, 2000)).toBe(tooMuch)
})

test('nothing is done whose answer would come too late', async () => {
  await using bot = await botScene()
  await bot.biz.receiver.receive([said('echo', 'x', { answerUntilMs: bot.queue.clock.nowMs() + 1000 })])
  bot.queue.clock.advance(1000)
  await bot.queue.drain()
  expect([bot.sent, await bot.states()]).toEqual([[], ['dropped']])
})

test('an answer that is on its way is not taken any more', async () => {
  await using bot = await botScene()
  const update = awaited('echo', 'here')
  await bot.biz.receiver.receive([update])
  await bot.queue.drain()
  bot.queue.clock.advance(awaitedMaxMs)
  const taken: unknown[] = []
  bot.platform.answering = async () => {
    taken.push(await bot.biz.receiver.answerOf(update, 2000))
  }
  await bot.queue.drain()
  expect([taken, bot.sent.map(({ text }) => text)]).toEqual([[undefined], ['here']])
})

test('an answer is taken or sent, never both, whoever is first', async () => {
  await using bot = await botScene()
  for (let round = 0; round < 30; round++) {
    bot.sent.length = 0
    bot.queue.clock.advance(60_001)
    const update = awaited('echo', 'here')
    await bot.biz.receiver.receive([update])
    await bot.queue.drain()
    // The platform has not come for it until now, when it is about to be sent.
    bot.queue.clock.advance(awaitedMaxMs)
    const [taken] = await Promise.all([bot.biz.receiver.answerOf(update, 0), bot.queue.drain()])
    expect([...(taken === undefined ? [] : [taken]), ...bot.sent.map(({ text }) => text)]).toEqual(['here'])
  }
})

test('an answer that is taken while it is looked for has ended well', async () => {
  await using bot = await botScene()
  const update = awaited('echo', 'here')
  await bot.biz.receiver.receive([update])
  await bot.queue.drain()
  bot.queue.clock.advance(awaitedMaxMs)
  // Between finding out which is first and reading it.
  const { db } = bot.queue
  const first = db.first.bind(db)
  let taken: string | undefined
  db.first = async (sql, ...rest) => {
    const found = await first(sql, ...rest)
    if (sql.includes('"awaitedUntilMs" <= ?')) taken ??= await bot.biz.receiver.answerOf(update, 0)
    return found
  }
  await bot.queue.drain()
  expect([taken, bot.sent, await bot.states()]).toEqual(['here', [], ['sent']])
  expect(bot.queue.log.lines.filter(({ level }) => level === 'error')).toEqual([])
})
