import { afterEach, describe, expect, test } from 'bun:test'
import { asCaller } from '@/core/caller'
import { AppError } from '@/core/error'
import type { CallOptions } from '@/core/rpc'
import { createMetrics } from '@/infra/metrics'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { eventually } from '@/testing/eventually'
import { fakeLog } from '@/testing/fakes'
import { type ForeignMethods, type ForeignServer, startForeign } from '@/testing/rpc/foreign-server'
import { openRpcClients } from '../open'

/** The client beside servers of another's making. */

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
})

async function serve(methods: ForeignMethods<typeof UserService>, port = 0): Promise<ForeignServer> {
  const server = await startForeign(UserService, methods, { port })
  undo.push(() => server.kill())
  return server
}

/** As it would be if nobody could say whether a call may be made twice. */
const risky = { ...UserService, methods: UserService.methods.map(each => ({ ...each, idempotency: 0 })) } as unknown as typeof UserService

function clientOf(target: string | undefined, { timeoutMs = 5000, service = UserService, port = 0 } = {}) {
  const log = fakeLog()
  const metrics = createMetrics({ version: '0', roles: [] })
  let signed = 0
  const tokens = {
    signService: async ({ service: name, scopes }: { service: string; scopes: readonly string[] }) => ({
      token: `${name}.${scopes.join('.')}.${++signed}`,
      expiresInSeconds: 300,
    }),
  }
  const rpc = { port, timeoutMs, services: [], ...(target !== undefined && { target }) }
  const opened = openRpcClients({ rpc, http: { bodyLimitBytes: 1_048_576 } as never }, { tokens, log, metrics, name: 'bot' })
  undo.push(() => opened.close())
  const users = opened.clients.client(service, { scopes: ['users:read', 'users:list'] })
  const count = async (name: string, labels = '') =>
    Number(new RegExp(`^${name}${labels.replaceAll(/[{}.]/g, '\\$&')} (\\S+)$`, 'm').exec((await metrics.expose()).text)?.[1] ?? 0)
  return { users, log, count, close: opened.close, signed: () => signed }
}
const at = ({ port }: ForeignServer) => `127.0.0.1:${port}`
const by = (id: string) => ({ by: { case: 'id', value: id } }) as const
const user = (id: string) => ({ user: { id, username: 'ada', version: 7 } })

async function failureOf(work: Promise<unknown>): Promise<AppError> {
  const thrown = await work.then(
    () => undefined,
    error => error,
  )
  if (!(thrown instanceof AppError)) throw new Error(`not an AppError: ${thrown}`)
  return thrown
}
async function all<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const message of messages) found.push(message)
  return found
}
const never = (signal: AbortSignal) =>
  new Promise<never>((_, reject) => signal.addEventListener('abort', () => reject({ code: 1, details: '' })))

test('without a target the server is at rpc.port of this host', async () => {
  const { port } = await serve({ getUser: async ({ by: { value = '' } }) => user(value) })
  expect((await clientOf(undefined, { port }).users.getUser(by('u1'))).user?.id).toBe('u1')
})

test('it says who calls, on whose behalf, and until when', async () => {
  const server = await serve({ getUser: async ({ by: { value = '' } }) => user(value) })
  const { users, signed } = clientOf(at(server))
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const answer = await asCaller({ requestId: 'r-1', traceparent }, () => users.getUser(by('u1')))
  expect(answer.user).toMatchObject({ id: 'u1', username: 'ada', version: 7 })
  const nowMs = Date.now()
  await users.getUser(by('u2'), { timeoutMs: 60_000 })
  await asCaller({ deadlineAtMs: nowMs + 700 }, () => users.getUser(by('u3'), { timeoutMs: 60_000 }))
  const [first, second, third] = server.calls
  expect(first?.metadata.getMap()).toMatchObject({
    authorization: 'Bearer bot.users:read.users:list.1',
    'x-request-id': 'r-1',
    traceparent,
  })
  expect(Object.keys(second?.metadata.getMap() ?? {})).not.toContain('x-request-id')
  expect((first?.deadlineMs ?? 0) - nowMs).toBeWithin(3000, 5500)
  expect((second?.deadlineMs ?? 0) - nowMs).toBeWithin(59_000, 61_000)
  expect((third?.deadlineMs ?? 0) - nowMs).toBeWithin(0, 1000)
  expect(signed()).toBe(1)
})

test('nobody is asked on behalf of somebody who does not wait any more, or for a time that is none', async () => {
  const server = await serve({ getUser: async () => user('u') })
  const { users } = clientOf(at(server))
  const late = await failureOf(asCaller({ deadlineAtMs: Date.now() - 1 }, () => users.getUser(by('u'))))
  expect(late.code).toBe('Timeout.Deadline')
  expect((await failureOf(users.getUser(by('u'), { signal: AbortSignal.abort() }))).code).toBe('Timeout.Cancelled')
  for (const timeoutMs of [0, -1, Number.NaN, 600_001])
    expect(users.getUser(by('u'), { timeoutMs })).rejects.toThrow('timeoutMs must be 1–600000')
  expect(server.calls).toEqual([])
})

test('errors are those of the server again', async () => {
  const problems = [{ pointer: 'id', detail: 'must be an id' }]
  const errors = [
    new AppError('NotFound', 'NoUser', 'There is no such user.'),
    new AppError('InvalidArgument', 'Fields', 'Wrong.', { problems }),
    new AppError('ResourceExhausted', 'RateLimit', 'Slowly.', { retryAfterSeconds: 2.5 }),
    new AppError('PermissionDenied', 'ServiceScope', 'No.', { scopes: ['users:read'] }),
  ]
  for (const error of errors) {
    const server = await serve({
      getUser: () => Promise.reject(error),
      async *listUsers() {
        yield* []
        throw error
      },
    })
    const { users } = clientOf(at(server))
    for (const failed of [await failureOf(users.getUser(by('u'))), await failureOf(all(users.listUsers({})))]) {
      const { kind, code, message, problems: faults, retryAfterSeconds, scopes } = failed
      expect({ kind, code, message, problems: faults, retryAfterSeconds, scopes }).toEqual({
        ...{ kind: error.kind, code: error.code, message: error.message },
        ...{ problems: [...error.problems], retryAfterSeconds: error.retryAfterSeconds, scopes: error.scopes },
      })
    }
    expect(server.calls).toHaveLength(2)
  }
})

describe('an end is kept', () => {
  test('by a call, whose server hears of it', async () => {
    const heard: string[] = []
    const server = await serve({
      getUser: (_, { signal }) => never(signal).finally(() => heard.push('unary')),
      async *listUsers(_, { signal }) {
        yield user('u1')
        await never(signal).finally(() => heard.push('stream'))
      },
    })
    const { users, count } = clientOf(at(server), { timeoutMs: 300 })
    const calls = [() => users.getUser(by('u')), () => all(users.listUsers({}, { timeoutMs: 300 }))]
    for (const call of calls) {
      const startedMs = performance.now()
      expect((await failureOf(call())).code).toBe('Timeout.Deadline')
      expect(performance.now() - startedMs).toBeWithin(290, 1500)
    }
    await eventually(() => heard.length === 2)
    expect(heard.toSorted()).toEqual(['stream', 'unary'])
    expect(await count('rpc_client_duration_seconds_count', '{method="bingo.user.v1.UserService/GetUser",code="DEADLINE_EXCEEDED"}')).toBe(
      1,
    )
  })

  test('when it is cancelled', async () => {
    let heard = 0
    const server = await serve({
      getUser: (_, { signal }) => never(signal).finally(() => heard++),
      async *listUsers(_, { signal }) {
        yield user('u1')
        await never(signal).finally(() => heard++)
      },
    })
    const { users } = clientOf(at(server))
    for (const call of [(o: CallOptions) => users.getUser(by('u'), o), (o: CallOptions) => all(users.listUsers({}, o))]) {
      const abort = new AbortController()
      const asked = server.calls.length
      const failing = failureOf(call({ signal: abort.signal }))
      await eventually(() => server.calls.length > asked)
      abort.abort()
      expect((await failing).code).toBe('Timeout.Cancelled')
    }
    await eventually(() => heard === 2)
  })

  test('and leaving the loop of a stream ends it at once', async () => {
    let [sent, isEnded] = [0, false]
    const server = await serve({
      async *listUsers(_, { signal }) {
        try {
          for (; !signal.aborted; sent++) {
            yield user(`u${sent}`)
            await Bun.sleep(1)
          }
        } finally {
          isEnded = true
        }
      },
    })
    const { users } = clientOf(at(server))
    const seen: string[] = []
    for await (const message of users.listUsers({})) {
      seen.push(message.user?.id ?? '')
      if (seen.length === 3) break
    }
    expect(seen).toEqual(['u0', 'u1', 'u2'])
    await eventually(() => isEnded)
    expect(sent).toBeLessThan(1000)
  })
})

test('who reads slowly has the server wait', async () => {
  let sent = 0
  const count = 1000
  const nickname = 'x'.repeat(10_000)
  const server = await serve({
    async *listUsers() {
      for (sent = 0; sent < count; sent++) yield { user: { id: String(sent), nickname } }
    },
  })
  const { users } = clientOf(at(server), { timeoutMs: 60_000 })
  const startedMs = performance.now()
  expect(await all(users.listUsers({}))).toHaveLength(count)
  const quickMs = performance.now() - startedMs
  const reading = users.listUsers({})[Symbol.asyncIterator]()
  expect((await reading.next()).value?.user?.id).toBe('0')
  // In this time who reads quickly had all of them.
  await Bun.sleep(Math.max(300, 2 * quickMs))
  // What fits into the windows of the connection, and no more.
  expect(sent).toBeLessThan(count / 2)
  const rest: string[] = []
  for await (const { user: each } of { [Symbol.asyncIterator]: () => reading }) rest.push(each?.id ?? '')
  expect([rest.length, rest.at(-1), sent]).toEqual([count - 1, String(count - 1), count])
})

describe('what may be made twice', () => {
  const unavailable = { code: 14, details: 'going away' }

  test('is tried again while nobody is there, and in the end says so', async () => {
    let failures = 3
    const server = await serve({ getUser: async () => (failures-- > 0 ? Promise.reject(unavailable) : user('u')) })
    const { users, count } = clientOf(at(server))
    expect((await users.getUser(by('u'))).user?.id).toBe('u')
    expect(server.calls).toHaveLength(4)
    expect(await count('rpc_client_retries_total', '{method="bingo.user.v1.UserService/GetUser"}')).toBe(3)
    failures = 100
    expect((await failureOf(users.getUser(by('u')))).kind).toBe('Unavailable')
    expect(server.calls).toHaveLength(4 + 5)
  })

  test('is not tried again by those of whom nobody said so, nor for what another attempt does not change', async () => {
    const server = await serve({
      getUser: () => Promise.reject(unavailable),
      batchGetUsers: () => Promise.reject(new AppError('NotFound', 'X', 'x')),
    })
    expect((await failureOf(clientOf(at(server), { service: risky }).users.getUser(by('u')))).kind).toBe('Unavailable')
    expect(server.calls).toHaveLength(1)
    expect((await failureOf(clientOf(at(server)).users.batchGetUsers({ ids: ['u'] }))).kind).toBe('NotFound')
    expect(server.calls).toHaveLength(2)
  })

  test('is tried again also when headers came, which say nothing yet', async () => {
    let failures = 1
    const server = await serve({
      async getUser(_, { begin }) {
        begin()
        await Bun.sleep(20)
        return failures-- > 0 ? Promise.reject(unavailable) : user('u')
      },
    })
    expect((await clientOf(at(server)).users.getUser(by('u'))).user?.id).toBe('u')
  })

  test('is tried again for a stream until its first message', async () => {
    let [failures, isBroken] = [2, false]
    const server = await serve({
      async *listUsers() {
        if (failures-- > 0) throw unavailable
        yield user('u1')
        if (isBroken) throw unavailable
        yield user('u2')
      },
    })
    const { users } = clientOf(at(server))
    expect((await all(users.listUsers({}))).map(each => each.user?.id)).toEqual(['u1', 'u2'])
    expect(server.calls).toHaveLength(3)
    isBroken = true
    const seen: string[] = []
    const reading = (async () => {
      for await (const each of users.listUsers({})) seen.push(each.user?.id ?? '')
    })()
    expect((await failureOf(reading)).kind).toBe('Unavailable')
    expect(seen).toEqual(['u1'])
    expect(server.calls).toHaveLength(4)
  })

  test('waits for as long as the server says, and not past its own end', async () => {
    const times: number[] = []
    const closed = (retryAfterSeconds: number) => new AppError('Unavailable', 'Maintenance', 'We are at work.', { retryAfterSeconds })
    const server = await serve({
      async getUser({ by: { value } }) {
        times.push(performance.now())
        if (value === 'long') throw closed(60)
        if (times.length === 1) throw closed(0.4)
        return user('u')
      },
    })
    const { users } = clientOf(at(server))
    await users.getUser(by('short'))
    expect((times[1] ?? 0) - (times[0] ?? 0)).toBeGreaterThan(395)
    const startedMs = performance.now()
    expect((await failureOf(users.getUser(by('long'), { timeoutMs: 30_000 }))).code).toBe('Unavailable.Maintenance')
    // It would wait for a minute, or to its own end.
    expect(performance.now() - startedMs).toBeLessThan(10_000)
    expect(times).toHaveLength(3)
  })

  test('is not tried again once half of the budget is gone', async () => {
    // A server that says so itself is there, so the breaker has no part in it.
    const busy = () => new AppError('Unavailable', 'Busy', 'Later.')
    const server = await serve({ getUser: () => Promise.reject(busy()) })
    const { users } = clientOf(at(server))
    await Promise.all(Array.from({ length: 300 }, () => failureOf(users.getUser(by('u')))))
    expect(server.calls.length).toBeWithin(300 + 450, 300 + 501)
    await failureOf(users.getUser(by('u')))
    expect(server.calls.length).toBeLessThan(300 + 502)
  }, 30_000)
})
