import { afterAll, afterEach, beforeAll, expect, setDefaultTimeout, test } from 'bun:test'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { type AdministratorClient, newAdministrator } from '../clients'
import { until } from '../conformance/cache-fixture'
import { type FakeDiscord, startDiscord } from '../chat/fake-discord'
import { send } from '../http-client'
import { type FakeTelegram, startTelegram } from '../chat/fake-telegram'

setDefaultTimeout(90_000)

/** What a process has at hand is somebody else's so soon after it was killed; 30 s by default, and Redis needs more than SQLite. */
const leaseMs = '6000'
const telegramEnv = (telegram: FakeTelegram) => ({
  BINGO_TELEGRAM_TOKEN: telegram.token,
  BINGO_TELEGRAM_API_ROOT: telegram.url,
  BINGO_TELEGRAM_MESSAGES_PER_SECOND: '1000',
  BINGO_QUEUE_LEASE_MS: leaseMs,
})
const waitMs = 45_000
/** Who speaks next: of each only so much is heard in a minute. */
let senderId = 5000
const nextSender = () => ++senderId

onEachBacking('the bot', open => {
  let backing: Backing
  let telegram: FakeTelegram
  let discord: FakeDiscord
  let bingo: RunningBingo
  let administrator: AdministratorClient
  let env: Record<string, string>
  beforeAll(async () => {
    backing = await open()
    telegram = await startTelegram()
    discord = await startDiscord()
    env = { ...backing.options.env, ...telegramEnv(telegram), ...discord.env }
    bingo = await startBingo({ roles: 'api,admin,bot', env, args: backing.options.args ?? [] })
    administrator = await newAdministrator(bingo.urls['admin'] ?? '', env)
  }, 90_000)
  afterAll(async () => {
    await bingo.stop()
    await telegram.close()
    await discord.stop()
    await backing.dispose()
  })

  /** Says it alone with the bot. @returns what it answers */
  async function ask(text: string, from = nextSender()): Promise<string> {
    const before = telegram.sentTo(from).length
    telegram.say(text, { from })
    await telegram.until(() => telegram.sentTo(from).length > before, waitMs)
    return telegram.sentTo(from).at(-1) ?? ''
  }

  test('both platforms answer, each in its own way', async () => {
    expect(await ask('/ping')).toBe('pong')
    expect(await (await discord.give(bingo.urls['bot'] ?? '', '/ping')).shown()).toBe('pong')
    expect(await ask('/version')).toStartWith('bingo ')
    const [help, start, unknown, talk] = [await ask('/help'), await ask('/start abc'), await ask('/nothing'), await ask('hello there')]
    expect(help).toContain('/ping – ')
    expect(help).not.toContain('/maintenance')
    expect([start, talk]).toEqual([help, help])
    expect(unknown).toStartWith('I do not know that.')
  })

  test('everybody sees whether it runs, and who may see it with every process', async () => {
    const stranger = await ask('/health')
    for (const line of ['Not everything runs.', 'api: runs', 'admin: runs', 'bot: runs', 'scheduler: does not run'])
      expect(stranger.split('\n')).toContain(line)
    expect(stranger).not.toContain('process')
    const from = nextSender()
    await link(from)
    const seen = await ask('/health', from)
    expect(seen).toContain(`(process ${bingo.pid}), version `)
    expect(seen).toContain('database: there')
  })

  async function link(from: number): Promise<void> {
    const { status, body } = await administrator.send('POST', `${bingo.urls['admin']}/admin/v1/me/chat-links`, undefined)
    if (status !== 201) throw new Error(`answered ${status}: ${JSON.stringify(body)}`)
    await ask(String(body['command']), from)
  }

  test('an administrator closes the API server from a chat, which is written down; nobody else does', async () => {
    const isOpen = async () => (await send('GET', `${bingo.urls['api']}/api/v1/users`)).status !== 503
    expect(await ask('/maintenance on')).toStartWith('Link this chat account to yours first')
    expect(await isOpen()).toBe(true)
    const from = nextSender()
    await link(from)
    expect(await ask('/maintenance on until noon', from)).toStartWith('The API server is closed')
    await until(async () => !(await isOpen()))
    expect((await send('GET', `${bingo.urls['api']}/api/v1/users`)).body).toMatchObject({ detail: 'until noon' })
    expect(await ask('/maintenance off', from)).toStartWith('The API server is open')
    await until(isOpen)
    const { body } = await administrator.send('GET', `${bingo.urls['admin']}/admin/v1/audit-events?action=setting.change`, undefined)
    const events = body['items'] as Record<string, unknown>[]
    expect(events.map(({ address, actorName }) => [address, actorName])).toEqual(
      Array(2).fill([`telegram:${from}`, administrator.username]),
    )
  })

  test('what is sent again, or by both at once, is answered once', async () => {
    const from = nextSender()
    telegram.hold()
    const update = telegram.say('/ping', { from })
    for (let i = 0; i < 5; i++) telegram.again(update)
    telegram.release()
    await telegram.until(() => telegram.sentTo(from).length > 0, waitMs)
    telegram.again(update)
    expect(await ask('/version', from)).toStartWith('bingo ')
    expect(telegram.sentTo(from)).toHaveLength(2)
  })

  test('its page of health says where the platforms stand, and its log nothing of what was said', async () => {
    const verbose = await (await fetch(`${bingo.urls['bot']}/readyz?verbose`)).text()
    expect(verbose.split('\n')).toEqual(expect.arrayContaining(['telegram: ready', 'discord: ready']))
    await ask('/ping a-word-that-nobody-logs')
    expect(JSON.stringify(bingo.log)).not.toContain('a-word-that-nobody-logs')
  })

  test('bots that are killed and bots that are stopped lose nothing: every chat is answered, and once but for what was being sent', async () => {
    await bingo.stop()
    const chats = Array.from({ length: 300 }, nextSender)
    const start = () => startBingo({ roles: 'bot', env, args: backing.options.args ?? [] })
    let bot = await start()
    telegram.meet(({ method }) => (method === 'sendMessage' ? { is: 'slow', ms: 100 } : undefined))
    for (const from of chats) telegram.say('/ping', { from })
    const answered = () => chats.filter(from => telegram.sentTo(from).length > 0).length
    for (const [signal, count] of [
      ['SIGKILL', 40],
      ['SIGTERM', 120],
      ['SIGKILL', 200],
    ] as const) {
      await telegram.until(() => answered() >= count, waitMs)
      expect(await bot.stop(signal)).toBe(signal === 'SIGTERM' ? 0 : 137)
      bot = await start()
    }
    await telegram.until(() => answered() === chats.length, waitMs)
    telegram.meet(() => undefined)
    await bot.stop()
    bingo = await startBingo({ roles: 'api,admin,bot', env, args: backing.options.args ?? [] })
    const counts = chats.map(from => telegram.sentTo(from).length)
    // As many as it works at a time may have been on their way when it was killed, twice.
    expect(counts.filter(count => count > 1).length).toBeLessThanOrEqual(2 * 16)
    expect(Math.max(...counts)).toBeLessThanOrEqual(3)
  })
})

const ends: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const end of ends.splice(0)) await end()
})

test('without any token everything else works, and one line says so', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ roles: 'all', env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` } })
  ends.push(() => bingo.stop())
  expect(bingo.log.filter(({ msg }) => /telegram|discord|platform/i.test(msg)).map(({ level, msg }) => [level, msg])).toEqual([
    ['info', 'no chat platform is configured, so the bot answers nobody'],
  ])
  const ready = await fetch(`${bingo.urls['bot']}/readyz?verbose`)
  expect([ready.status, (await ready.text()).trim().split('\n').slice(-2)]).toEqual([200, ['telegram: off', 'discord: off']])
  for (const name of ['telegram', 'discord'])
    expect(await send('POST', `${bingo.urls['bot']}/bot/${name}`, {})).toMatchObject({ status: 404, body: { code: 'NotFound.NoPlatform' } })
  const tooLarge = await send('POST', `${bingo.urls['bot']}/bot/telegram`, { text: 'x'.repeat(300_000) })
  expect(tooLarge.status).toBe(404)
})

test('what is too large is refused before any platform sees it', async () => {
  using folder = temporaryFolder()
  const telegram = await startTelegram()
  const bingo = await startBingo({ roles: 'bot', env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db`, ...telegramEnv(telegram) } })
  ends.push(() => bingo.stop(), telegram.close)
  expect(await send('POST', `${bingo.urls['bot']}/bot/telegram`, { text: 'x'.repeat(300_000) })).toMatchObject({ status: 413 })
})
