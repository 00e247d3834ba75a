import { expect, test } from 'bun:test'
import type { ChatPlatform } from '@/core/chat'
import type { AppError } from '@/core/error'
import { defineCommand } from '@/core/command'
import { everyone } from '@/core/access'
import { Type } from '@/core/schema'
import { openBacking } from '@/testing/backings'
import { useDiscordBots } from '@/testing/chat/discord-bots'
import { eventually } from '@/testing/eventually'
import { inTime } from '@/testing/in-time'
import { useMigrated } from '@/testing/migrated'

const scene = useMigrated(async () => (await openBacking('sqlite')) as never, ['chatPlatform'])
const bot = useDiscordBots(scene)
const signal = AbortSignal.timeout(120_000)
const channel = (i: number) => `3300000000000000${String(i).padStart(2, '0')}`
const refusal = (work: Promise<unknown>) =>
  work.then(
    () => undefined,
    (thrown: AppError) => thrown,
  )

async function become(platform: ChatPlatform, is: string): Promise<void> {
  await eventually(() => platform.state().is === is)
}

test('a message is plain, calls nobody and shows no previews', async () => {
  const { discord, platform } = await bot()
  const id = await platform.send(channel(1), '**Down** @everyone [x](https://a.example)', { signal })
  expect(discord.messages).toEqual([
    {
      ...{ id, channelId: channel(1), flags: 4, allowedMentions: { parse: [] } },
      content: '\\*\\*Down\\*\\* \\@everyone \\[x](https://a.example)',
    },
  ])
})

test('a message that says a key is shown once, however often it is sent', async () => {
  const { discord, platform } = await bot()
  discord.next(1, 'POST /channels').answer({ drops: true })
  expect(await refusal(platform.send(channel(1), 'news', { signal, key: 'a1' }))).toMatchObject({ code: 'Unavailable.PlatformUnavailable' })
  const id = await platform.send(channel(1), 'news', { signal, key: 'a1' })
  expect(discord.messages.map(message => message.id)).toEqual([id])
  await platform.send(channel(2), 'news', { signal, key: 'a1' })
  await platform.send(channel(1), 'news', { signal, key: 'a2' })
  await platform.send(channel(1), 'news', { signal })
  await platform.send(channel(1), 'news', { signal })
  expect(discord.messages).toHaveLength(5)
})

test('a channel that cannot be written to any more is gone; a message that is not taken is refused; all else may come back', async () => {
  const { discord, platform } = await bot()
  discord.close(channel(1), 50_001)
  discord.close(channel(2), 10_003)
  const codes: unknown[] = []
  for (const each of [channel(1), channel(2)]) codes.push((await refusal(platform.send(each, 'x', { signal })))?.code)
  const answers = [
    ...[
      { status: 400, body: { code: 50_035, message: 'Invalid Form Body' } },
      { status: 403, body: { code: 200_000, message: 'Blocked' } },
    ],
    // What stands before Discord has no codes, and says nothing of a channel.
    ...[
      { status: 403, body: '<html>' },
      { status: 404, body: {} },
      { status: 500 },
      { status: 502, body: null },
      { status: 200, body: {} },
    ],
    ...[{ status: 200, body: { id: '1', more: 'x'.repeat(2_000_000) } }, { drops: true }],
  ]
  for (const answer of answers) {
    discord.next(1, 'POST /channels').answer(answer)
    codes.push((await refusal(platform.send(channel(3), 'x', { signal })))?.code)
  }
  expect(codes).toEqual([
    ...['NotFound.ChatGone', 'NotFound.ChatGone', 'InvalidArgument.MessageRefused', 'InvalidArgument.MessageRefused'],
    ...Array.from({ length: 7 }, () => 'Unavailable.PlatformUnavailable'),
  ])
  // Nothing of it was tried again by itself.
  expect(discord.calls).toHaveLength(11)
})

test('what an error says holds neither token nor address', async () => {
  const { discord, platform } = await bot()
  discord.next(2).answer({ status: 400, body: { code: 50_035, message: 'no' } })
  const refused = await refusal(platform.send(channel(1), 'x', { signal }))
  const edit = await refusal(platform.answer({ chatId: '1', replyTo: '0:secret-reply' }, 'x', { signal }))
  for (const thrown of [refused, edit]) {
    const shown = Bun.inspect(thrown) + Bun.inspect(thrown?.cause)
    for (const secret of [discord.token, 'secret-reply', channel(1), discord.apiRoot]) expect(shown).not.toContain(secret)
  }
})

test('a storm of 429: nothing is asked before its time, and the first within 250 ms after it', async () => {
  await inTime(async () => {
    const { discord, platform } = await bot({ channelMessages: 100_000, globalCalls: 100_000 })
    for (const [i, scope] of (['user', 'shared', 'user', 'global'] as const).entries())
      discord.next(2, `POST /channels/${channel(i)}`).answer({ status: 429, retryAfterSeconds: 0.7 + i * 0.13, scope })
    const sends = Array.from({ length: 24 }, (_, i) => platform.send(channel(i % 6), `message ${i}`, { signal }))
    await Promise.all(sends)
    expect(discord.messages).toHaveLength(24)
    expect(discord.calls.filter(({ status }) => status === 429).length).toBeGreaterThanOrEqual(8)
    expect(discord.limits.early).toEqual([])
    expect(discord.limits.lateMs.length).toBeGreaterThanOrEqual(8)
    expect(Math.max(...discord.limits.lateMs)).toBeLessThan(250)
  })
}, 30_000)

test('the limit of a channel holds also when Discord says in between how its bucket is called', async () => {
  const { discord, platform } = await bot()
  discord.next(1, `POST /channels/${channel(1)}`).answer({ status: 429, retryAfterSeconds: 1 })
  const first = platform.send(channel(1), 'first', { signal })
  await eventually(() => discord.calls.some(({ status }) => status === 429))
  await platform.send(channel(2), 'its answer names the bucket', { signal })
  await Promise.all([first, platform.send(channel(1), 'second', { signal })])
  expect(discord.limits.early).toEqual([])
  expect(discord.messages).toHaveLength(3)
})

test('what one process is told of the whole bot holds for another', async () => {
  await inTime(async () => {
    const first = await bot({ channelMessages: 100_000, globalCalls: 100_000 })
    const { discord } = first
    const second = await bot({ beside: discord })
    await second.platform.send(channel(1), 'before', { signal })
    discord.next(1, 'POST /channels').answer({ status: 429, retryAfterSeconds: 1.5, scope: 'global' })
    const waiting = first.platform.send(channel(2), 'first', { signal })
    await eventually(() => discord.calls.some(({ status }) => status === 429))
    // As long as a process may take to learn of it.
    await Bun.sleep(300)
    await Promise.all([waiting, ...[3, 4, 5].map(i => second.platform.send(channel(i), 'second', { signal }))])
    expect(discord.limits.early).toEqual([])
    expect(Math.max(...discord.limits.lateMs)).toBeLessThan(250)
  })
}, 30_000)

test('the limits that Discord announces are kept, so that there is no 429', async () => {
  const { discord, platform } = await bot({ channelMessages: 3, channelWindowMs: 2000, config: { messagesPerSecond: 40 } })
  const work = Promise.all(Array.from({ length: 5 }, (_, i) => platform.send(channel(1), `m${i}`, { signal })))
  await Promise.all([work, ...Array.from({ length: 60 }, (_, i) => platform.send(channel(10 + (i % 30)), `m${i}`, { signal }))])
  expect(discord.messages).toHaveLength(65)
  expect(discord.calls.filter(({ status }) => status === 429)).toEqual([])
  const atMs = discord.calls.map(call => call.atMs).toSorted((a, b) => a - b)
  for (let i = 50; i < atMs.length; i++) expect((atMs[i] as number) - (atMs[i - 50] as number)).toBeGreaterThan(900)
}, 30_000)

test('a wait that is longer than a call waits is said, and what is asked meanwhile is not sent', async () => {
  const { discord, platform } = await bot()
  discord.next(1, `POST /channels/${channel(1)}`).answer({ status: 429, retryAfterSeconds: 60.5 })
  const first = await refusal(platform.send(channel(1), 'x', { signal }))
  const again = await refusal(platform.send(channel(1), 'x', { signal }))
  for (const thrown of [first, again]) {
    expect(thrown?.code).toBe('ResourceExhausted.PlatformBusy')
    expect(thrown?.retryAfterSeconds).toBeGreaterThan(59)
    expect(thrown?.retryAfterSeconds).toBeLessThan(61)
  }
  expect(discord.calls).toHaveLength(1)
  discord.next(1, 'POST /channels').answer({ status: 429, retryAfterSeconds: 30, scope: 'global' })
  for (const each of [channel(2), channel(3)])
    expect((await refusal(platform.send(each, 'x', { signal })))?.retryAfterSeconds).toBeGreaterThan(29)
  expect(discord.calls).toHaveLength(2)
})

test('a 429 that does not say how long is waited out for long', async () => {
  const { discord, platform } = await bot()
  const server = Bun.serve({ port: 0, hostname: '127.0.0.1', fetch: () => new Response('error code: 1015', { status: 429 }) })
  const other = await bot({ beside: discord, config: { apiRoot: `http://127.0.0.1:${server.port}/api` } })
  expect((await refusal(other.platform.send(channel(1), 'x', { signal })))?.retryAfterSeconds).toBeGreaterThan(25)
  await server.stop(true)
  expect(platform.state().is).toBe('starting')
})

test('who stops waiting is let go at once, and nothing is sent for him', async () => {
  const { discord, platform } = await bot()
  discord.next(1, 'POST /channels').answer({ status: 429, retryAfterSeconds: 2 })
  const leaving = new AbortController()
  const startedAtMs = performance.now()
  const send = platform.send(channel(1), 'x', { signal: leaving.signal })
  await eventually(() => discord.calls.length > 0)
  await Bun.sleep(100)
  leaving.abort(new Error('enough'))
  await expect(send).rejects.toThrow('enough')
  expect(performance.now() - startedAtMs).toBeLessThan(1500)
  await Bun.sleep(2500)
  expect(discord.calls).toHaveLength(1)
}, 10_000)

test('commands are told when they are others than were told last', async () => {
  const first = await bot()
  const { discord } = first
  await first.service.start()
  await become(first.platform, 'ready')
  expect(discord.commands().map(({ name }) => name)).toEqual(['echo'])
  const puts = () => discord.calls.filter(({ method }) => method === 'PUT').length
  const same = await bot({ beside: discord })
  await same.service.start()
  await become(same.platform, 'ready')
  expect(puts()).toBe(1)
  const other = defineCommand({ name: 'other', summary: 'Another.', args: Type.Object({}), access: [everyone()], run: async () => '' })
  const changed = await bot({ beside: discord, commands: [other] })
  await changed.service.start()
  await become(changed.platform, 'ready')
  expect([puts(), discord.commands().map(({ name }) => name)]).toEqual([2, ['other']])
})

test('a start while Discord is away goes on until it is there', async () => {
  const { discord, platform, service, log } = await bot()
  discord.next(1, 'GET').answer({ status: 503 })
  discord.next(1, 'PUT').answer({ drops: true })
  await service.start()
  await become(platform, 'ready')
  expect(discord.commands()).toHaveLength(1)
  expect(log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
})

test('what goes wrong before Discord is asked is a fault of ours: said once as an error, and not as Discord being away', async () => {
  const broken = defineCommand({ name: 'broken', summary: 'Broken.', args: Type.Object({}), access: [everyone()], run: async () => '' })
  const { platform, service, log, discord } = await bot({ commands: [{ ...broken, args: undefined as never }] })
  await service.start()
  await become(platform, 'failed')
  expect(platform.state().why).toContain('a fault of ours')
  expect(log.lines.filter(({ level }) => level !== 'debug').map(({ level }) => level)).toEqual(['error'])
  expect(discord.calls.map(({ method }) => method)).toEqual(['GET'])
})

test('a token that Discord does not take: said once, nothing more is asked, and commands are still answered', async () => {
  const { discord, platform, service, log, url } = await bot({ config: { token: 'wrong' } })
  await service.start()
  await become(platform, 'failed')
  expect(platform.state().why).toContain('BINGO_DISCORD_TOKEN')
  expect(await refusal(platform.send(channel(1), 'x', { signal }))).toMatchObject({ code: 'FailedPrecondition.PlatformOff' })
  expect(discord.calls).toHaveLength(1)
  expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
  expect((await discord.give(url, '/echo', { the_text: 'x' })).answer.type).toBe(4)
  expect(JSON.stringify(log.lines)).not.toContain('wrong')
})

test('a key or an application that is not the token’s is said with the remedy', async () => {
  const otherKey = await bot({ saidKey: 'ab'.repeat(32) })
  const otherApplication = await bot({ config: { applicationId: '119999999999999999' } })
  const noKey = await bot({ config: { publicKey: undefined as never } })
  for (const { service } of [otherKey, otherApplication, noKey]) await service.start()
  const expected = [
    [otherKey, 'BINGO_DISCORD_PUBLIC_KEY'],
    [otherApplication, 'BINGO_DISCORD_APPLICATION_ID'],
    [noKey, 'BINGO_DISCORD_PUBLIC_KEY'],
  ] as const
  for (const [{ platform, log, service }, remedy] of expected) {
    await become(platform, 'failed')
    expect(platform.state().why).toContain(remedy)
    // What the configuration lacks is said for all platforms together.
    expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(platform === noKey.platform ? 0 : 1)
    await service.stop()
  }
  expect(noKey.discord.calls).toEqual([])
})
