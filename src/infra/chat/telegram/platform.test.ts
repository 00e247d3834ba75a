import { afterEach, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { admin, everyone } from '@/core/access'
import { type AnyCommand, defineCommand } from '@/core/command'
import { Type } from '@/core/schema'
import { type Backing, openBacking } from '@/testing/backings'
import { chatTools, keptChats } from '@/testing/chat/platform-tools'
import { eventually } from '@/testing/eventually'
import { failure } from '@/testing/conformance/fixture'
import { countingMetrics } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { type FakeTelegram, startTelegram } from '@/testing/chat/fake-telegram'
import type { ChatTools } from '../open'
import { tellingStates } from '../states'
import { telegramPlatform } from './platform'

setDefaultTimeout(30_000)

const scene = useMigrated(async () => (await openBacking('sqlite')) as Backing, ['chatPlatform'])
let telegram: FakeTelegram
let ends: (() => Promise<void>)[] = []
beforeEach(async () => {
  telegram = await startTelegram()
})
afterEach(async () => {
  for (const end of ends.toReversed()) await end()
  ends = []
  await telegram.close()
})

const times = { leaseMs: 2000, renewEveryMs: 200, tryEveryMs: 50 }
const command = (name: string, access: AnyCommand['access'] = [everyone()]) =>
  defineCommand({ name, summary: `Does ${name}.`, args: Type.Object({}), access, run: async () => name })

async function started(env: Record<string, string> = {}, more: Partial<Omit<ChatTools, 'log'>> = {}) {
  const own = { BINGO_TELEGRAM_TOKEN: telegram.token, BINGO_TELEGRAM_API_ROOT: telegram.url }
  const tools = chatTools(scene.db, { ...own, ...env }, more)
  const platform = telegramPlatform(tools, times)
  const kept = keptChats()
  const service = platform.service(kept)
  await service.start()
  ends.push(() => service.stop())
  return { platform, kept, service, log: tools.log }
}
const ready = async (options: Awaited<ReturnType<typeof started>>) => {
  await eventually(() => options.platform.state().is === 'ready')
  return options
}

describe('asking', () => {
  test('hands over what is said, and acknowledges it only when it is stored', async () => {
    const { kept, log } = await started()
    kept.failures.push(new Error('the database is away'), new Error('still'))
    const { update_id: id } = telegram.say('/user ada', { from: 42, name: 'Ada L.' })
    await eventually(() => kept.received.length === 1)
    expect(kept.received[0]).toEqual({
      ...{ platform: 'telegram', id: String(id), order: 1, chatId: '42', isPrivate: true, senderId: '42', senderName: 'Ada L.' },
      ...{ command: 'user', input: 'ada', replyTo: '' },
    })
    await telegram.until(() => telegram.of('getUpdates').length >= 2)
    expect(telegram.of('getUpdates').map(({ payload }) => payload['offset'])).toEqual([undefined, id + 1])
    expect(log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)).toEqual([
      'what Telegram tells cannot be stored, and is tried again',
    ])
  })

  test('asks for no more while something is not stored', async () => {
    const { kept } = await ready(await started())
    const storing = Promise.withResolvers<void>()
    const began = Promise.withResolvers<void>()
    kept.receive = async () => {
      began.resolve()
      await storing.promise
    }
    await telegram.until(() => telegram.of('getUpdates').length === 1)
    const { update_id: id } = telegram.say('/a')
    await began.promise
    await Bun.sleep(500)
    expect(telegram.of('getUpdates').length).toBe(1)
    storing.resolve()
    await telegram.until(() => telegram.of('getUpdates').length === 2)
    expect(telegram.of('getUpdates')[1]?.payload['offset']).toBe(id + 1)
  })

  test('asks for what it understands only, and keeps the order of the numbers', async () => {
    telegram.hold()
    const { kept } = await ready(await started())
    for (const text of ['/a', '/b', '/c']) telegram.say(text)
    telegram.release(([a, b, c]) => [c, a, b] as never)
    await eventually(() => kept.received.length === 3)
    expect(kept.received.map(({ id }) => id)).toEqual([...kept.received.map(({ id }) => id)].toSorted())
    expect(telegram.of('getUpdates')[0]?.payload['allowed_updates']).toEqual(['message', 'my_chat_member'])
  })

  test('tells who has blocked it, in its place among what is said', async () => {
    const { kept } = await started()
    telegram.say('/subscribe news', { from: 5 })
    telegram.block(5)
    await eventually(() => kept.gone.length === 1)
    expect(kept.gone).toMatchObject([{ platform: 'telegram', id: expect.any(String), chatId: '5' }])
    expect(kept.received.map(({ input }) => input)).toEqual(['news'])
  })

  test('goes on after answers that are none, 5xx, lost connections and 429, and says so once', async () => {
    const { kept, log } = await ready(await started())
    telegram.next(1, 'getUpdates').garbage('<html>bad gateway</html>', 502)
    telegram.next(1, 'getUpdates').drop()
    telegram.next(1, 'getUpdates').answer(429, { retryAfterSeconds: 1 })
    telegram.say('/a')
    await eventually(() => kept.received.length === 1)
    telegram.say('/b')
    await eventually(() => kept.received.length === 2)
    const busy = telegram.of('getUpdates').find(({ status }) => status === 429)
    const next = telegram.of('getUpdates').find(({ atMs }) => atMs > (busy?.atMs ?? 0))
    expect((next?.atMs ?? 0) - (busy?.endedAtMs ?? 0)).toBeGreaterThanOrEqual(1000)
    expect(log.lines.filter(({ level }) => level === 'warn').length).toBe(1)
    expect(JSON.stringify(log.lines)).not.toContain(telegram.token.slice(10))
  })

  test('leaves out what can never be stored, and only that', async () => {
    const { kept, log } = await ready(await started())
    telegram.hold()
    telegram.say('/poison')
    telegram.say('/good')
    const receive = kept.receive
    kept.receive = async incoming => {
      if (incoming.some(({ command }) => command === 'poison')) throw new Error('does not fit')
      await receive(incoming)
    }
    telegram.release()
    await eventually(() => kept.received.length === 1, 25_000)
    expect(log.lines.filter(({ level }) => level === 'error').map(({ message }) => message)).toEqual([
      'an update of Telegram cannot be stored, and is left out',
    ])
  })

  test('an answer larger than it may be is not read, and the updates come one by one', async () => {
    const { kept } = await ready(await started())
    telegram.hold()
    for (let i = 0; i < 3; i++)
      telegram.tell({
        message: {
          text: `/n${i}`,
          from: { id: 1, is_bot: false, first_name: 'A' },
          message_id: i,
          chat: { id: 1, type: 'private' },
          photo: 'x'.repeat(2_000_000),
        },
      })
    telegram.release()
    await eventually(() => kept.received.length === 3, 25_000)
    expect(telegram.of('getUpdates').some(({ payload }) => payload['limit'] === 1)).toBe(true)
  })
})

describe('starting', () => {
  test('without a token it is off, asks nobody and refuses to send', async () => {
    const platform = telegramPlatform(chatTools(scene.db, { BINGO_TELEGRAM_API_ROOT: telegram.url }))
    const service = platform.service(keptChats())
    await service.start()
    expect(platform.state()).toEqual({ is: 'off', why: expect.stringContaining('BINGO_TELEGRAM_TOKEN') })
    expect(await failure(platform.send('1', 'x', { signal: AbortSignal.timeout(1000) }))).toContain('PlatformOff')
    await service.stop()
    expect(telegram.calls).toEqual([])
  })

  test('a wrong token is said once with the remedy, and not tried again and again', async () => {
    const { platform, log } = await started({ BINGO_TELEGRAM_TOKEN: '1:wrong-one' })
    await eventually(() => platform.state().is === 'failed')
    await Bun.sleep(1500)
    expect(telegram.calls.map(({ method }) => method)).toEqual(['getMe'])
    expect(log.lines.map(({ level, message }) => [level, message])).toEqual([['error', 'Telegram is off']])
    expect(platform.state().why).toContain('BINGO_TELEGRAM_TOKEN')
    expect(JSON.stringify([log.lines, platform.state()])).not.toContain('1:wrong-one')
    expect(await failure(platform.send('1', 'x', { signal: AbortSignal.timeout(1000) }))).toContain('PlatformOff')
  })

  test('is ready as soon as Telegram is, and says the commands once, those for everybody first', async () => {
    const commands = { all: () => [command('maintenance', [admin('settings:write')]), command('ping')] }
    telegram.next(2, 'getMe').answer(502)
    telegram.next(1, 'setMyCommands').answer(500)
    const first = await ready(await started({}, { commands }))
    await telegram.until(() => telegram.of('setMyCommands').some(({ status }) => status === 200))
    expect(telegram.of('setMyCommands').at(-1)?.payload['commands']).toEqual([
      { command: 'ping', description: 'Does ping.' },
      { command: 'maintenance', description: 'Does maintenance.' },
    ])
    await eventually(() => first.log.lines.some(({ message }) => message === 'Telegram was told the commands'))
    await first.service.stop()
    const told = telegram.of('setMyCommands').length
    const again = await ready(await started({}, { commands }))
    await telegram.until(() => telegram.of('getMe').length >= 4 && telegram.of('getUpdates').length >= 2)
    await again.service.stop()
    expect(telegram.of('setMyCommands').length).toBe(told)
    await ready(await started({}, { commands: { all: () => [command('ping')] } }))
    await telegram.until(() => telegram.of('setMyCommands').length > told)
  })

  test('a token that is revoked later turns it off', async () => {
    const { platform } = await ready(await started())
    telegram.next(1).answer(401)
    expect(await failure(platform.send('1', 'x', { signal: AbortSignal.timeout(5000) }))).toContain('PlatformOff')
    await eventually(() => platform.state().is === 'failed')
  })
})

describe('the webhook', () => {
  const env = { BINGO_TELEGRAM_MODE: 'webhook', BINGO_TELEGRAM_PUBLIC_URL: 'https://bot.example.com/' }
  const post = (secret: string | undefined, body: unknown) => {
    const headers = secret === undefined ? {} : { 'x-telegram-bot-api-secret-token': secret }
    return [
      new Request('https://bot.example.com/bot/telegram', { method: 'POST', headers }),
      typeof body === 'string' ? Buffer.from(body) : Buffer.from(JSON.stringify(body)),
    ] as const
  }
  const ping = {
    update_id: 7,
    message: { message_id: 3, chat: { id: 9, type: 'private' }, from: { id: 9, is_bot: false, first_name: 'A' }, text: '/ping' },
  }

  test('is set once, and again when it is another or somebody has removed it', async () => {
    const first = await ready(await started(env))
    expect(telegram.webhook()).toEqual({
      url: 'https://bot.example.com/bot/telegram',
      secret: expect.stringMatching(/^[\w-]{43}$/),
      allowed: ['message', 'my_chat_member'],
    })
    await first.service.stop()
    await (await ready(await started(env))).service.stop()
    expect(telegram.of('setWebhook').length).toBe(1)
    await (await ready(await started({ ...env, BINGO_TELEGRAM_PUBLIC_URL: 'https://other.example.com' }))).service.stop()
    expect(telegram.of('setWebhook').length).toBe(2)
    const polling = await ready(await started())
    await telegram.until(() => telegram.webhook() === undefined)
    await polling.service.stop()
    await ready(await started(env))
    expect(telegram.of('setWebhook').length).toBe(3)
  })

  test('takes what has the secret, and nothing else', async () => {
    const metrics = countingMetrics()
    const { platform, kept } = await ready(await started(env, { metrics }))
    const secret = telegram.webhook()?.secret ?? ''
    const wrong = [
      undefined,
      '',
      'x',
      secret.slice(1),
      `${secret}x`,
      secret.toUpperCase(),
      `${secret.slice(0, -1)}${secret.endsWith('A') ? 'B' : 'A'}`,
    ]
    for (const each of wrong)
      expect([each, await failure(platform.webhook(...post(each, ping), kept))]).toEqual([each, expect.stringContaining('SecretWrong')])
    expect(kept.given).toEqual([])
    expect(metrics.count('bingo_chat_webhooks_total', { platform: 'telegram', outcome: 'forged' })).toBe(wrong.length)
    expect((await platform.webhook(...post(secret, ping), kept)).status).toBe(200)
    expect(kept.received.map(({ command, chatId }) => [command, chatId])).toEqual([['ping', '9']])
  })

  test('acknowledges what it does not understand, refuses what is no JSON, and has what cannot be stored sent again', async () => {
    const { platform, kept } = await ready(await started(env))
    const secret = telegram.webhook()?.secret ?? ''
    for (const odd of [{}, { update_id: 'x' }, { update_id: 1, message: 5 }, { update_id: 1, poll: {} }, []])
      expect((await platform.webhook(...post(secret, odd), kept)).status).toBe(200)
    for (const broken of ['', '{', 'null', '7', '\u0000', '['.repeat(200_000)])
      expect(await failure(platform.webhook(...post(secret, broken), kept))).toContain('Unreadable')
    kept.failures.push(new Error('away'))
    expect(await failure(platform.webhook(...post(secret, ping), kept))).toContain('away')
    expect(kept.given).toEqual([])
  })

  test('takes nothing while Telegram sends nothing: it is asked', async () => {
    const { platform, kept } = await ready(await started())
    expect(await failure(platform.webhook(...post('x', ping), kept))).toContain('NotAsked')
  })

  test('without an address it is off, and says what is missing', async () => {
    const { platform, log } = await started({ BINGO_TELEGRAM_MODE: 'webhook' })
    expect(platform.state()).toEqual({ is: 'failed', why: expect.stringContaining('BINGO_TELEGRAM_PUBLIC_URL') })
    // What the configuration lacks is said for all platforms together.
    expect(log.lines).toEqual([])
    await tellingStates([platform], log).start()
    expect(log.lines.map(({ level, message }) => [level, message])).toEqual([['error', 'Telegram is off']])
    expect(telegram.calls).toEqual([])
  })

  test('Telegram sends again what was not taken, and it acts once', async () => {
    const { platform, kept } = await ready(await started(env))
    const { secret = '' } = telegram.webhook() ?? {}
    let isDown = true
    const server = Bun.serve({
      port: 0,
      async fetch(request) {
        if (isDown) return new Response(null, { status: 503 })
        return platform.webhook(request, await request.bytes(), kept).catch(() => new Response(null, { status: 500 }))
      },
    })
    ends.push(() => server.stop(true))
    await fetch(`${telegram.url}/bot${telegram.token}/setWebhook`, {
      method: 'POST',
      body: JSON.stringify({ url: server.url.href, secret_token: secret }),
    })
    const update = telegram.say('/ping')
    await telegram.until(() => telegram.pushes.length >= 2)
    isDown = false
    await telegram.until(() => telegram.pushes.some(({ status }) => status === 200))
    telegram.again(update)
    await telegram.until(() => telegram.pushes.filter(({ status }) => status === 200).length === 2)
    expect([kept.given.length, kept.received.length]).toEqual([2, 1])
  })
})
