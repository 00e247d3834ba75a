import { afterEach, expect, test } from 'bun:test'
import { type ClientHttp2Session, type ClientHttp2Stream, connect } from 'node:http2'
import { connect as connectTcp } from 'node:net'
import { apiKey } from '@/core/access'
import { AppError } from '@/core/error'
import { Health } from '@/proto/generated/grpc/health/v1/health_pb.js'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { keyCalled, recognizing } from '@/testing/identities'
import { rawClient } from '@/testing/rpc/raw-client'
import { startRpc, type TestMethods, type TestSettings } from '@/testing/rpc/server'
import type { RpcLimits } from './server'

/** What those can take of a server who send half of what they say, or who are nobody. */

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function serving(methods: TestMethods, settings?: TestSettings, limits?: Partial<RpcLimits>) {
  const running = await startRpc(methods, settings, limits)
  open.push(() => running.server.stop())
  return running
}

function connected(url: string): ClientHttp2Session {
  const session = connect(url.replace('grpc', 'http'))
  session.on('error', () => {})
  open.push(() => session.destroy())
  return session
}

const getUser = '/bingo.user.v1.UserService/GetUser'
const [check, watch] = ['/grpc.health.v1.Health/Check', '/grpc.health.v1.Health/Watch']
const ruled = { access: [apiKey('users:read')], run: async () => ({ user: { id: '1' } }) }
const settings = { recognizer: recognizing({ key: keyCalled('k', ['users:read']) }) }
const withKey = { authorization: 'Bearer key' }

interface Half {
  stream: ClientHttp2Stream
  /** Of grpc-status, in whichever head it comes. */
  status: Promise<number>
  closed: Promise<void>
}

/** A call that says how long its message is, and sends one byte less. */
function half(session: ClientHttp2Session, path: string, bytes: number, headers: Record<string, string> = {}): Half {
  const stream = session.request({ ':method': 'POST', ':path': path, 'content-type': 'application/grpc', te: 'trailers', ...headers })
  stream.on('error', () => {})
  const status = new Promise<number>(resolve => {
    const read = (said: Record<string, unknown>) => {
      if (said['grpc-status'] !== undefined) resolve(Number(said['grpc-status']))
    }
    stream.on('response', read)
    stream.on('trailers', read)
  })
  const closed = new Promise<void>(resolve => stream.once('close', () => resolve()))
  const message = Buffer.alloc(5 + bytes - 1)
  message.writeUInt32BE(bytes, 1)
  stream.write(message)
  stream.resume()
  return { stream, status, closed }
}

test('a call whose message is never whole ends when requests do, and leaves nothing', async () => {
  const { url, log } = await serving({ getUser: ruled, listUsers: ruled as never }, { ...settings, http: { requestTimeoutMs: 300 } })
  const session = connected(url)
  const paths = [getUser, '/bingo.user.v1.UserService/ListUsers', check]
  for (const path of paths) {
    const call = half(session, path, 1000, withKey)
    expect(await call.status).toBe(4)
    await call.closed
  }
  expect(log.lines.map(({ fields }) => fields?.['status'])).toEqual(paths.map(() => 'DEADLINE_EXCEEDED'))
})

test('a message that is whole, but is not said to be the only one, is waited for no longer', async () => {
  const { url } = await serving({ getUser: ruled }, { ...settings, http: { requestTimeoutMs: 300 } })
  const call = half(connected(url), getUser, 1, withKey)
  call.stream.write(Buffer.alloc(1))
  expect(await call.status).toBe(4)
  await call.closed
})

test('whoever nobody knows is refused and counted before their message is read', async () => {
  const taken: string[] = []
  const limits = {
    ...{ admit: () => {}, takeInvalid: () => {} },
    take(_class: string, { kind }: { kind: string }) {
      taken.push(kind)
      if (taken.length > 1) throw new AppError('ResourceExhausted', 'RateLimit', 'Later.', { retryAfterSeconds: 9 })
    },
  }
  const { url } = await serving({ getUser: ruled }, { ...settings, limits })
  const session = connected(url)
  for (const code of [16, 8]) {
    const call = half(session, getUser, 100_000)
    expect(await call.status).toBe(code)
    await call.closed
  }
  expect(taken).toEqual(['anonymous', 'anonymous'])
})

test('what the library refuses by itself is cut off, too', async () => {
  const { url } = await serving({ getUser: ruled }, settings)
  const session = connected(url)
  for (const headers of [{}, { 'content-type': 'text/html' }]) await half(session, '/nobody.Service/Get', 100_000, headers).closed
})

test('a connection holds no more than so much of messages that are not whole', async () => {
  const limits = { unreadPerConnectionMaxBytes: 100_000 }
  const { url } = await serving({ getUser: ruled }, { ...settings, http: { bodyLimitBytes: 40_000 } }, limits)
  const session = connected(url)
  const calls = Array.from({ length: 4 }, () => half(session, getUser, 30_000, withKey))
  const over = await Promise.race(calls.map(async call => ({ call, code: await call.status })))
  expect(over.code).toBe(8)
  await over.call.closed
  // The others are as good as ever, and when they are read there is room again.
  const others = calls.filter(call => call !== over.call)
  for (const { stream } of others) stream.end(Buffer.alloc(1))
  expect(await Promise.all(others.map(({ status }) => status))).toEqual([3, 3, 3])
  const next = half(session, getUser, 30_000, withKey)
  next.stream.end(Buffer.alloc(1))
  expect(await next.status).toBe(3)
})

test('of a process that holds too much the connection is closed that holds the most', async () => {
  const limits = { unreadMaxBytes: 100_000, unreadPerConnectionMaxBytes: 100_000 }
  const { url } = await serving({ getUser: ruled }, { ...settings, http: { bodyLimitBytes: 10_000 } }, limits)
  const [small, large] = [connected(url), connected(url)]
  const first = half(small, getUser, 9000, withKey)
  const closed = new Promise<void>(resolve => large.once('close', () => resolve()))
  for (let i = 0; i < 8; i++) half(large, getUser, 9000, withKey)
  half(small, getUser, 9000, withKey)
  half(large, getUser, 9000, withKey)
  half(large, getUser, 9000, withKey)
  await closed
  first.stream.end(Buffer.alloc(1))
  expect(await first.status).toBe(3)
})

test('what anybody may ask is short, also when it was compressed', async () => {
  const { url } = await serving({})
  const session = connected(url)
  const call = half(session, check, 20_000)
  expect(await call.status).toBe(8)
  await call.closed
  const small = session.request({ ':method': 'POST', ':path': check, 'content-type': 'application/grpc', 'grpc-encoding': 'gzip' })
  small.on('error', () => {})
  const status = new Promise(resolve => small.on('response', head => resolve(head['grpc-status'])))
  const zipped = Bun.gzipSync(Buffer.alloc(20_000))
  const frame = Buffer.alloc(5)
  frame.writeUInt8(1)
  frame.writeUInt32BE(zipped.length, 1)
  small.write(Buffer.concat([frame, zipped]))
  expect(Number(await status)).toBe(8)
})

test('calls of those whom nobody knows have so many places an address', async () => {
  const { url } = await serving({ getUser: ruled }, settings, { strangersPerAddressMax: 2 })
  const session = connected(url)
  const held = [half(session, check, 10), half(session, check, 10)]
  expect(await half(session, check, 10).status).toBe(8)
  // Whoever is known has places of their own.
  const client = rawClient(url, UserService)
  open.push(() => client.close())
  expect((await client.call('getUser', {}, { token: 'key' })).code).toBe(0)
  for (const { stream, closed } of held) {
    stream.close(8)
    await closed
  }
  const health = rawClient(url, Health)
  open.push(() => health.close())
  const endMs = performance.now() + 4000
  while ((await health.call('check', {})).code !== 0) expect(performance.now()).toBeLessThan(endMs)
})

test('who watches its health takes no stream of others, and has few', async () => {
  const watchUser = {
    access: [apiKey('users:read')],
    async *run(_input: unknown, { signal }: { signal: AbortSignal }) {
      yield { user: { id: '1' } }
      await new Promise(resolve => signal.addEventListener('abort', resolve))
    },
  }
  const limits = { streamsMax: 2, builtInStreamsPerAddressMax: 3 }
  const { url, metrics } = await serving({ watchUser }, settings, limits)
  const [health, users] = [rawClient(url, Health), rawClient(url, UserService)]
  open.push(
    () => health.close(),
    () => users.close(),
  )
  const begun = (call: NodeJS.EventEmitter) => {
    call.on('error', () => {})
    return new Promise<void>(resolve => call.once('data', () => resolve()))
  }
  const watching = [health.stream('watch', {}), health.stream('watch', {}), health.stream('watch', {})]
  await Promise.all(watching.map(begun))
  expect((await health.call('watch', {})).error?.code).toBe('ResourceExhausted.Streams')
  // A message that never comes takes a place as well.
  expect(await half(connected(url), watch, 10).status).toBe(8)
  await Promise.all([1, 2].map(() => begun(users.stream('watchUser', {}, { token: 'key' }))))
  expect((await users.call('watchUser', {}, { token: 'key' })).error?.code).toBe('ResourceExhausted.Streams')
  expect(metrics.gaugeOf('rpc_server_streams')).toBe(5)
})

test('who begins to watch its health is counted, and who asks for it is not', async () => {
  const taken: string[] = []
  const limits = {
    ...{ admit: () => {}, takeInvalid: () => {} },
    take: (rateClass: string, { kind }: { kind: string }) => void taken.push(`${rateClass} ${kind}`),
  }
  const { url } = await serving({}, { limits })
  const health = rawClient(url, Health)
  open.push(() => health.close())
  expect((await health.call('check', {})).code).toBe(0)
  expect((await health.call('watch', {}, { deadlineMs: 200 })).code).toBe(4)
  expect(taken).toEqual(['read anonymous'])
})

test('an address has so many connections, and a proxy as many as there are', async () => {
  const alive = async (trustedProxies: string[]) => {
    const { url, metrics } = await serving({}, { http: { trustedProxies } }, { connectionsPerAddressMax: 2, connectionsMax: 4 })
    const { hostname, port } = new URL(url)
    const sockets = Array.from({ length: 5 }, () => connectTcp(Number(port), hostname).on('error', () => {}))
    for (const socket of sockets) open.push(() => socket.destroy())
    let closed = 0
    for (const socket of sockets) socket.resume().once('close', () => closed++)
    const endMs = performance.now() + 4000
    while (closed + (metrics.gaugeOf('rpc_server_connections') ?? 0) < 5 && performance.now() < endMs) await Bun.sleep(10)
    return metrics.gaugeOf('rpc_server_connections')
  }
  expect(await alive([])).toBe(2)
  expect(await alive(['127.0.0.0/8'])).toBe(4)
})

test('a call whose message is not whole keeps nothing from stopping', async () => {
  const { url, server } = await serving({ getUser: ruled }, { ...settings, shutdown: { deadlineMs: 20_000 } })
  const call = half(connected(url), getUser, 10, withKey)
  const client = rawClient(url, UserService)
  open.push(() => client.close())
  expect((await client.call('getUser', {}, { token: 'key' })).code).toBe(0)
  const began = performance.now()
  await server.stop()
  expect(performance.now() - began).toBeLessThan(5000)
  expect(await call.status).toBe(14)
})
