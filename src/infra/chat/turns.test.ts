import { afterEach, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { eventually } from '@/testing/eventually'
import { failure } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { sharedServer, startOwn } from '@/testing/servers'
import { mostWithin } from '@/testing/chat/fake-telegram'
import { openRedis } from '../redis'
import type { Gates } from './gates'
import { createTurns, type Turn } from './turns'

setDefaultTimeout(60_000)

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

const openGates: Gates = { close: () => {}, closedForMs: () => 0, refresh: async () => {}, settled: async () => {} }
const turnTo = (chatId: string, over: Partial<Turn> = {}): Turn => ({
  chatId,
  limits: { perSecond: 1 },
  isUrgent: false,
  untilMs: performance.now() + 30_000,
  signal: new AbortController().signal,
  ...over,
})

/** What one process has. */
async function openProcess(url: string | undefined, perSecond: number, prefix = 'turns', gates = openGates) {
  const log = fakeLog()
  const redis = url === undefined ? undefined : openRedis(url, { log })
  if (redis) closers.push(() => redis.close())
  let isThere = redis === undefined
  const watched = redis && {
    ...redis,
    connect(name: string) {
      const connection = redis.connect(name)
      connection.onChange(id => {
        isThere = id !== undefined
      })
      return connection
    },
  }
  const turns = createTurns('telegram', { config: { redis: { prefix } } as never, redis: watched, log, gates, perSecond })
  await eventually(() => isThere)
  return { turns, log }
}

const calling = () => {
  const calls: { atMs: number; chatId: string }[] = []
  return { calls, call: (chatId: string) => async () => void calls.push({ atMs: performance.now(), chatId }) }
}

describeOnRedis('turns of several processes', () => {
  test('share one limit, of all chats and of each', async () => {
    const { url } = (await sharedServer('redis')) as { url: string }
    const prefix = `turns-${crypto.randomUUID()}`
    const processes = await Promise.all([1, 2, 3].map(() => openProcess(url, 30, prefix)))
    const { calls, call } = calling()
    const work = processes.flatMap(({ turns }, process) =>
      Array.from({ length: 30 }, (_, i) => turns.take(turnTo(`${process}-${i}`), call('any'))),
    )
    const same = processes.map(({ turns }) => turns.take(turnTo('same'), call('same')))
    await Promise.all([...work, ...same])
    expect(calls.length).toBe(93)
    const tookMs = Math.max(...calls.map(({ atMs }) => atMs)) - Math.min(...calls.map(({ atMs }) => atMs))
    // A second, and 90 within it, if each counted for itself. What has waited for Redis is called late on a busy machine.
    expect(tookMs).toBeGreaterThan(2500)
    expect(mostWithin(950, calls)).toBeLessThanOrEqual(45)
    expect(
      mostWithin(
        950,
        calls.filter(({ chatId }) => chatId === 'same'),
      ),
    ).toBe(1)
  })

  test('go on without Redis, each by itself, and say so once', async () => {
    const server = await startOwn('redis')
    closers.push(() => server.stop())
    const { turns, log } = await openProcess(server.url, 20)
    const { calls, call } = calling()
    await turns.take(turnTo('0'), call('0'))
    await server.stop()
    await Promise.all(Array.from({ length: 40 }, (_, i) => turns.take(turnTo(String(i + 1)), call('x'))))
    expect(mostWithin(950, calls)).toBeLessThanOrEqual(21)
    expect(calls.length).toBe(41)
    expect(log.lines.filter(({ message }) => message.startsWith('Redis does not answer')).length).toBeLessThanOrEqual(1)
  })
})

describe('a turn', () => {
  test('in a group comes at most so often in a minute', async () => {
    const { turns } = await openProcess(undefined, 1000)
    const { calls, call } = calling()
    const limits = { perMinute: 5 }
    for (let i = 0; i < 5; i++) await turns.take(turnTo('-1', { limits }), call('-1'))
    const late = turns.take(turnTo('-1', { limits, untilMs: performance.now() + 300 }), call('-1'))
    expect(await failure(late)).toBe('ResourceExhausted.PlatformBusy')
    await turns.take(turnTo('-2', { limits }), call('-2'))
    expect(calls.map(({ chatId }) => chatId)).toEqual(['-1', '-1', '-1', '-1', '-1', '-2'])
  })

  test('of a call that fails does not hold up the next', async () => {
    const { turns } = await openProcess(undefined, 1000)
    const broken = turns.take(turnTo('1', { limits: {} }), async () => {
      throw new Error('broken')
    })
    expect(await failure(broken)).toBe('broken')
    expect(await turns.take(turnTo('1', { limits: {} }), async () => 'done')).toBe('done')
  })

  test('that nobody waits for any more is no turn: those behind it come', async () => {
    const { turns } = await openProcess(undefined, 2)
    const stopping = new AbortController()
    const { calls, call } = calling()
    const first = Array.from({ length: 3 }, (_, i) => turns.take(turnTo(`${i}`), call(`${i}`)))
    const gone = Array.from({ length: 20 }, (_, i) => failure(turns.take(turnTo(`gone ${i}`, { signal: stopping.signal }), call('gone'))))
    const last = turns.take(turnTo('last'), call('last'))
    stopping.abort(new Error('stopped'))
    expect(new Set(await Promise.all(gone))).toEqual(new Set(['stopped']))
    await Promise.all([...first, last])
    expect(calls.map(({ chatId }) => chatId)).toEqual(['0', '1', '2', 'last'])
  })
})
