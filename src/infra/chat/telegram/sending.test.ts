import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { AppError } from '@/core/error'
import { type Backing, openBacking } from '@/testing/backings'
import { chatTools } from '@/testing/chat/platform-tools'
import { eventually } from '@/testing/eventually'
import { inTime } from '@/testing/in-time'
import { failure } from '@/testing/conformance/fixture'
import { useMigrated } from '@/testing/migrated'
import { type FakeTelegram, mostWithin, startTelegram } from '@/testing/chat/fake-telegram'
import { busyUntilMs } from '../rows'
import { telegramPlatform } from './platform'

setDefaultTimeout(60_000)

const scene = useMigrated(async () => (await openBacking('sqlite')) as Backing, ['chatPlatform'])
let telegram: FakeTelegram
beforeEach(async () => {
  telegram = await startTelegram()
})
/** Of what has a bar in milliseconds, each look with a Telegram of its own. */
const looking = (look: () => Promise<void>) =>
  inTime(async () => {
    await telegram.close()
    telegram = await startTelegram()
    await scene.db.run('delete from "chatPlatform"')
    await look()
  })
afterEach(() => telegram.close())

const platformWith = (env: Record<string, string> = {}) => {
  const own = { BINGO_TELEGRAM_TOKEN: telegram.token, BINGO_TELEGRAM_API_ROOT: telegram.url }
  return telegramPlatform(chatTools(scene.db, { ...own, ...env }))
}
const busyCode = 'ResourceExhausted.PlatformBusy'
const patient = () => ({ signal: AbortSignal.timeout(60_000) })
const sends = () => telegram.of('sendMessage')
/** By the clock of the server; what was under way when it said so came before. */
const since = (call: { endedAtMs?: number } | undefined) => {
  const saidAtMs = call?.endedAtMs ?? 0
  return sends()
    .filter(({ atMs }) => atMs > saidAtMs)
    .map(({ atMs }) => atMs - saidAtMs)
}
/** Until the client knows what was answered to the last of them. */
const refusals = async (count: number) => {
  await telegram.until(() => sends().filter(({ status }) => status === 429).length === count)
  await Bun.sleep(50)
}
const refused = () => sends().find(({ status }) => status === 429)

describe('sending', () => {
  test('says the id of the message, in plain text, and answers in groups to what was said, in its topic', async () => {
    const platform = platformWith()
    expect(await platform.send('5', '*not* <b>bold</b>', patient())).toBe('1')
    await platform.answer({ chatId: '-100', replyTo: JSON.stringify({ message: 8, topic: 3 }) }, 'pong', patient())
    await platform.answer({ chatId: '6', replyTo: '' }, 'pong', patient())
    expect(sends().map(({ payload }) => payload)).toEqual([
      { chat_id: '5', text: '*not* <b>bold</b>' },
      { chat_id: '-100', text: 'pong', reply_parameters: { message_id: 8, allow_sending_without_reply: true }, message_thread_id: 3 },
      { chat_id: '6', text: 'pong' },
    ])
  })

  test('what is gone, refused or out of reach is told apart, and is not tried again', async () => {
    const platform = platformWith()
    const outcomes: [number, string, string][] = [
      [403, 'Forbidden: bot was blocked by the user', 'NotFound.ChatGone'],
      [403, 'Forbidden: bot was kicked from the supergroup chat', 'NotFound.ChatGone'],
      [403, 'Forbidden: user is deactivated', 'NotFound.ChatGone'],
      [400, 'Bad Request: chat not found', 'NotFound.ChatGone'],
      [400, 'Bad Request: group chat was deactivated', 'NotFound.ChatGone'],
      [400, 'Bad Request: not enough rights to send text messages to the chat', 'InvalidArgument.MessageRefused'],
      [413, 'Request Entity Too Large', 'InvalidArgument.MessageRefused'],
      [500, 'Internal Server Error', 'Unavailable.PlatformUnavailable'],
      [502, 'Bad Gateway', 'Unavailable.PlatformUnavailable'],
    ]
    for (const [i, [status, description, code]] of outcomes.entries()) {
      telegram.next(1).answer(status, { description })
      expect([description, await failure(platform.send(String(100 + i), 'x', patient()))]).toEqual([description, code])
    }
    expect(sends().length).toBe(outcomes.length)
    expect(await failure(platform.send('5', ' \n', patient()))).toBe('InvalidArgument.MessageRefused')
    expect(telegram.sentTo(5)).toEqual([])
  })

  test('what was certainly not sent is told apart from what may have arrived, and neither is sent again by itself', async () => {
    const platform = platformWith()
    telegram.next(1).garbage('{"ok":true,"result":{"message_id":"1; drop"}}')
    telegram.next(1).garbage('<html>', 200)
    telegram.next(1).garbage('<html>', 502)
    telegram.next(1).garbage(`{"ok":true,"result":{"message_id":1,"x":"${'x'.repeat(5_000_000)}"}}`)
    telegram.next(1).drop()
    for (let i = 1; i <= 5; i++) expect([i, await failure(platform.send(`${i}`, 'x', patient()))]).toEqual([i, 'Unavailable.PerhapsSent'])
    expect(sends().length).toBe(5)
    for (const apiRoot of ['http://127.0.0.1:1', 'http://nobody.invalid'])
      expect([apiRoot, await failure(platformWith({ BINGO_TELEGRAM_API_ROOT: apiRoot }).send('1', 'x', patient()))]).toEqual([
        apiRoot,
        'Unavailable.PlatformUnavailable',
      ])
  })

  test('no error has the token or the text in it', async () => {
    const platform = platformWith({ BINGO_TELEGRAM_API_ROOT: 'http://127.0.0.1:1' })
    const thrown = await platform.send('5', 'a secret word', patient()).catch(error => error)
    let said = ''
    for (let error = thrown; error instanceof Error; error = error.cause) said += Bun.inspect(error) + JSON.stringify(error)
    expect(said).toContain('cannot be reached')
    expect(said).not.toContain(telegram.token.slice(12))
    expect(said).not.toContain('a secret word')
  })

  test('a group that has become a supergroup is found there', async () => {
    const platform = platformWith()
    telegram
      .next(1)
      .answer(400, { description: 'Bad Request: group chat was upgraded to a supergroup chat', parameters: { migrate_to_chat_id: -1007 } })
    await platform.send('-7', 'x', patient())
    await platform.send('-7', 'y', patient())
    expect(sends().map(({ payload }) => payload['chat_id'])).toEqual(['-7', '-1007', '-1007'])
  })

  test('an answer in a topic that is gone goes to the group', async () => {
    telegram.next(1).answer(400, { description: 'Bad Request: message thread not found' })
    await platformWith().answer({ chatId: '-7', replyTo: JSON.stringify({ message: 1, topic: 2 }) }, 'x', patient())
    expect(sends().map(({ payload }) => payload['message_thread_id'])).toEqual([2, undefined])
  })

  test('a long text is one message, which is cut', async () => {
    expect(await platformWith().send('5', `${'a'.repeat(4095)}😀${'b'.repeat(4000)}`, patient())).toBe('1')
    expect(telegram.sentTo(5)).toEqual([`${'a'.repeat(4095)}…`])
  })

  test('ends at once when it is aborted while it waits, and sends nothing then', async () => {
    const platform = platformWith()
    await platform.send('5', 'first', patient())
    const stopping = new AbortController()
    const waiting = failure(platform.send('5', 'second', { signal: stopping.signal }))
    stopping.abort(new Error('stopped'))
    expect(await waiting).toBe('stopped')
    await platform.send('5', 'third', patient())
    expect(telegram.sentTo(5)).toEqual(['first', 'third'])
  })
})

describe('limits', () => {
  test('no more go out in any second than are configured, and nearly as many', async () => {
    const platform = platformWith({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '20' })
    const startedAtMs = performance.now()
    await Promise.all(Array.from({ length: 80 }, (_, i) => platform.send(String(i + 1), 'x', patient())))
    // Four seconds' worth of them, of which the first begins at once. On a busy machine some come late, and with those behind them.
    expect(mostWithin(900, sends())).toBeLessThanOrEqual(25)
    expect(performance.now() - startedAtMs).toBeGreaterThan(3500)
    expect(performance.now() - startedAtMs).toBeLessThan(5500)
  })

  test('one a second goes to a chat, in order, while others do not wait', async () => {
    await looking(async () => {
      const platform = platformWith()
      const three = ['a', 'b', 'c'].map(text => platform.send('5', text, patient()))
      await platform.send('6', 'x', patient())
      expect(telegram.sentTo(5).length).toBeLessThan(2)
      await Promise.all(three)
      expect(telegram.sentTo(5)).toEqual(['a', 'b', 'c'])
      expect(
        mostWithin(
          990,
          sends().filter(({ payload }) => payload['chat_id'] === '5'),
        ),
      ).toBe(1)
    })
  })

  test('what is not wanted any more when its turn comes is not sent, and nothing is counted as asked', async () => {
    const platform = platformWith({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '4' })
    let isWanted = true
    const isStillWanted = async () => isWanted
    const outcomes = Array.from({ length: 12 }, (_, i) => failure(platform.send(`${i + 1}`, 'x', { ...patient(), isStillWanted })))
    await telegram.until(() => sends().length >= 2)
    isWanted = false
    const begun = sends().length
    const refused = (await Promise.all(outcomes)).filter(code => code === 'Aborted.NotWanted')
    expect(sends().length).toBeLessThanOrEqual(begun + 1)
    expect(refused.length).toBe(12 - sends().length)
  })

  test('answers go before announcements', async () => {
    const platform = platformWith({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '5' })
    const many = Array.from({ length: 15 }, (_, i) => platform.send(String(i + 100), 'news', patient()))
    await Bun.sleep(50)
    await platform.answer({ chatId: '1', replyTo: '' }, 'pong', patient())
    expect(sends().length).toBeLessThanOrEqual(7)
    await Promise.all(many)
  })
})

describe('429', () => {
  test('nobody is called before Telegram wants it, and the first within 250 ms after', async () => {
    await looking(async () => {
      const platform = platformWith({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '1000' })
      telegram.next(2).answer(429, { retryAfterSeconds: 2 })
      const first = [platform.send('1', 'x', patient()), platform.send('2', 'x', patient())]
      await refusals(2)
      const more = Array.from({ length: 30 }, (_, i) => platform.send(String(i + 3), 'x', patient()))
      await Promise.all([...first, ...more])
      const waited = since(sends().findLast(({ status }) => status === 429))
      expect(Math.min(...waited)).toBeGreaterThanOrEqual(2000)
      expect(Math.min(...waited)).toBeLessThan(2250)
      expect(sends().filter(({ status }) => status === 200).length).toBe(32)
      for (let i = 1; i <= 32; i++) expect(telegram.sentTo(i)).toEqual(['x'])
    })
  })

  test('each of a storm is obeyed', async () => {
    await looking(async () => {
      const platform = platformWith({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '1000' })
      telegram.next(3).answer(429, { retryAfterSeconds: 1 })
      await platform.send('1', 'x', patient())
      const times = sends()
      for (let i = 1; i < times.length; i++) {
        const gapMs = (times[i]?.atMs ?? 0) - (times[i - 1]?.endedAtMs ?? 0)
        expect(gapMs).toBeGreaterThanOrEqual(1000)
        expect(gapMs).toBeLessThan(1250)
      }
      expect(times.map(({ status }) => status)).toEqual([429, 429, 429, 200])
    })
  })

  test.each(['-1', '1'])('what one chat is refused holds up that chat alone, and of two everybody (%s)', async refusedId => {
    const platform = platformWith({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '1000' })
    telegram.next(1).answer(429, { retryAfterSeconds: 2 })
    const one = platform.send(refusedId, 'x', patient())
    await refusals(1)
    await platform.send('3', 'x', patient())
    expect(Math.min(...since(refused()))).toBeLessThan(1000)
    telegram.next(1).answer(429, { retryAfterSeconds: 2 })
    const other = platform.send('2', 'x', patient())
    await refusals(2)
    const last = sends().findLast(({ status }) => status === 429)
    await platform.send('4', 'x', patient())
    expect(Math.min(...since(last))).toBeGreaterThanOrEqual(2000)
    await Promise.all([one, other])
    expect([telegram.sentTo(refusedId), telegram.sentTo(2)]).toEqual([['x'], ['x']])
  })

  test('another bot does not wait for what was said to the one before', async () => {
    const before = await startTelegram({ botId: 7 })
    try {
      const own = { BINGO_TELEGRAM_TOKEN: before.token, BINGO_TELEGRAM_API_ROOT: before.url }
      const refusedBot = platformWith(own)
      before.next(2).answer(429, { retryAfterSeconds: 90 })
      for (const chatId of ['3', '4']) expect(await failure(refusedBot.send(chatId, 'x', patient()))).toBe(busyCode)
      await eventually(async () => (await busyUntilMs(scene.db, 'telegram:7')) > 0)
      const sentBefore = before.of('sendMessage').length
      expect(await platformWith().send('6', 'x', patient())).toBe('1')
      expect(before.of('sendMessage').length).toBe(sentBefore)
    } finally {
      await before.close()
    }
  })

  test('who would wait too long is told for how long, and nothing is called meanwhile', async () => {
    const platform = platformWith()
    telegram.next(1).answer(429, { retryAfterSeconds: 90 })
    const busy = await platform.send('1', 'x', patient()).catch(error => error)
    expect(busy).toBeInstanceOf(AppError)
    expect(busy.code).toBe(busyCode)
    // With what is added so that nobody comes too early, less what has gone by.
    expect(busy.retryAfterSeconds).toBeWithin(85, 91)
    telegram.next(1).answer(429, { retryAfterSeconds: 90 })
    expect(await failure(platform.send('2', 'x', patient()))).toBe(busyCode)
    for (const chatId of ['1', '2', '3']) {
      const next = await platform.send(chatId, 'x', patient()).catch(error => error)
      expect(next.retryAfterSeconds).toBeGreaterThan(85)
    }
    expect(sends().length).toBe(2)
  })

  test('without a time, or with an absurd one, it waits for some time', async () => {
    const platform = platformWith()
    telegram.next(1).answer(429, { parameters: { retry_after: 1e12 } })
    const busy = await platform.send('1', 'x', patient()).catch(error => error)
    expect(Math.floor(busy.retryAfterSeconds)).toBe(86_400)
    const other = platformWith()
    telegram.next(1).answer(429, { parameters: { retry_after: 'soon' } })
    await other.send('2', 'x', patient())
    expect(Math.min(...since(sends().at(-2)))).toBeGreaterThanOrEqual(5000)
  })
})
