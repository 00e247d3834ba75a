import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { type Backing, onEachBacking, openBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type FakeTelegram, mostWithin, type Outcome, startTelegram, type TelegramCall } from '../chat/fake-telegram'

setDefaultTimeout(120_000)

/** What nothing of ours may take longer for, on a machine that does much else. */
const waitMs = 45_000
/** After a poller was killed: its lease, and how often others look. */
const takeoverMaxMs = 8000 + 1000
let senderId = 70_000
/** Who speaks next: of each only so much is heard in a minute. */
const nextSender = () => ++senderId

const envOf = (telegram: FakeTelegram, perSecond = 1000) => ({
  BINGO_TELEGRAM_TOKEN: telegram.token,
  BINGO_TELEGRAM_API_ROOT: telegram.url,
  BINGO_TELEGRAM_MESSAGES_PER_SECOND: String(perSecond),
})

async function freePort(): Promise<number> {
  const server = Bun.serve({ port: 0, fetch: () => new Response() })
  const { port } = server
  await server.stop(true)
  return port as number
}

/** What was sent before an answer was heard comes so much later at most. */
const underWayMs = 300
const retryAfterOf = (outcome: Outcome | undefined): number =>
  Number((outcome?.is === 'refusal' ? (outcome.parameters as { retry_after?: number }) : undefined)?.retry_after)

let running: RunningBingo[] = []
let telegram: FakeTelegram
beforeEach(async () => {
  telegram = await startTelegram()
})
afterEach(async () => {
  for (const each of running) await each.stop('SIGKILL')
  running = []
  await telegram.close()
})

async function startBot(backing: Backing, env: Record<string, string> = {}, args: readonly string[] = []): Promise<RunningBingo> {
  const bot = await startBingo({
    roles: 'bot',
    env: { ...backing.options.env, ...envOf(telegram), ...env },
    args: [...(backing.options.args ?? []), ...args],
  })
  running.push(bot)
  return bot
}

/** Says it alone with the bot. @returns what it answers */
async function ask(text: string, from = nextSender()): Promise<string> {
  const before = telegram.sentTo(from).length
  telegram.say(text, { from })
  await telegram.until(() => telegram.sentTo(from).length > before, waitMs)
  return telegram.sentTo(from).at(-1) ?? ''
}

const sends = () => telegram.of('sendMessage')

onEachBacking('two bots on one Telegram', open => {
  let backing: Backing
  beforeAll(async () => {
    backing = await open()
  })
  afterAll(() => backing.dispose())

  test('one asks; when it is killed the other does within the lease, and what was said meanwhile is answered once', async () => {
    const bots = [await startBot(backing), await startBot(backing)]
    const asks = (bot: RunningBingo) => bot.log.some(({ msg }) => msg === 'asks Telegram for what is new')
    await telegram.until(() => telegram.of('getUpdates').length > 0, waitMs)
    expect(await ask('/ping')).toBe('pong')
    const [busy, idle] = bots.toSorted((a, b) => Number(asks(b)) - Number(asks(a))) as [RunningBingo, RunningBingo]
    expect([asks(busy), asks(idle)]).toEqual([true, false])
    await busy.stop('SIGKILL')
    const killedAtMs = performance.now()
    const chats = Array.from({ length: 20 }, nextSender)
    for (const from of chats) telegram.say('/ping', { from })
    await telegram.until(() => chats.every(from => telegram.sentTo(from).length > 0), waitMs)
    const next = telegram.of('getUpdates').find(({ atMs }) => atMs > killedAtMs) as TelegramCall
    console.log(`asked again ${Math.round(next.atMs - killedAtMs)} ms after the kill`)
    expect(next.atMs - killedAtMs).toBeLessThan(takeoverMaxMs + 2000)
    expect(chats.map(from => telegram.sentTo(from))).toEqual(chats.map(() => ['pong']))
    expect(telegram.of('getUpdates').filter(({ status }) => status === 409)).toEqual([])
  })

  test('one that is stopped hands over at once', async () => {
    const first = await startBot(backing)
    expect(await ask('/ping')).toBe('pong')
    const second = await startBot(backing)
    expect(await first.stop()).toBe(0)
    const stoppedAtMs = performance.now()
    expect(await ask('/ping')).toBe('pong')
    expect(performance.now() - stoppedAtMs).toBeLessThan(5000)
    expect(await second.stop()).toBe(0)
    expect(telegram.of('setMyCommands').length).toBeLessThanOrEqual(1)
  })
})

describe('Telegram', () => {
  let backing: Backing
  beforeAll(async () => {
    backing = (await openBacking('sqlite')) as Backing
  })
  afterAll(() => backing.dispose())

  test('every command that it is told of answers, alone and in a group, and the group is not spoken to otherwise', async () => {
    await startBot(backing)
    await telegram.until(() => telegram.of('setMyCommands').length > 0, waitMs)
    const listed = telegram.of('setMyCommands')[0]?.payload['commands'] as { command: string; description: string }[]
    const names = listed.map(({ command }) => command)
    for (const name of ['ping', 'health', 'version', 'user', 'link', 'subscribe', 'unsubscribe', 'maintenance'])
      expect(names).toContain(name)
    for (const name of names) {
      const answer = await ask(`/${name}`)
      expect([name, answer]).not.toEqual([name, ''])
      expect(answer).not.toContain('went wrong')
    }
    const group = -900
    telegram.say('/ping@somebody_else_bot', { chat: group, from: 1 })
    telegram.say('good morning', { chat: group, from: 1 })
    telegram.say('/their_command', { chat: group, from: 1 })
    telegram.say('/ping', { chat: group, from: 2, isBot: true })
    telegram.say(`/PING@${telegram.bot.username.toUpperCase()}`, { chat: group, from: 3, topic: 4 })
    await telegram.until(() => telegram.sentTo(group).length > 0, waitMs)
    expect(await ask('/ping')).toBe('pong')
    expect(telegram.sentTo(group)).toEqual(['pong'])
    expect(sends().find(({ payload }) => payload['chat_id'] === String(group))?.payload).toMatchObject({ message_thread_id: 4 })
  })

  test('the webhook: forged updates get 401 and leave nothing; what is sent twice, or in disorder, acts once', async () => {
    const port = await freePort()
    const url = `http://127.0.0.1:${port}`
    const env = { BINGO_TELEGRAM_MODE: 'webhook', BINGO_TELEGRAM_PUBLIC_URL: url }
    await startBot(backing, env, [`--bot.port=${port}`])
    await telegram.until(() => telegram.webhook() !== undefined, waitMs)
    const { secret = '' } = telegram.webhook() ?? {}
    const forge = async (header: string | undefined, from: number) => {
      const message = {
        message_id: 1,
        chat: { id: from, type: 'private' },
        from: { id: from, is_bot: false, first_name: 'Eve' },
        text: '/ping',
      }
      const headers = { 'content-type': 'application/json', ...(header !== undefined && { 'x-telegram-bot-api-secret-token': header }) }
      const response = await fetch(`${url}/bot/telegram`, { method: 'POST', headers, body: JSON.stringify({ update_id: from, message }) })
      return { status: response.status, text: await response.text() }
    }
    const forged = [undefined, '', 'wrong', secret.slice(0, -1), `${secret}a`, secret.toLowerCase(), telegram.token]
    for (const [i, header] of forged.entries()) {
      const { status, text } = await forge(header, 31_000 + i)
      expect([header, status]).toEqual([header, 401])
      expect(text).not.toContain(secret)
    }
    expect((await forge(secret, 32_000)).status).toBe(200)
    await telegram.until(() => telegram.sentTo(32_000).length > 0, waitMs)
    const chats = Array.from({ length: 10 }, nextSender)
    telegram.hold()
    const updates = chats.map(from => telegram.say('/ping', { from }))
    for (const update of updates) telegram.again(update)
    telegram.release(held => held.toReversed())
    await telegram.until(() => chats.every(from => telegram.sentTo(from).length > 0), waitMs)
    for (const update of updates) telegram.again(update)
    expect(await ask('/ping')).toBe('pong')
    await telegram.until(() => telegram.pushes.length >= 31, waitMs)
    expect(new Set(telegram.pushes.map(({ status }) => status))).toEqual(new Set([200]))
    expect(chats.map(from => telegram.sentTo(from))).toEqual(chats.map(() => ['pong']))
    for (const [i] of forged.entries()) expect(telegram.sentTo(31_000 + i)).toEqual([])
  })

  test('a storm of 429 is obeyed: nobody is called before it is over, and the first within 250 ms after', async () => {
    const perSecond = 100
    await startBot(backing, envOf(telegram, perSecond))
    expect(await ask('/ping')).toBe('pong')
    const chats = Array.from({ length: 60 }, nextSender)
    const calm = sends().length
    // Of one alone it could be that chat.
    telegram.next(2).answer(429, { retryAfterSeconds: 2 })
    for (const from of chats) telegram.say('/ping', { from })
    const refusals = () => sends().filter(({ status }) => status === 429)
    await telegram.until(() => refusals().length === 2, waitMs)
    telegram.next(2).answer(429, { retryAfterSeconds: 1 })
    await telegram.until(() => chats.every(from => telegram.sentTo(from).length > 0), waitMs)
    const storm = sends().slice(calm)
    expect(refusals().length).toBe(4)
    const overAtMs = ({ endedAtMs = 0, outcome }: TelegramCall) => endedAtMs + 1000 * retryAfterOf(outcome)
    const lateMs: number[] = []
    for (const refusal of refusals()) {
      const { endedAtMs = 0 } = refusal
      const early = storm.filter(({ atMs }) => atMs > endedAtMs + underWayMs && atMs < overAtMs(refusal))
      expect(early.map(({ atMs }) => atMs - endedAtMs)).toEqual([])
      // Those that were under way together are over with the last of them.
      const over = Math.max(
        ...refusals()
          .filter(other => (other.endedAtMs ?? 0) <= endedAtMs + underWayMs)
          .map(overAtMs),
      )
      lateMs.push(Math.min(...storm.filter(({ atMs }) => atMs >= over).map(({ atMs }) => atMs - over)))
    }
    console.log(`called again ${lateMs.map(Math.round).join(', ')} ms after what was asked for`)
    expect(Math.max(...lateMs)).toBeLessThan(250)
    expect(chats.map(from => telegram.sentTo(from))).toEqual(chats.map(() => ['pong']))
    expect(mostWithin(900, storm)).toBeLessThanOrEqual(perSecond)
  })

  test('a token that is wrong is said once with the remedy; everything else goes on', async () => {
    const bot = await startBot(backing, { BINGO_TELEGRAM_TOKEN: '1:nobody-has-this' })
    await telegram.until(() => telegram.calls.length > 0, waitMs)
    await Bun.sleep(2000)
    expect(telegram.calls.map(({ method, status }) => [method, status])).toEqual([['getMe', 401]])
    const said = bot.log.filter(({ level }) => level === 'error')
    expect(said.map(({ msg, why }) => [msg, String(why).includes('BINGO_TELEGRAM_TOKEN')])).toEqual([['Telegram is off', true]])
    expect((await fetch(`${bot.urls['bot']}/readyz`)).status).toBe(200)
    expect(await (await fetch(`${bot.urls['bot']}/readyz?verbose`)).text()).toContain('telegram: failed')
    expect(JSON.stringify(bot.log)).not.toContain('nobody-has-this')
  })
})
