import { expect, test } from 'bun:test'
import { generateKeyPairSync } from 'node:crypto'
import { chatErrors } from '@/core/chat'
import { openBacking } from '@/testing/backings'
import { useDiscordBots } from '@/testing/chat/discord-bots'
import type { Signing } from '@/testing/chat/fake-discord-sender'
import { useMigrated } from '@/testing/migrated'

const scene = useMigrated(async () => (await openBacking('sqlite')) as never)
const bot = useDiscordBots(scene)
const seconds = (offset: number) => String(Math.floor(Date.now() / 1000) + offset)

test('a command is handed over with all that is known of it, and answered at once', async () => {
  const { discord, receiver, url } = await bot()
  const who = { senderId: '220000000000000002', senderName: 'Eve\0\ud800', channelId: '330000000000000003', guildId: '440000000000000004' }
  const given = await discord.give(url, '/echo', { the_text: '**hi** @everyone', times: 2 }, who)
  expect(given.status).toBe(200)
  expect(given.answer).toEqual({ type: 4, data: { content: 'answer of echo', flags: 64 | 4, allowed_mentions: { parse: [] } } })
  const [incoming] = receiver.received
  expect(incoming).toMatchObject({
    ...{ platform: 'discord', id: given.id, chatId: who.channelId, isPrivate: false, senderId: who.senderId, senderName: 'Eve\ufffd' },
    ...{ command: 'echo', input: { theText: '**hi** @everyone', times: 2 } },
  })
  expect(incoming?.order).toBe(Number(BigInt(given.id) >> 11n))
  const leftMs = (incoming?.answerUntilMs as number) - Date.now()
  expect(leftMs).toBeGreaterThan(14 * 60_000)
  expect(leftMs).toBeLessThan(15 * 60_000)
})

test('with the bot alone the answer stays for both, and it is a private chat', async () => {
  const { discord, receiver, url } = await bot()
  const given = await discord.give(url, '/echo', { the_text: 'hi' })
  expect(given.answer.data?.flags).toBe(4)
  expect(receiver.received[0]?.isPrivate).toBe(true)
  // A chat of others, in which the bot only is used, is not private.
  const among = { ...discord.interaction('/echo'), context: 2 }
  expect((await discord.send(url, among)).status).toBe(200)
  expect(receiver.received[1]?.isPrivate).toBe(false)
})

test('a ping is answered, and goes no further', async () => {
  const { discord, receiver, url } = await bot()
  const response = await discord.send(url, { type: 1, id: '1', application_id: discord.applicationId, token: 'x' })
  expect([response.status, await response.json()]).toEqual([200, { type: 1 }])
  expect(receiver.received).toEqual([])
})

test('a handler that takes long is put off, and the answer put in its place', async () => {
  const { discord, platform, receiver, url } = await bot()
  receiver.answer = async () => {
    await Bun.sleep(2400)
    return 'at *last*'
  }
  receiver.later = (incoming, text) => platform.answer(incoming, text, { signal: AbortSignal.timeout(10_000) })
  const given = await discord.give(url, '/echo', { the_text: 'x' }, { guildId: '440000000000000004' })
  expect(given.answer).toEqual({ type: 5, data: { flags: 64 } })
  expect(given.tookMs).toBeLessThan(3000)
  expect(await given.shown()).toBe('at *last*')
  expect(given.history).toEqual(['at \\*last\\*'])
  expect(discord.calls.at(-1)?.body).toEqual({ content: 'at \\*last\\*', allowed_mentions: { parse: [] }, flags: 4 })
})

test('an answer that is there before Discord has heard that it was put off is sent again until it has', async () => {
  const { discord, platform, receiver, url } = await bot()
  const sent = discord.interaction('/echo', { the_text: 'x' })
  await discord.send(url, sent)
  const incoming = receiver.received[0]
  if (!incoming) throw new Error('nothing was received')
  // Discord knows nothing of this one, since its answer has not come.
  discord.next(3, 'PATCH /webhooks').answer({ status: 404, body: { message: 'Unknown Webhook', code: 10_015 } })
  discord.next(1, 'PATCH /webhooks').answer({ status: 200, body: { id: '1' } })
  await platform.answer(incoming, 'there', { signal: AbortSignal.timeout(10_000) })
  expect(discord.calls.filter(({ method }) => method === 'PATCH').map(({ status }) => status)).toEqual([404, 404, 404, 200])
})

test('an answer whose time is over is refused, and not tried for ever', async () => {
  const { discord, platform } = await bot()
  const replyTo = `${Date.now() - 4000}:nobody-knows-this`
  const late = platform.answer({ chatId: '1', replyTo }, 'late', { signal: AbortSignal.timeout(10_000) })
  await expect(late).rejects.toMatchObject({ code: 'Timeout.AnswerLate' })
  expect(discord.calls).toHaveLength(1)
})

test('what is not signed by Discord, for this application and not long ago, gets 401 and leaves nothing', async () => {
  const { discord, receiver, url, log, metrics } = await bot()
  const interaction = discord.interaction('/echo', { the_text: 'x' })
  const flipped = (index: number) => (hex: string) =>
    hex.slice(0, index) + (Number.parseInt(hex[index] as string, 16) ^ 1).toString(16) + hex.slice(index + 1)
  const changed = (body: Uint8Array, at: number) => Uint8Array.from(body, (byte, i) => (i === at ? byte ^ 1 : byte))
  const forged: Record<string, Signing> = {
    'another key': { key: generateKeyPairSync('ed25519').privateKey },
    'six minutes old': { timestamp: seconds(-360) },
    'six minutes ahead': { timestamp: seconds(360) },
    'a first byte': { mutate: ({ body }) => ({ body: changed(body, 0) }) },
    'a middle byte': { mutate: ({ body }) => ({ body: changed(body, body.length >> 1) }) },
    'a last byte': { mutate: ({ body }) => ({ body: changed(body, body.length - 1) }) },
    'one byte more': { mutate: ({ body }) => ({ body: new Uint8Array([...body, 10]) }) },
    'one byte less': { mutate: ({ body }) => ({ body: body.slice(0, -1) }) },
    'no body': { mutate: () => ({ body: new Uint8Array() }) },
    'the same JSON in other bytes': { mutate: ({ body }) => ({ body: Buffer.from(` ${Buffer.from(body)}`) }) },
    'a later time': { mutate: ({ timestamp }) => ({ timestamp: String(Number(timestamp) + 1) }) },
    'a time with a zero before it': { mutate: ({ timestamp }) => ({ timestamp: `0${timestamp}` }) },
    'no time': { mutate: () => ({ timestamp: '' }) },
    'a time that is none': { timestamp: 'now' },
    'a negative time': { timestamp: '-1' },
    'R of the signature': { mutate: ({ signature }) => ({ signature: flipped(0)(signature) }) },
    'S of the signature': { mutate: ({ signature }) => ({ signature: flipped(70)(signature) }) },
    'half a signature': { mutate: ({ signature }) => ({ signature: signature.slice(0, 64) }) },
    'more than a signature': { mutate: ({ signature }) => ({ signature: `${signature}00` }) },
    'a signature of zeros': { mutate: () => ({ signature: '0'.repeat(128) }) },
    'no signature': { mutate: () => ({ signature: '' }) },
    'a signature that is none': { mutate: () => ({ signature: 'z'.repeat(128) }) },
  }
  for (const [name, how] of Object.entries(forged)) {
    const response = await discord.send(url, interaction, how)
    expect([name, response.status, await response.json()]).toEqual([name, 401, { code: 'Unauthenticated.Signature' }])
  }
  expect(receiver.received).toEqual([])
  expect(log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message.split(':')[0])).toEqual([
    'a request to /bot/discord was not signed with discord.publicKey',
  ])
  expect(metrics.count('bingo_chat_webhooks_total', { platform: 'discord', outcome: 'stale' })).toBe(2)
  // As it was signed it passes, so what is refused is what was changed; and within five minutes.
  for (const timestamp of [seconds(0), seconds(-290), seconds(290)])
    expect((await discord.send(url, interaction, { timestamp })).status).toBe(200)
  expect(receiver.received).toHaveLength(1)
})

test('what is signed and no command of the bot is refused, and leaves nothing', async () => {
  const { discord, receiver, url } = await bot()
  const good = discord.interaction('/echo', { the_text: 'x' })
  const data = good['data'] as Record<string, unknown>
  const strange: unknown[] = [
    ...[null, [], 'x', 1, {}, { type: 3 }, { ...good, type: 4 }, { ...good, type: '2' }, { ...good, application_id: '119999999999999999' }],
    ...[
      { ...good, id: '../1' },
      { ...good, token: 'a/b' },
      { ...good, token: 'x'.repeat(600) },
      { ...good, channel_id: undefined },
    ],
    ...[
      { ...good, user: undefined },
      { ...good, user: { id: 'me' } },
      { ...good, data: undefined },
      { ...good, data: { ...data, name: 'É' } },
    ],
    ...[
      { ...good, data: { ...data, type: 3 } },
      { ...good, data: { ...data, options: [{ name: 'sub', type: 1, options: [] }] } },
    ],
    ...[{ ...good, data: { ...data, options: [{ name: 'the_text', value: { a: 1 } }] } }],
    { ...good, data: { ...data, options: Array.from({ length: 26 }, (_, i) => ({ name: `o${i}`, value: 1 })) } },
  ]
  for (const interaction of strange) expect([interaction, (await discord.send(url, interaction)).status]).toEqual([interaction, 400])
  const notText = { mutate: () => ({ body: new Uint8Array([0xff, 0xfe, 0x7b]) }) }
  expect((await discord.send(url, good, notText)).status).toBe(401)
  expect(receiver.received).toEqual([])
})

test('names of options cannot reach what all objects have', async () => {
  const { discord, receiver, url } = await bot()
  const good = discord.interaction('/echo')
  const options = ['__proto__', 'constructor', 'the_text'].map(name => ({ name, value: 'x' }))
  expect((await discord.send(url, { ...good, data: { name: 'echo', options } })).status).toBe(200)
  const input = receiver.received[0]?.input as object
  expect(Object.getPrototypeOf(input)).toBe(Object.prototype)
  expect(Object.keys(input)).toEqual(['__proto__', 'constructor', 'theText'])
})

test('what is typed is cut to what is kept of it', async () => {
  const { discord, receiver, url } = await bot()
  const long = { the_text: '\u0001'.repeat(6000), other: 'b'.repeat(3000), short: 'c', times: 3 }
  expect((await discord.send(url, discord.interaction('/echo', long))).status).toBe(200)
  const input = receiver.received[0]?.input as Record<string, string>
  expect(JSON.stringify(input).length).toBeLessThanOrEqual(4096)
  expect(input).toMatchObject({ short: 'c', times: 3 })
  expect(input['theText']?.length).toBeGreaterThan(100)
})

test('what cannot be stored is not acknowledged', async () => {
  const { discord, receiver, url } = await bot()
  receiver.fails = chatErrors.PlatformUnavailable()
  expect((await discord.give(url, '/echo', { the_text: 'x' })).status).toBe(503)
})

test('without a token nothing is taken and nothing asked, whatever else is said', async () => {
  const { discord, platform, service, receiver, url, log } = await bot({ config: { token: undefined as never } })
  expect(platform.state()).toEqual({ is: 'off', why: expect.stringContaining('BINGO_DISCORD_TOKEN') })
  const unset = await bot({ config: { token: undefined, applicationId: undefined, publicKey: undefined } as never })
  expect(unset.platform.state()).toEqual({ is: 'off', why: expect.stringContaining('BINGO_DISCORD_TOKEN') })
  await service.start()
  expect((await discord.give(url, '/echo')).status).toBe(412)
  await expect(platform.send('1', 'x', { signal: new AbortController().signal })).rejects.toMatchObject({
    code: 'FailedPrecondition.PlatformOff',
  })
  expect([receiver.received, discord.calls, log.lines]).toEqual([[], [], []])
})
