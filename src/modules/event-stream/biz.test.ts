import { afterEach, expect, test } from 'bun:test'
import type { Server } from 'bun'
import { AppError } from '@/core/error'
import { eventStreamOf } from '@/core/event-stream'
import { type AdminIdentity, anonymous, type Identity } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { until } from '@/testing/conformance/cache-fixture'
import { openEvents, type EventSourceClient } from '@/testing/event-source'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { eventStreamBiz, type EventStreamLimits } from './biz'

/** Streams of events over real connections; what is told of is at hand, so that tests decide when it changes. */

const root: AdminIdentity = {
  ...{ kind: 'admin', id: 'a', sessionId: 's', username: 'root' },
  ...{ permissions: new Set(['*']), provenUntilMs: 0 },
}

interface House {
  url: string
  server: Server<unknown>
  stopping: AbortController
  log: ReturnType<typeof fakeLog>
  metrics: ReturnType<typeof countingMetrics>
  /** What `queues` says; it throws what is an error. */
  queue: { stats: () => Promise<unknown>; asked: number }
  /** Who calls by now. */
  again: { of: () => Promise<Identity> }
  listen(): Promise<EventSourceClient>
}

/** So that a test may wait for many reads. */
const often = { readEveryMs: { queues: 10, schedules: 10, processes: 10 } }

const houses: House[] = []
afterEach(async () => {
  for (const house of houses.splice(0)) await house.server.stop(true)
})

function newHouse(limits: Partial<EventStreamLimits> = {}, who: () => AdminIdentity = () => root): House {
  const [log, metrics, stopping] = [fakeLog(), countingMetrics(), new AbortController()]
  const queue: House['queue'] = { stats: async () => ({ waiting: 0 }), asked: 0 }
  const again: House['again'] = { of: async () => root }
  const stats = () => {
    queue.asked++
    return queue.stats()
  }
  const ports = { queueAdmin: { queues: ['mail'], stats }, schedules: {}, processes: {}, stopping: stopping.signal, log, metrics }
  const biz = eventStreamBiz(ports as unknown as Ports, limits)
  const server = Bun.serve({
    port: 0,
    development: false,
    idleTimeout: 60,
    fetch(request, own) {
      try {
        const opening = { who: who(), topics: 'queues', lastEventId: request.headers.get('last-event-id') ?? undefined, demand: () => {} }
        return eventStreamOf(biz.open({ ...opening, again: () => again.of(), cut: () => own.timeout(request, 1) }))
      } catch (thrown) {
        return new Response((thrown as AppError).code, { status: (thrown as AppError).httpStatus })
      }
    },
  })
  const url = `http://127.0.0.1:${server.port}/`
  const house = { url, server, stopping, log, metrics, queue, again, listen: () => openEvents(url) }
  houses.push(house)
  return house
}

const open = (house: House) => house.metrics.gaugeOf('bingo_event_streams')
const ended = (house: House, reason: string) => house.metrics.count('bingo_event_streams_ended_total', { reason })

test('however many listen, each topic is read once in a while, and not at all when nobody does', async () => {
  const house = newHouse(often)
  const questions: PromiseWithResolvers<unknown>[] = []
  house.queue.stats = () => {
    const question = Promise.withResolvers<unknown>()
    questions.push(question)
    return question.promise
  }
  const streams = await Promise.all(Array.from({ length: 20 }, () => house.listen()))
  await until(() => open(house) === 20)
  for (const waiting of [0, 1, 2]) {
    await until(() => questions.length === waiting + 1)
    questions[waiting]?.resolve({ waiting })
    for (const stream of streams) expect((await stream.next()).data.items).toEqual([{ waiting }])
  }
  for (const stream of streams) stream.close()
  await until(() => open(house) === 0)
  expect(ended(house, 'gone')).toBe(20)
  const askedBefore = house.queue.asked
  questions.at(-1)?.resolve({ waiting: 3 })
  // For as long as another house reads many times.
  const other = newHouse(often)
  const stream = await other.listen()
  await until(() => other.queue.asked >= 10)
  stream.close()
  expect(house.queue.asked).toBe(askedBefore)
  expect(askedBefore).toBeLessThanOrEqual(4)
})

test('what cannot be read is said to be unavailable, and told again when it can be', async () => {
  const house = newHouse()
  const stream = await house.listen()
  const first = await stream.next()
  house.queue.stats = async () => {
    throw new AppError('Unavailable', 'Redis', 'redis://secret')
  }
  expect(await stream.next()).toMatchObject({ event: 'unavailable', data: { topic: 'queues' } })
  expect(house.log.lines.filter(({ message }) => message === 'what is told live cannot be read')).toHaveLength(1)
  house.queue.stats = async () => ({ waiting: 0 })
  // The same as before it was away.
  const again = await stream.next()
  expect([again.event, again.data, again.id]).toEqual([first.event, first.data, first.id])
  expect(JSON.stringify(stream.events)).not.toContain('secret')
  stream.close()
})

test('what nothing but the time of the look has changed is not told', async () => {
  const house = newHouse(often)
  let overMs = 0
  let waiting = 0
  house.queue.stats = async () => ({ waiting, rates: { overMs: overMs++, done: 0 } })
  const stream = await house.listen()
  await until(() => house.queue.asked >= 10)
  waiting = 1
  await stream.next(({ data }) => data.items[0]?.['waiting'] === 1)
  expect(stream.events).toHaveLength(2)
  stream.close()
})

test('who may not listen any more is told nothing that has changed since, also when that cannot be told', async () => {
  for (const [of, reason] of [
    [async () => anonymous, 'credential'],
    [async () => ({ ...root, permissions: new Set(['users:read']) }), 'permission'],
    [() => Promise.reject(new Error('away')), 'unknown'],
    [() => new Promise<Identity>(() => {}), 'unknown'],
  ] as const) {
    // It is not looked at in between: what is told asks by itself.
    const house = newHouse({ lookEveryMs: 100_000, vouchMaxMs: 100 })
    const stream = await house.listen()
    await stream.next()
    house.again.of = of
    house.queue.stats = async () => ({ waiting: 'a secret' })
    await stream.ended()
    expect(stream.events.map(({ event, data }) => [event, data.reason])).toEqual([
      ['queues', undefined],
      ['end', reason],
    ])
    expect(JSON.stringify(stream.events)).not.toContain('a secret')
    expect([open(house), ended(house, reason)]).toEqual([0, 1])
  }
})

test('who has had no news hears that the connection is alive', async () => {
  const house = newHouse({ quietMaxMs: 100 })
  const stream = await house.listen()
  await until(() => stream.comments.length >= 3)
  expect(stream.events).toHaveLength(1)
  expect(open(house)).toBe(1)
  stream.close()
})

test('a process has so many streams and no more', async () => {
  let id = 0
  const house = newHouse({ streamsMax: 3 }, () => ({ ...root, id: `a${id++}` }))
  const streams = [await house.listen(), await house.listen(), await house.listen()]
  const refused = await fetch(house.url)
  expect([refused.status, await refused.text()]).toEqual([503, 'Unavailable.StreamsFull'])
  streams[0]?.close()
  await until(() => open(house) === 2)
  const next = await house.listen()
  expect(next.status).toBe(200)
  house.stopping.abort()
  await next.ended()
  const late = await fetch(house.url)
  expect([late.status, await late.text()]).toEqual([503, 'Unavailable.Stopping'])
})

/** Connects, asks, and reads nothing. */
async function mute(house: House): Promise<{ closed: Promise<void>; close(): void }> {
  const closed = Promise.withResolvers<void>()
  const socket = await Bun.connect({
    hostname: '127.0.0.1',
    port: house.server.port as number,
    socket: { data: () => {}, close: () => closed.resolve(), error: () => closed.resolve() },
  })
  socket.write('GET / HTTP/1.1\r\nhost: localhost\r\n\r\n')
  socket.pause()
  return { closed: closed.promise, close: () => socket.terminate() }
}

/** More than connections of this machine hold. */
const large = 'x'.repeat(16 * 1024 * 1024)
let nth = 0
const ever = async () => ({ nth: nth++, large })

test('who does not read is sent nothing more, is dropped, and holds up nobody else', async () => {
  const house = newHouse({ stalledMaxMs: 1500, lookEveryMs: 100 })
  house.queue.stats = ever
  const silent = await mute(house)
  const reader = await house.listen()
  await until(() => open(house) === 2)
  await until(() => ended(house, 'slow') === 1, 20_000)
  // Its connection is closed too, and the other one goes on.
  await until(() => house.server.pendingRequests === 1, 20_000)
  const told = reader.events.length
  expect(told).toBeGreaterThan(0)
  await until(() => reader.events.length > told)
  expect(open(house)).toBe(1)
  expect(house.log.lines.filter(({ fields }) => fields['reason'] === 'slow')).toHaveLength(1)
  reader.close()
  silent.close()
}, 60_000)

test('a server stops soon also while somebody does not read', async () => {
  // Whether it may is asked with each state that it is sent alone.
  const house = newHouse({ lookEveryMs: 100_000, readEveryMs: { ...often.readEveryMs, queues: 50 } })
  house.queue.stats = ever
  let sent = 0
  house.again.of = async () => {
    sent++
    return root
  }
  const silent = await mute(house)
  // It has been sent more than its connection holds when others were read since, and none was sent.
  let [sentBefore, askedBefore] = [0, 0]
  await until(() => {
    if (sent !== sentBefore) [sentBefore, askedBefore] = [sent, house.queue.asked]
    return sent > 0 && house.queue.asked >= askedBefore + 5
  }, 20_000)
  const beganMs = performance.now()
  const stopped = house.server.stop()
  house.stopping.abort()
  await stopped
  expect(performance.now() - beganMs).toBeLessThan(8000)
  silent.close()
}, 30_000)

test('an id that nobody of us has written is an id of nothing', async () => {
  const house = newHouse()
  for (const lastEventId of ['=', ';;;=;', 'queues', 'queues=', '__proto__=1', 'x'.repeat(200), 'queues=a=b;queues']) {
    const stream = await openEvents(house.url, { lastEventId })
    expect([lastEventId, (await stream.next()).event]).toEqual([lastEventId, 'queues'])
    stream.close()
  }
})
