import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { generateKeyPairSync } from 'node:crypto'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { type AdministratorClient, newAdministrator, newUser, type UserClient } from '../clients'
import { eventually } from '../eventually'
import { type FakeDiscord, startDiscord } from '../chat/fake-discord'
import type { Options, Signing } from '../chat/fake-discord-sender'
import { freePort } from '../servers'

/** The executable with a Discord of our own: the API in one process, the bot in another. */
const folder = temporaryFolder()
// A process that is killed is not waited for for long.
const shared = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db`, BINGO_QUEUE_LEASE_MS: '3000' }
let discord: FakeDiscord
let api: RunningBingo
let bot: RunningBingo
let administrator: AdministratorClient
let rpcPort: number

const startBot = (env: Record<string, string> = {}, args: readonly string[] = []) =>
  startBingo({ roles: 'bot', args, env: { ...shared, BINGO_RPC_TARGET: `127.0.0.1:${rpcPort}`, ...discord.env, ...env } })

beforeAll(async () => {
  discord = await startDiscord()
  rpcPort = freePort()
  api = await startBingo({ roles: 'api,admin,scheduler', args: [`--rpc.port=${rpcPort}`], env: shared })
  administrator = await newAdministrator(api.urls['admin'] ?? '', shared)
  bot = await startBot()
}, 120_000)

afterAll(async () => {
  await Promise.all([api?.stop(), bot?.stop()])
  await discord?.stop()
  folder[Symbol.dispose]()
})

const inServer = { guildId: '440000000000000001', channelId: '330000000000000009' }
let people = 0
/** Somebody new, since each person may say only so much in a minute. */
const somebody = () => {
  const number = String(++people).padStart(4, '0')
  return { senderId: `22000000000000${number}`, channelId: `33000000000000${number}`, senderName: `Person ${number}` }
}
const said = async (command: string, options: Options = {}, who = somebody()) =>
  (await discord.give(bot.url, command, options, who)).shown()

async function linked(client: UserClient | AdministratorClient, path: string, body?: unknown) {
  const who = somebody()
  const { body: made } = await client.send<{ code: string }>('POST', path, body)
  expect(await said('/link', { code: made.code }, who)).toContain('You are the')
  return who
}
const linkedUser = async () => {
  const client = await newUser(api.urls['api'] ?? '')
  return { ...client, who: await linked(client, `${api.urls['api']}/api/v1/me/chat-links`, { currentPassword: client.password }) }
}

const kept = () =>
  new Database(`${folder.path}/bingo.db`, { readonly: true }).query('select count(*) as "count" from "chatUpdate"').get() as {
    count: number
  }

test('Discord is told every command, with its options', async () => {
  await eventually(() => discord.commands().length > 0)
  const names = discord.commands().map(({ name }) => name)
  for (const name of ['ping', 'help', 'health', 'version', 'user', 'link', 'unlink', 'whoami', 'subscribe', 'unsubscribe', 'maintenance'])
    expect(names).toContain(name)
  const { options } = discord.commands().find(({ name }) => name === 'maintenance') ?? { options: [] }
  expect(options[0]).toMatchObject({ name: 'state', required: true, choices: [{ value: 'on' }, { value: 'off' }] })
})

test('every command is answered, as its access says', async () => {
  expect(await said('/ping')).toBe('pong')
  expect(await said('/version')).toMatch(/^bingo \d/)
  expect(await said('/help')).toContain('/ping – ')
  expect(await said('/help')).not.toContain('/maintenance')
  expect(await said('/health')).toContain('api')
  expect(await said('/whoami')).toContain('I do not know whose account')
  expect(await said('/unlink')).toContain('not linked')
  expect(await said('/link', { code: 'nonsense' })).not.toContain('You are the')
  expect(await said('/subscribe')).toContain('news:')
  const who = somebody()
  expect(await said('/subscribe', { topic: 'news' }, who)).toContain('You get news from now on')
  expect(await said('/unsubscribe', { topic: 'news' }, who)).toContain('has ended')
  for (const [command, options] of [
    ['/user', {}],
    ['/maintenance', { state: 'on' }],
  ] as const)
    expect(await said(command, options)).toContain('Link this chat account to yours first')
  expect(await said('/nothing-like-it'.replaceAll('-', '_'))).toContain('This is what I can do for you')
}, 60_000)

test('a linked user sees the own account, and nobody else’s', async () => {
  const { user, who } = await linkedUser()
  expect(await said('/whoami', {}, who)).toContain(`the user ${user.username}`)
  expect(await said('/user', {}, who)).toContain(user.email)
  const other = await linkedUser()
  expect(await said('/user', { name: other.user.username }, who)).not.toContain(other.user.email)
  expect(await said('/maintenance', { state: 'on' }, who)).not.toContain('is closed')
  // In a server nothing is said that is not for everybody there, and only who has asked sees it.
  const given = await discord.give(bot.url, '/user', {}, { ...who, ...inServer })
  expect(await given.shown()).not.toContain(user.email)
  expect((given.answer.data?.flags as number) & 64).toBe(64)
}, 60_000)

test('an administrator closes the API and opens it again, and that is in the audit log', async () => {
  const who = await linked(administrator, `${api.urls['admin']}/admin/v1/me/chat-links`)
  expect(await said('/maintenance', { state: 'on', message: 'Back *soon*' }, who)).toContain('closed for maintenance')
  const readUser = async () => (await fetch(`${api.urls['api']}/api/v1/users`)).status
  await eventuallyIs(503, readUser)
  expect(await said('/maintenance', { state: 'off' }, who)).toContain('open')
  await eventuallyIs(401, readUser)
  const { body } = await administrator.send<{ items: { address: string }[] }>(
    'GET',
    `${api.urls['admin']}/admin/v1/audit-events?pageSize=50`,
  )
  expect(body.items.filter(({ address }) => address === `discord:${who.senderId}`).length).toBeGreaterThanOrEqual(2)
}, 60_000)

async function eventuallyIs(status: number, read: () => Promise<number>): Promise<void> {
  let last = 0
  for (let i = 0; i < 300 && last !== status; i++) {
    last = await read()
    if (last !== status) await Bun.sleep(50)
  }
  expect(last).toBe(status)
}

test('a command that takes long is put off within three seconds, and answered when it can be', async () => {
  const { user, who } = await linkedUser()
  process.kill(api.pid, 'SIGSTOP')
  let given: Awaited<ReturnType<FakeDiscord['give']>>
  try {
    given = await discord.give(bot.url, '/user', {}, { ...who, ...inServer })
  } finally {
    process.kill(api.pid, 'SIGCONT')
  }
  expect(given.answer).toEqual({ type: 5, data: { flags: 64 } })
  expect(given.tookMs).toBeLessThan(3000)
  expect(given.tookMs).toBeGreaterThan(1500)
  expect(await given.shown(30_000)).toContain(user.username)
  expect(given.history).toHaveLength(1)
}, 60_000)

test('what is sent twice acts once', async () => {
  const who = somebody()
  const before = kept().count
  const sent = discord.interaction('/subscribe', { topic: 'news' }, who)
  const answers = await Promise.all([discord.send(bot.url, sent), discord.send(bot.url, sent), discord.send(bot.url, sent)])
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  const contents = await Promise.all(answers.map(answer => answer.json() as Promise<{ type: number }>))
  expect(contents.filter(({ type }) => type === 4)).toHaveLength(1)
  expect(kept().count).toBe(before + 1)
}, 30_000)

test('what is forged, stale or changed on the way gets 401 and leaves nothing', async () => {
  const before = kept().count
  const now = Math.floor(Date.now() / 1000)
  const forged: Signing[] = [
    { key: generateKeyPairSync('ed25519').privateKey },
    { timestamp: String(now - 360) },
    { timestamp: String(now + 360) },
    { mutate: ({ body }) => ({ body: Buffer.from(Buffer.from(body).toString().replace('"ping"', '"help"')) }) },
    { mutate: ({ body }) => ({ body: new Uint8Array([...body, 32]) }) },
    { mutate: ({ signature }) => ({ signature: signature.replace(/^../, pair => (pair === '00' ? '01' : '00')) }) },
    { mutate: () => ({ signature: '' }) },
  ]
  for (const how of forged) {
    const response = await discord.send(bot.url, discord.interaction('/ping', {}, somebody()), how)
    expect([response.status, response.headers.get('content-type')]).toEqual([401, 'application/problem+json'])
  }
  expect((await discord.send(bot.url, { type: 3 })).status).toBe(400)
  expect((await discord.send(bot.url, { type: 1, junk: 'x'.repeat(300_000) })).status).toBe(413)
  expect(await (await discord.send(bot.url, { type: 1 })).json()).toEqual({ type: 1 })
  expect(kept().count).toBe(before)
})

test('nothing that strangers send, and no token, is in the log', async () => {
  const canary = `canary${crypto.randomUUID().slice(0, 8)}`
  await said('/link', { code: canary }, { ...somebody(), senderName: canary })
  const written = JSON.stringify(bot.log) + bot.stderr()
  for (const secret of [canary, discord.token]) expect(written).not.toContain(secret)
})

test('an announcement gets into every channel once, through a storm of 429, and leaves those that are gone', async () => {
  const channels = Array.from({ length: 12 }, (_, i) => `3500000000000000${String(i).padStart(2, '0')}`)
  for (const channelId of channels) await said('/subscribe', { topic: 'maintenance' }, { ...somebody(), ...inServer, channelId })
  discord.close(channels[0] as string)
  for (const [i, scope] of (['user', 'shared', 'global'] as const).entries())
    discord.next(2, `POST /channels/${channels[i + 1]}`).answer({ status: 429, retryAfterSeconds: 0.6 + i * 0.2, scope })
  discord.next(1, `POST /channels/${channels[4]}`).answer({ status: 503 })
  // Done, and the answer lost.
  discord.next(1, `POST /channels/${channels[5]}`).answer({ drops: true })
  const root = `${api.urls['admin']}/admin/v1/announcements`
  const { status, body } = await administrator.send<{ id: string }>('POST', root, { topic: 'maintenance', text: 'Down at *ten*.' })
  expect(status).toBe(201)
  const progress = async () => (await administrator.send<Announced>('GET', `${root}/${body.id}`)).body
  let seen = await progress()
  for (let i = 0; i < 600 && seen.state !== 'sent'; i++) {
    await Bun.sleep(50)
    seen = await progress()
  }
  expect(seen).toMatchObject({ state: 'sent', progress: { total: 12, sent: 11, gone: 1, failed: 0, pending: 0 } })
  expect(discord.messages.map(({ channelId }) => channelId).toSorted()).toEqual(channels.slice(1))
  expect(discord.messages.every(({ content }) => content === 'Down at \\*ten\\*.')).toBe(true)
  expect(discord.limits.early).toEqual([])
  expect(Math.max(...discord.limits.lateMs)).toBeLessThan(250)
}, 120_000)

interface Announced extends Record<string, unknown> {
  state: string
  progress: Record<string, number>
}

test('a bot that is killed after it has stored a command does it when it is there again', async () => {
  const { user, who } = await linkedUser()
  process.kill(api.pid, 'SIGSTOP')
  const given = await discord.give(bot.url, '/user', {}, who)
  expect(given.answer.type).toBe(5)
  await bot.stop('SIGKILL')
  process.kill(api.pid, 'SIGCONT')
  const puts = () => discord.calls.filter(({ method }) => method === 'PUT').length
  const told = puts()
  bot = await startBot()
  expect(await given.shown(60_000)).toContain(user.username)
  expect(given.history).toHaveLength(1)
  // It is the same that Discord knows already.
  expect(puts()).toBe(told)
}, 120_000)

test('with a token that is wrong the bot says so once, and everything else goes on', async () => {
  const wrong = await startBot({ BINGO_DISCORD_TOKEN: 'wrong-token' })
  try {
    await eventually(() => wrong.log.some(({ level, msg }) => level === 'error' && msg.includes('Discord')))
    const readiness = await fetch(`${wrong.ops}/readyz?verbose`)
    const text = await readiness.text()
    expect([readiness.status, text]).toEqual([200, expect.stringContaining('discord: failed')])
    const lines = wrong.log.filter(({ level }) => level === 'warn' || level === 'error')
    expect(lines.map(({ msg, why }) => [msg, String(why).includes('BINGO_DISCORD_TOKEN')])).toEqual([['Discord is off', true]])
    expect(JSON.stringify(wrong.log)).not.toContain('wrong-token')
    expect((await discord.send(wrong.url, { type: 1 })).status).toBe(200)
  } finally {
    await wrong.stop()
  }
}, 60_000)

test('without a token there is no such path, and no complaint', async () => {
  const off = await startBingo({ roles: 'bot', env: shared })
  try {
    expect((await discord.send(off.url, { type: 1 })).status).toBe(404)
    expect(off.log.filter(({ level }) => level === 'warn' || level === 'error')).toEqual([])
  } finally {
    await off.stop()
  }
}, 60_000)
