import { expect, test } from 'bun:test'
import { everyone } from '@/core/access'
import { chatErrors } from '@/core/chat'
import { type AnyCommand, defineCommand } from '@/core/command'
import { defineErrors } from '@/core/error'
import { Input } from '@/core/schema'
import { botScene, echo, said } from '@/testing/chat/bot-scene'
import { lateMs, perSenderMax, waitingPerChatMax, workUpdate } from './schema'
import { failed, perhapsDone, tooLate, tooMuch, unreachable } from './words'

const errors = defineErrors({
  NoSuchThing: ['NotFound', 'There is no such thing.'],
  Away: ['Unavailable', 'It is away.'],
})

/** A command that does what the test says, each time that it is given. */
function scripted(...outcomes: (() => Promise<string>)[]): { command: AnyCommand; runs(): number } {
  let runs = 0
  const run = () => {
    const outcome = outcomes[runs] ?? outcomes.at(-1)
    runs++
    return outcome ? outcome() : Promise.resolve('done')
  }
  const command = defineCommand({ name: 'do', summary: 'Do it', args: Input({}), access: [everyone()], run })
  return { command, runs: () => runs }
}
const say = (text: string) => async () => text
const fail = (error: () => Error) => async () => {
  throw error()
}

test('what is said is answered once, however often it is sent, at once or again', async () => {
  const { command, runs } = scripted(say('done'))
  await using bot = await botScene([command])
  const update = said('do')
  expect(await bot.say(update, update)).toEqual(['done'])
  expect(await bot.say(update)).toEqual([])
  await Promise.all([bot.biz.receiver.receive([update, said('do')]), bot.biz.receiver.receive([update])])
  await bot.queue.drain()
  expect([runs(), bot.sent.length]).toEqual([2, 2])
  expect(bot.sent[0]).toEqual({ chatId: 'chat1', replyTo: update.replyTo, text: 'done' })
})

test('a chat is answered in its order, also when what is first has to be tried again', async () => {
  const { command, runs } = scripted(fail(errors.Away), say('first'))
  await using bot = await botScene([command, echo])
  const [first, second, third] = [said('do'), said('echo', 'second'), said('echo', 'third')]
  expect(await bot.say(third, first, second)).toEqual([])
  expect(await bot.say(said('echo', 'elsewhere', { chatId: 'chat2' }))).toEqual(['elsewhere'])
  await bot.queue.drain({ andScheduled: true })
  expect(bot.sent.slice(1).map(({ text }) => text)).toEqual(['first', 'second', 'third'])
  expect(runs()).toBe(2)
})

test('what fails each time is given up, its sender is told, and the chat goes on', async () => {
  for (const [error, text] of [
    [errors.Away, unreachable],
    [() => new Error('a bug'), failed],
  ] as const) {
    const { command, runs } = scripted(fail(error))
    await using bot = await botScene([command, echo])
    await bot.say(said('do'), said('echo', 'next'))
    await bot.queue.drain({ andScheduled: true })
    expect(bot.sent.map(sent => sent.text)).toEqual([text, 'next'])
    expect(runs()).toBe(3)
    expect(bot.queue.log.lines.filter(({ message }) => message === 'command failed')).toHaveLength(3)
  }
})

test('what the sender is at fault for is said at once, and not tried again', async () => {
  const { command, runs } = scripted(fail(() => errors.NoSuchThing({ problems: [{ pointer: '/name', detail: 'is nobody' }] })))
  await using bot = await botScene([command])
  expect(await bot.say(said('do'))).toEqual(['There is no such thing.\nname is nobody'])
  expect(runs()).toBe(1)
})

test('what a process died at is tried again, and given up after three deaths', async () => {
  const { command, runs } = scripted(say('done'))
  await using bot = await botScene([command])
  await bot.biz.receiver.receive([said('do')])
  await bot.queue.db.run('update "chatUpdate" set "attempts" = 2')
  await bot.queue.drain()
  await bot.biz.receiver.receive([said('do')])
  await bot.queue.db.run('update "chatUpdate" set "attempts" = 3 where "isOpen" = 1')
  await bot.queue.drain()
  expect([runs(), bot.sent.map(({ text }) => text)]).toEqual([1, ['done', failed]])
})

test('an answer that is kept is sent without doing it again', async () => {
  const { command, runs } = scripted(say('done'))
  await using bot = await botScene([command])
  let tries = 0
  bot.platform.answering = () => {
    if (++tries < 3) throw chatErrors.PlatformUnavailable()
  }
  await bot.say(said('do'))
  expect(bot.sent).toEqual([])
  await bot.queue.drain({ andScheduled: true })
  expect([runs(), tries, bot.sent.map(({ text }) => text)]).toEqual([1, 3, ['done']])
})

test('a platform that wants no more for now is left alone for as long as it says', async () => {
  await using bot = await botScene()
  const startMs = bot.queue.clock.nowMs()
  const triedAfterMs: number[] = []
  bot.platform.answering = () => {
    triedAfterMs.push(bot.queue.clock.nowMs() - startMs)
    if (triedAfterMs.length === 1) throw chatErrors.PlatformBusy({ retryAfterSeconds: 7.25 })
  }
  await bot.say(said('echo', 'a'), said('echo', 'b'))
  await bot.queue.drain({ andScheduled: true })
  expect(bot.sent.map(({ text }) => text)).toEqual(['a', 'b'])
  expect(triedAfterMs).toEqual([0, 7250, 7250])
})

test('a chat that is gone is said so, and nothing is sent there again', async () => {
  await using bot = await botScene()
  bot.platform.answering = () => {
    throw chatErrors.ChatGone()
  }
  await bot.say(said('echo'))
  await bot.queue.drain({ andScheduled: true })
  expect([bot.gone, await bot.states()]).toEqual([[{ platform: 'telegram', chatId: 'chat1' }], ['dropped']])
})

test('an answer is not tried for ever', async () => {
  await using bot = await botScene()
  bot.platform.answering = () => {
    throw chatErrors.PlatformUnavailable()
  }
  await bot.say(said('echo'))
  await bot.queue.drain({ andScheduled: true })
  expect(await bot.states()).toEqual(['dropped'])
  expect(bot.queue.log.lines.map(({ message }) => message)).toContain('an answer was not sent: it was tried for too long')
})

test('what nobody could do for ten minutes is not done any more', async () => {
  const { command, runs } = scripted(say('done'))
  await using bot = await botScene([command])
  await bot.biz.receiver.receive([said('do')])
  bot.queue.clock.advance(lateMs)
  await bot.queue.drain()
  expect([runs(), bot.sent.map(({ text }) => text)]).toEqual([0, [tooLate]])
})

test('of what was begun, and may be done, nobody is told after ten minutes that it was not', async () => {
  const { command, runs } = scripted(fail(errors.Away))
  await using bot = await botScene([command])
  await bot.say(said('do'))
  bot.queue.clock.advance(lateMs)
  await bot.queue.drain()
  expect([runs(), bot.sent.map(({ text }) => text)]).toEqual([1, [perhapsDone]])
})

test('what was begun by a process that was stopped may be done, too, though it counts as no attempt', async () => {
  const stopped = new AbortController()
  const { command, runs } = scripted(() => {
    stopped.abort(new Error('stopped'))
    return Promise.withResolvers<string>().promise
  })
  await using bot = await botScene([command])
  for (const each of [said('do'), said('do', '', { chatId: 'chat2' })]) {
    await bot.biz.receiver.receive([each])
    const work = bot.biz.work(each, { signal: stopped.signal, log: bot.queue.log, headers: {} })
    await expect(work).rejects.toThrow('stopped')
  }
  expect(await bot.queue.db.all('select distinct "attempts" from "chatUpdate"')).toEqual([{ attempts: 0 }])
  bot.queue.clock.advance(lateMs)
  await bot.queue.drain()
  // The second was stopped before it had begun.
  expect([runs(), bot.sent]).toMatchObject([
    1,
    [
      { chatId: 'chat1', text: perhapsDone },
      { chatId: 'chat2', text: tooLate },
    ],
  ])
})

test('whoever says too much is told so once, and is heard again a minute later', async () => {
  await using bot = await botScene()
  const many = Array.from({ length: perSenderMax + 5 }, (_, i) => said('echo', String(i)))
  const answers = await bot.say(...many)
  expect(answers).toEqual([...many.slice(0, perSenderMax).map(({ input }) => String(input)), tooMuch])
  expect(await bot.say(said('echo', 'still', { chatId: 'chat2' }))).toEqual([])
  expect(await bot.say(said('echo', 'another', { senderId: 'sender2' }))).toEqual(['another'])
  bot.queue.clock.advance(60_001)
  expect(await bot.say(said('echo', 'again'))).toEqual(['again'])
})

test('of one chat only so much waits', async () => {
  await using bot = await botScene()
  const many = Array.from({ length: waitingPerChatMax + 5 }, (_, i) => said('echo', String(i), { senderId: `s${i}` }))
  expect(await bot.say(...many)).toHaveLength(waitingPerChatMax)
})

test('in groups only commands are heard that there are; alone whatever else is said is helped with', async () => {
  await using bot = await botScene()
  const inGroup = { isPrivate: false, chatId: '-100' }
  expect(await bot.say(said(undefined, 'hello', inGroup), said('other', '', inGroup), said('echo', 'x', inGroup))).toEqual(['x'])
  expect(await bot.states()).toHaveLength(1)
  const [hello, unknown] = await bot.say(said(undefined, 'hello'), said('other'))
  expect(hello).toBe('This is what I can do for you:\n/echo [text] – Say it again')
  expect(unknown).toStartWith('I do not know that.')
})

test('nothing that was said is readable in the database, nor there once it is answered, nor in the log', async () => {
  await using bot = await botScene()
  const secret = 'a very private text'
  await bot.biz.receiver.receive([said('echo', secret, { senderName: secret, replyTo: secret })])
  const stored = [await bot.queue.db.all('select * from "chatUpdate"'), bot.queue.enqueued()]
  expect(JSON.stringify(stored)).not.toContain(secret)
  await bot.queue.drain()
  const [row] = await bot.queue.db.all('select "said", "answer", "state" from "chatUpdate"')
  expect(row).toEqual({ said: null, answer: null, state: 'sent' })
  expect(JSON.stringify(bot.queue.log.lines)).not.toContain(secret)
})

test('what a platform hands over that cannot be is dropped, and the rest is not', async () => {
  await using bot = await botScene()
  const odd = [said('echo', 'x'.repeat(4097)), said('echo', '', { id: 'a b' }), said('echo', '', { order: 0.5 })]
  expect(await bot.say(...odd, said('echo', 'fine'))).toEqual(['fine'])
  expect(bot.queue.log.lines.filter(({ level }) => level === 'error')).toHaveLength(3)
})

test('what came in outlives a database that is away for half a day', async () => {
  const { maxRetries, backoff } = workUpdate.defaults
  const { minMs, maxMs, factor } = backoff
  const waits = Array.from({ length: maxRetries }, (_, i) => Math.min(minMs * factor ** i, maxMs) * 0.8)
  expect(waits.reduce((sum, wait) => sum + wait)).toBeGreaterThan(12 * 3_600_000)
})
