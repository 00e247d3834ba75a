import { afterEach, expect, test } from 'bun:test'
import { type AddressInfo, connect, createServer } from 'node:net'
import { defineErrors } from '@/core/error'
import { Health, HealthCheckResponse_ServingStatus as Status } from '@/proto/generated/grpc/health/v1/health_pb.js'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { createHealth } from '../http/health'
import { Readiness } from '@/core/service'
import { eventually } from '@/testing/eventually'
import { rawClient } from '@/testing/rpc/raw-client'
import { fakeLog } from '@/testing/fakes'
import { startRpc } from '@/testing/rpc/server'

/** How the gRPC server stands by, and how it ends. */

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})
function closing<T extends { close(): void }>(client: T): T {
  open.push(() => client.close())
  return client
}
const byId = { by: { case: 'id', value: '1' } } as const

test('whoever asks is told whether it is healthy: all of it, or a service of it', async () => {
  await using running = await startRpc({})
  const health = closing(rawClient(running.url, Health))
  const status = async (service: string) => (await health.call('check', { service })).messages[0]?.status
  expect(await status('')).toBe(Status.SERVING)
  expect(await status('bingo.user.v1.UserService')).toBe(Status.SERVING)
  expect((await health.call('check', { service: 'nobody.Service' })).code).toBe(5)
  running.readiness.state = 'draining'
  expect(await status('')).toBe(Status.NOT_SERVING)
  // Machines ask every few seconds.
  expect(running.log.lines.map(({ level }) => level)).toEqual(['debug', 'debug', 'debug', 'debug'])
})

test('it is not healthy without what the next call needs', async () => {
  let isAway = false
  const [readiness, log] = [new Readiness(), fakeLog()]
  readiness.state = 'ready'
  const check = async () => {
    if (isAway) throw new Error('away')
  }
  const health = createHealth(readiness, [{ name: 'database', check }], log)
  await using running = await startRpc({}, { readiness, health })
  const watch = closing(rawClient(running.url, Health)).stream('watch', {})
  const told = statuses(watch)
  expect(await told.next()).toBe(Status.SERVING)
  isAway = true
  expect(await told.next()).toBe(Status.NOT_SERVING)
  isAway = false
  expect(await told.next()).toBe(Status.SERVING)
  watch.cancel()
})

test('those who watch its health are told at once that it drains, and then that it is away', async () => {
  const running = await startRpc({}, { shutdown: { deadlineMs: 25_000 } })
  const health = closing(rawClient(running.url, Health))
  const [all, nobodys] = [health.stream('watch', {}), health.stream('watch', { service: 'nobody.Service' })]
  const [told, ofNobody] = [statuses(all), statuses(nobodys)]
  expect([await told.next(), await ofNobody.next()]).toEqual([Status.SERVING, Status.SERVICE_UNKNOWN])
  const ended = Promise.all([all, nobodys].map(ended => new Promise<number>(resolve => ended.on('status', ({ code }) => resolve(code)))))
  const began = performance.now()
  for (let i = 0; i < 4; i++) {
    running.readiness.state = 'draining'
    expect(await told.next()).toBe(Status.NOT_SERVING)
    running.readiness.state = 'ready'
    expect(await told.next()).toBe(Status.SERVING)
  }
  running.readiness.state = 'draining'
  expect(await told.next()).toBe(Status.NOT_SERVING)
  // Looking once a second it would have learned it in eight at the earliest.
  expect(performance.now() - began).toBeLessThan(5000)
  await running.server.stop()
  expect(await ended).toEqual([14, 14])
})

test('what is in flight when it stops is finished, and what comes later is refused', async () => {
  const release = Promise.withResolvers<void>()
  const [began, streaming] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()]
  const running = await startRpc(
    {
      getUser: {
        async run() {
          began.resolve()
          await release.promise
          return { user: { username: 'ada' } }
        },
      },
      listUsers: {
        async *run() {
          yield { user: { username: 'ada' } }
          streaming.resolve()
          await release.promise
          yield { user: { username: 'bob' } }
        },
      },
    },
    { shutdown: { deadlineMs: 10_000 } },
  )
  const client = closing(rawClient(running.url, UserService))
  const stream = client.call('listUsers', {})
  const call = client.call('getUser', byId)
  await Promise.all([began.promise, streaming.promise])
  const stopped = running.server.stop()
  const late = await closing(rawClient(running.url, UserService)).call('getUser', byId, { deadlineMs: 1000 })
  expect(late.error?.code).toBe('Unavailable.Unreachable')
  release.resolve()
  expect((await call).messages[0]?.user?.username).toBe('ada')
  expect((await stream).messages.map(({ user }) => user?.username)).toEqual(['ada', 'bob'])
  const began2 = performance.now()
  await stopped
  expect(performance.now() - began2).toBeLessThan(1000)
})

test('calls that are made while it stops are answered or refused, and none is lost', async () => {
  const running = await startRpc({ getUser: { run: async () => ({ user: { username: 'ada' } }) } })
  const client = closing(rawClient(running.url, UserService))
  const codes = new Map<number, number>()
  let slowestMs = 0
  let isOver = false
  const callers = Array.from({ length: 16 }, async () => {
    while (!isOver) {
      const began = performance.now()
      const { code } = await client.call('getUser', byId, { deadlineMs: 3000 })
      slowestMs = Math.max(slowestMs, performance.now() - began)
      codes.set(code, (codes.get(code) ?? 0) + 1)
      if (code !== 0) return
    }
  })
  await eventually(() => (codes.get(0) ?? 0) > 50)
  await running.server.stop()
  isOver = true
  await Promise.all(callers)
  expect([...codes.keys()].filter(code => code !== 0 && code !== 14)).toEqual([])
  // One that was lost would have waited for its deadline.
  expect(slowestMs).toBeLessThan(2500)
})

const { Gone } = defineErrors({ Gone: ['Unavailable', 'Watch another one.'] })

test('streams without an end are ended when it stops: by themselves, or when their time is over', async () => {
  const stopping = new AbortController()
  const listened = { polite: Promise.withResolvers<void>(), deaf: Promise.withResolvers<void>() }
  const running = await startRpc(
    {
      watchUser: {
        async *run({ id }, { signal }) {
          yield { user: { id } }
          listened[id as keyof typeof listened].resolve()
          await new Promise(resolve => (id === 'polite' ? stopping.signal : signal).addEventListener('abort', resolve))
          throw Gone()
        },
      },
    },
    { stopping, shutdown: { deadlineMs: 4000 } },
  )
  const client = closing(rawClient(running.url, UserService))
  const [polite, deaf] = ['polite', 'deaf'].map(id => client.call('watchUser', { id }))
  await Promise.all([listened.polite.promise, listened.deaf.promise])
  const began = performance.now()
  await running.server.stop()
  expect(performance.now() - began).toBeLessThan(4000)
  expect((await polite)?.error?.code).toBe('Unavailable.Gone')
  expect((await deaf)?.error?.code).toBe('Unavailable.Stopping')
})

test('it stops also when somebody is connected who says nothing', async () => {
  await using running = await startRpc({ getUser: { run: async () => ({}) } })
  const { hostname, port } = new URL(running.url)
  const silent = connect(Number(port), hostname)
  await new Promise<void>(resolve => silent.once('connect', () => resolve()))
  const closed = new Promise<void>(resolve => silent.resume().once('close', () => resolve()))
  await closing(rawClient(running.url, UserService)).call('getUser', byId)
  const began = performance.now()
  await running.server.stop()
  expect(performance.now() - began).toBeLessThan(1000)
  await closed
  // Twice, and before it has started, is as good as once.
  await running.server.stop()
})

test('whoever does not say that it is there is given up', async () => {
  await using running = await startRpc({}, {}, { keepaliveMs: 100, keepaliveTimeoutMs: 100 })
  const { hostname, port } = new URL(running.url)
  // It does not even take what it is sent, and does not close when it is told to.
  const silent = connect(Number(port), hostname)
  await new Promise<void>(resolve => silent.once('connect', () => resolve()))
  await eventually(() => running.metrics.gaugeOf('rpc_server_connections') === 1)
  await eventually(() => running.metrics.gaugeOf('rpc_server_connections') === 0)
  silent.destroy()
})

test('more connections than it takes are closed', async () => {
  await using running = await startRpc({ getUser: { run: async () => ({}) } }, {}, { connectionsMax: 1 })
  const client = closing(rawClient(running.url, UserService))
  expect((await client.call('getUser', byId)).code).toBe(0)
  const { hostname, port } = new URL(running.url)
  const another = connect(Number(port), hostname)
  await new Promise<void>(resolve => another.resume().once('close', () => resolve()))
  expect((await client.call('getUser', byId)).code).toBe(0)
})

test('connections are renewed now and then, and no call is lost by it', async () => {
  const run = async () => ({ user: { username: 'ada' } })
  await using running = await startRpc({ getUser: { run } }, {}, { connectionAgeMs: 150 })
  let connections = 0
  const relay = createServer(socket => {
    connections++
    socket.pipe(connect(Number(new URL(running.url).port), '127.0.0.1')).pipe(socket)
  })
  await new Promise<void>(resolve => relay.listen(0, '127.0.0.1', resolve))
  open.push(() => relay.close())
  const client = closing(rawClient(`grpc://127.0.0.1:${(relay.address() as AddressInfo).port}`, UserService))
  const codes = new Set<number>()
  const endMs = performance.now() + 1000
  while (performance.now() < endMs) codes.add((await client.call('getUser', byId)).code)
  expect([...codes]).toEqual([0])
  expect(connections).toBeGreaterThan(2)
})

/** What a stream of health says, one after the other. */
function statuses(stream: NodeJS.EventEmitter) {
  const waiting: Status[] = []
  let wake = () => {}
  stream.on('data', ({ status }: { status: Status }) => {
    waiting.push(status)
    wake()
  })
  stream.on('error', () => {})
  return {
    async next(): Promise<Status | undefined> {
      if (waiting.length === 0) await new Promise<void>(resolve => (wake = resolve))
      return waiting.shift()
    },
  }
}
