import { expect, test } from 'bun:test'
import { underWayMax } from '@/modules/announcement/schema'
import { type BackingName, testOn } from '../backings'
import type { RunningBingo } from '../bingo'
import { type BroadcastScene, broadcastScene } from '../chat/broadcast-scene'

/** A busy machine has a message sent every ten milliseconds or so. */
const timeoutMs = 300_000
const broadcastMs = 240_000
const kills = 3

const twice = (counts: Map<string, number>) => [...counts.values()].filter(count => count === 2).length
const oftener = (counts: Map<string, number>) => [...counts.values()].filter(count => count > 2).length
const sentAtLeast = (scene: BroadcastScene, id: string, count: number) =>
  scene.until(id, ({ progress }) => progress.sent >= count, broadcastMs)

/**
 * Nothing is sent to a chat while Telegram wants nothing sent there, and nothing at all once it has refused a second chat meanwhile, since it is
 * the bot then that sends too often. What was on its way may still come.
 */
function expectObedience({ telegram }: BroadcastScene, retryAfterMs: number): void {
  const sends = telegram.of('sendMessage')
  const refusals = sends.filter(({ status }) => status === 429)
  expect(refusals.length).toBeGreaterThan(1)
  let storms = 0
  for (const { endedAtMs = 0, payload } of refusals) {
    const chat = payload['chat_id']
    const isStorm = refusals.some(
      other =>
        other.payload['chat_id'] !== chat && (other.endedAtMs ?? 0) <= endedAtMs && (other.endedAtMs ?? 0) > endedAtMs - retryAfterMs,
    )
    if (isStorm) storms++
    const early = sends.filter(({ atMs }) => atMs > endedAtMs + 100 && atMs < endedAtMs + retryAfterMs - 5)
    const wrong = isStorm ? early : early.filter(each => each.payload['chat_id'] === chat)
    expect(wrong.map(({ atMs }) => atMs - endedAtMs)).toEqual([])
  }
  expect(storms).toBeGreaterThan(0)
}

function onKilledBots(name: BackingName, chats: number): void {
  const title = `bots that are killed while they tell all chats, by a Telegram that wants a pause, tell each chat once, and none more than twice (${name})`
  const work = async () => {
    await using scene = await broadcastScene(name, chats)
    // Nobody sends it yet.
    const { id } = await scene.announce()
    let bot: RunningBingo = await scene.startBot()
    for (let kill = 1; kill <= kills; kill++) {
      await sentAtLeast(scene, id, (kill * chats) / (kills + 2))
      await bot.stop('SIGKILL')
      bot = await scene.startBot()
      if (kill === 1) scene.telegram.next(30).answer(429, { retryAfterSeconds: 2 })
      if (kill === 2) scene.telegram.next(5).answer(502)
      if (kill === 2) scene.telegram.next(5).drop()
    }
    const done = await scene.until(id, ({ state }) => state === 'sent', broadcastMs)
    expect(done.progress).toEqual({ total: chats, sent: chats, gone: 0, failed: 0, pending: 0, cancelled: 0 })
    const taken = scene.taken()
    expect([taken.size, oftener(taken)]).toEqual([chats, 0])
    expect(twice(taken)).toBeLessThanOrEqual(kills * underWayMax)
    expectObedience(scene, 2000)
  }
  if (name === 'sqlite') test(title, work, timeoutMs)
  else testOn([name, 'redis'], title, work, timeoutMs)
}
onKilledBots('sqlite', 10_000)
// At full size with the tests of faults.
onKilledBots('mariadb', process.env['BINGO_TEST_FULL'] === '1' ? 10_000 : 2000)

test(
  'two bots, of which one is stopped and started again meanwhile, tell each chat once and no more',
  async () => {
    const count = 1500
    await using scene = await broadcastScene('sqlite', count)
    scene.telegram.meet(({ method }) => (method === 'sendMessage' ? { is: 'slow', ms: 50 } : undefined))
    const [first] = await Promise.all([scene.startBot(), scene.startBot()])
    const { id } = await scene.announce()
    await sentAtLeast(scene, id, count / 3)
    expect(await first.stop()).toBe(0)
    await scene.startBot()
    const done = await scene.until(id, ({ state }) => state === 'sent', broadcastMs)
    expect(done.progress).toMatchObject({ total: count, sent: count })
    expect([scene.taken().size, scene.telegram.of('sendMessage').length]).toEqual([count, count])
  },
  timeoutMs,
)

test(
  'an announcement that is cancelled midway is begun in no chat any more',
  async () => {
    const count = 2000
    await using scene = await broadcastScene('sqlite', count)
    await scene.startBot()
    const { id } = await scene.announce()
    await sentAtLeast(scene, id, 200)
    const { state, progress } = await scene.cancel(id)
    const begun = scene.telegram.of('sendMessage').length
    expect([state, progress.pending, progress.sent + progress.cancelled]).toEqual(['cancelled', 0, count])
    // Behind the one that was cancelled, in the same queue.
    const { id: next } = await scene.announce({ text: 'What comes next.' })
    await scene.until(next, each => each.state === 'sent', broadcastMs)
    const texts = scene.telegram.of('sendMessage').map(({ payload }) => payload['text'])
    const more = texts.filter(text => text === 'Hello.').length - begun
    expect(more).toBeLessThanOrEqual(underWayMax)
    expect((await scene.see(id)).progress.sent).toBe(begun + more)
  },
  timeoutMs,
)

test(
  'an announcement that is cancelled while its messages wait for their turn is not sent to those that wait',
  async () => {
    await using scene = await broadcastScene('sqlite', 60)
    await scene.startBot({ BINGO_TELEGRAM_MESSAGES_PER_SECOND: '4' })
    const { id } = await scene.announce()
    await sentAtLeast(scene, id, 4)
    await scene.cancel(id)
    const begun = scene.telegram.of('sendMessage').length
    // Behind those that wait, in the same queue.
    const { id: next } = await scene.announce({ text: 'What comes next.' })
    await sentAtLeast(scene, next, 2)
    const sent = scene.telegram.of('sendMessage').filter(({ payload }) => payload['text'] === 'Hello.')
    expect(sent.length - begun).toBeLessThanOrEqual(1)
  },
  timeoutMs,
)

test(
  'an announcement is made once however often it is asked for, begins at its time, and leaves out who has blocked the bot',
  async () => {
    await using scene = await broadcastScene('sqlite', 3)
    await scene.startBot()
    scene.telegram.meet(({ payload }) =>
      payload['chat_id'] === '2' ? { is: 'refusal', status: 403, description: 'Forbidden: bot was blocked by the user' } : undefined,
    )
    const at = new Date(Date.now() + 3000).toISOString()
    const key = { 'idempotency-key': crypto.randomUUID() }
    const [made, again] = [await scene.announce({ at }, key), await scene.announce({ at }, key)]
    expect(again.id).toBe(made.id)
    const done = await scene.until(made.id, ({ state }) => state === 'sent', 30_000)
    expect(done.startedAt && done.startedAt >= at).toBe(true)
    expect(done.progress).toMatchObject({ total: 3, sent: 2, gone: 1 })
    expect([...scene.taken()].toSorted()).toEqual([
      ['1', 1],
      ['3', 1],
    ])
    const { id } = await scene.announce()
    expect((await scene.until(id, ({ state }) => state === 'sent', 30_000)).progress).toMatchObject({ total: 2, sent: 2, gone: 0 })
  },
  timeoutMs,
)
