import { afterEach, expect, test } from 'bun:test'
import { apiKey, everyone, owner, service } from '@/core/access'
import { currentCaller } from '@/core/caller'
import { AppError } from '@/core/error'
import { eventually } from '@/testing/eventually'
import { keyCalled, recognizing, userCalled } from '@/testing/identities'
import { rawClient } from '@/testing/rpc/raw-client'
import { startRpc, type TestMethods, type TestSettings } from '@/testing/rpc/server'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import type { RpcLimits } from './server'

const open: (() => unknown)[] = []
afterEach(async () => {
  for (const close of open.splice(0).reverse()) await close()
})

async function serving(methods: TestMethods, settings?: TestSettings, limits?: Partial<RpcLimits>) {
  const running = await startRpc(methods, settings, limits)
  const client = rawClient(running.url, UserService)
  open.push(
    () => running.server.stop(),
    () => client.close(),
  )
  return { ...running, client }
}

const user = (id: string) => ({ user: { id, username: 'ada' } })
const byId = { by: { case: 'id', value: '1' } } as const
const credentials = recognizing({
  ada: userCalled('1'),
  bob: userCalled('2'),
  key: keyCalled('k', ['users:read']),
  bot: { kind: 'service', id: 'bot', scopes: new Set(['users:read']) },
})
const ruled = {
  access: [owner(), apiKey('users:read'), service('users:read')],
  params: ({ by }: { by: { value?: string | undefined } }): Record<string, string> => ({ id: by.value ?? '' }),
}

test('a call is answered, with the id of the request that it came with', async () => {
  const seen: unknown[] = []
  const { client, log } = await serving({
    getUser: {
      run: async (_input, { asking }) => {
        seen.push({ ...currentCaller() }, asking.address)
        return user('1')
      },
    },
  })
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
  const answer = await client.call('getUser', byId, { metadata: { 'x-request-id': 'mine', traceparent }, deadlineMs: 3000 })
  expect({ code: answer.code, user: answer.messages[0]?.user?.username }).toEqual({ code: 0, user: 'ada' })
  expect(answer.headers?.get('x-request-id')).toEqual(['mine'])
  expect(seen).toEqual([{ requestId: 'mine', traceparent, deadlineAtMs: expect.any(Number) }, '127.0.0.1'])
  expect(Math.abs((seen[0] as { deadlineAtMs: number }).deadlineAtMs - Date.now() - 3000)).toBeLessThan(1500)
  expect(log.lines.map(({ message, fields }) => [message, fields])).toEqual([
    [
      'call',
      { server: 'rpc', requestId: 'mine', method: 'bingo.user.v1.UserService/GetUser', status: 'OK', durationMs: expect.any(Number) },
    ],
  ])
})

test('an error says its kind, its code, its problems and when to come back, and nothing of its cause', async () => {
  const problems = [{ pointer: '/id', detail: 'must be an id' }]
  const { client } = await serving({
    getUser: {
      run: () =>
        Promise.reject(
          new AppError('Conflict', 'Taken', 'Choose another.', { problems, retryAfterSeconds: 3, cause: new Error('of ours') }),
        ),
    },
  })
  const { code, details, error, trailers } = await client.call('getUser', byId, { metadata: { 'x-request-id': 'mine' } })
  expect({ code, details, kind: error?.kind, app: error?.code, problems: error?.problems, retry: error?.retryAfterSeconds }).toEqual({
    ...{ code: 6, details: 'Choose another.', kind: 'Conflict', app: 'Conflict.Taken', problems, retry: 3 },
  })
  expect(trailers.get('x-request-id')).toEqual(['mine'])
})

test('what is not expected is INTERNAL without a word of what it was, and an error in the log', async () => {
  const { client, log } = await serving({ getUser: { run: () => Promise.reject(new Error('select * from secrets')) } })
  const { code, details, trailers } = await client.call('getUser', byId)
  expect(code).toBe(13)
  expect(JSON.stringify([details, trailers.getMap()])).not.toContain('secrets')
  expect(log.lines[0]).toMatchObject({ level: 'error', message: 'call failed', fields: { err: { message: 'select * from secrets' } } })
})

test('who may not call is refused before the method is run, and a line says so', async () => {
  let runs = 0
  const run = async () => {
    runs++
    return user('1')
  }
  const { client, log } = await serving({ getUser: { ...ruled, run } }, { recognizer: credentials })
  const answers = [
    await client.call('getUser', byId),
    await client.call('getUser', byId, { token: 'nobody' }),
    await client.call('getUser', byId, { metadata: { authorization: 'Basic ada' } }),
    await client.call('getUser', byId, { token: 'bob' }),
  ]
  expect(answers.map(({ error }) => error?.code)).toEqual([
    'Unauthenticated.Credentials',
    'Unauthenticated.Token',
    'Unauthenticated.Token',
    'PermissionDenied.NotYours',
  ])
  expect(runs).toBe(0)
  expect(log.lines.map(({ level, message, fields }) => [level, message, fields['actor'], fields['address']])).toEqual([
    ...Array.from({ length: 3 }, () => ['warn', 'access denied', undefined, '127.0.0.1']),
    ['warn', 'access denied', 'user:2', '127.0.0.1'],
  ])
  for (const token of ['ada', 'key', 'bot']) expect((await client.call('getUser', byId, { token })).code).toBe(0)
  expect(runs).toBe(3)
})

test('whoever nobody knows does not learn whether a message can be read', async () => {
  const { client } = await serving({ getUser: { ...ruled, run: async () => user('1') } }, { recognizer: credentials })
  const path = '/bingo.user.v1.UserService/GetUser'
  expect((await client.raw(path, new Uint8Array([0xff]))).code).toBe(16)
  expect((await client.raw(path, new Uint8Array([0xff]), { token: 'ada' })).error?.code).toBe('InvalidArgument.Message')
})

test('text with a NUL character and text that is no UTF-8 are refused', async () => {
  const { client } = await serving({ getUser: { run: async () => user('1') }, batchGetUsers: { run: async () => ({ users: [] }) } })
  const nul = await client.call('batchGetUsers', { ids: ['a', 'b\0'] })
  expect(nul.error?.code).toBe('InvalidArgument.Text')
  expect(nul.error?.problems).toEqual([{ pointer: '/ids/1', detail: 'must not have NUL characters' }])
  const bad = await client.raw('/bingo.user.v1.UserService/GetUser', new Uint8Array([10, 1, 0xff]))
  expect(bad.error?.code).toBe('InvalidArgument.Message')
})

test('a message that is too large is refused', async () => {
  const { client } = await serving({ batchGetUsers: { run: async () => ({ users: [] }) } }, { http: { bodyLimitBytes: 1024 } })
  expect((await client.call('batchGetUsers', { ids: ['x'.repeat(900)] })).code).toBe(0)
  expect((await client.call('batchGetUsers', { ids: ['x'.repeat(1100)] })).code).toBe(8)
})

test('a call ends with its deadline, and its method is told', async () => {
  const told = Promise.withResolvers<unknown>()
  const { client, log } = await serving({
    getUser: {
      run: (_input, { signal }) => {
        signal.addEventListener('abort', () => told.resolve(signal.reason))
        return new Promise(() => {})
      },
    },
  })
  expect((await client.call('getUser', byId, { deadlineMs: 200 })).code).toBe(4)
  expect(await told.promise).toMatchObject({ code: 'Timeout.Deadline' })
  expect(log.lines[0]?.fields).toMatchObject({ status: 'DEADLINE_EXCEEDED', code: 'Timeout.Deadline' })
})

test('a call without an end is answered when requests are', async () => {
  const { client } = await serving({ getUser: { run: () => new Promise(() => {}) } }, { http: { requestTimeoutMs: 150 } })
  expect((await client.call('getUser', byId)).error?.code).toBe('Timeout.Deadline')
})

test('a call that is cancelled is told so, and is no failure', async () => {
  const [told, began] = [Promise.withResolvers<unknown>(), Promise.withResolvers<void>()]
  const { client, log } = await serving({
    getUser: {
      run: (_input, { signal }) => {
        signal.addEventListener('abort', () => told.resolve(signal.reason))
        began.resolve()
        return new Promise(() => {})
      },
    },
  })
  const call = client.stream('getUser', byId)
  call.on('error', () => {})
  await began.promise
  call.cancel()
  expect(await told.promise).toMatchObject({ code: 'Timeout.Cancelled' })
  expect(log.lines).toMatchObject([{ level: 'info', message: 'call', fields: { status: 'CANCELLED' } }])
})

test('a stream is sent message by message, and no further than its reader reads', async () => {
  let made = 0
  const { client } = await serving({
    listUsers: {
      async *run() {
        for (; made < 6000; made++) yield { user: { id: `${made}`, username: 'x'.repeat(1000) } }
      },
    },
  })
  const call = client.stream('listUsers', {})
  const seen: string[] = []
  await new Promise<void>(resolve => call.once('readable', resolve))
  let before = -1
  // What fits the windows of HTTP/2 and the buffers of both sides, and then no more.
  while (made !== before) {
    before = made
    await Bun.sleep(200)
  }
  expect(made).toBeLessThan(3000)
  for await (const { user } of call) seen.push(user?.id ?? '')
  expect(seen.length).toBe(6000)
  expect(seen.every((id, at) => id === `${at}`)).toBe(true)
})

test('a method whose stream nobody reads any more can clean up', async () => {
  const cleaned = Promise.withResolvers<void>()
  const { client } = await serving({
    watchUser: {
      async *run() {
        try {
          yield user('1')
          yield user('2')
          // What it waits for comes a while after nobody listens.
          await Bun.sleep(100)
          yield user('3')
        } finally {
          cleaned.resolve()
        }
      },
    },
  })
  const call = client.stream('watchUser', { id: '1' })
  call.on('error', () => {})
  await new Promise<void>(resolve => call.once('data', () => resolve()))
  call.cancel()
  await cleaned.promise
})

test('a stream that breaks says why, after what it has said', async () => {
  const { client } = await serving({
    listUsers: {
      async *run() {
        yield user('1')
        throw new AppError('Unavailable', 'Away', 'Come back.')
      },
    },
  })
  const { messages, error } = await client.call('listUsers', {})
  expect(messages.length).toBe(1)
  expect(error?.code).toBe('Unavailable.Away')
})

test('more streams than a process has are refused, and again let in when others have ended', async () => {
  const { client } = await serving(
    {
      watchUser: {
        async *run(_input, { signal }) {
          yield user('1')
          await new Promise(resolve => signal.addEventListener('abort', resolve))
        },
      },
    },
    {},
    { streamsMax: 2 },
  )
  const calls = [client.stream('watchUser', {}), client.stream('watchUser', {})]
  for (const call of calls) call.on('error', () => {})
  await Promise.all(calls.map(call => new Promise<void>(resolve => call.once('data', () => resolve()))))
  const refused = await client.call('watchUser', {})
  expect(refused.error?.code).toBe('ResourceExhausted.Streams')
  expect(refused.error?.retryAfterSeconds).toBeGreaterThan(0)
  calls[0]?.cancel()
  await eventually(async () => (await client.call('watchUser', {}, { deadlineMs: 200 })).code === 4)
})

test('a stream ends when its caller may not listen any more', async () => {
  const known: Record<string, ReturnType<typeof userCalled>> = { ada: userCalled('1') }
  const listened = Promise.withResolvers<void>()
  const { client, log } = await serving(
    {
      watchUser: {
        access: [owner()],
        params: ({ id }) => ({ id }),
        async *run(_input, { signal }) {
          yield user('1')
          listened.resolve()
          await new Promise(resolve => signal.addEventListener('abort', resolve))
        },
      },
    },
    { recognizer: recognizing(known) },
    { lookEveryMs: 20 },
  )
  const call = client.call('watchUser', { id: '1' }, { token: 'ada' })
  await listened.promise
  delete known['ada']
  const { messages, error } = await call
  expect(messages.length).toBe(1)
  expect(error?.code).toBe('Unauthenticated.Token')
  expect(log.lines[0]).toMatchObject({ level: 'warn', message: 'access denied', fields: { actor: 'user:1' } })
})

test('while the house is closed nobody is served, and told when to come back', async () => {
  const maintenance = { isOn: true, message: 'We move.', retryAfterSeconds: 7 }
  const now = () => ({ maintenance, signUp: 'open', logLevel: 'info' }) as const
  const { client, url } = await serving({ getUser: { run: async () => user('1') } }, { liveSettings: { now } })
  const { error } = await client.call('getUser', byId)
  expect({ code: error?.code, message: error?.message, retry: error?.retryAfterSeconds }).toEqual({
    ...{ code: 'Unavailable.Maintenance', message: 'We move.', retry: 7 },
  })
  expect(url).toMatch(/^grpc:\/\/127\.0\.0\.1:\d+$/)
  maintenance.isOn = false
  expect((await client.call('getUser', byId)).code).toBe(0)
})

test('calls count against the limits of users and keys, and not of services', async () => {
  const taken: string[] = []
  const limits = {
    admit: () => {},
    takeInvalid: () => {},
    take(rateClass: string, identity: { kind: string }, _from: unknown, headers: Record<string, unknown>) {
      taken.push(`${rateClass} ${identity.kind}`)
      headers['ratelimit'] = '"read";r=9;t=1'
      if (identity.kind === 'apiKey') throw new AppError('ResourceExhausted', 'RateLimit', 'Later.', { retryAfterSeconds: 9 })
    },
  }
  const { client } = await serving({ getUser: { ...ruled, run: async () => user('1') } }, { recognizer: credentials, limits })
  const ofUser = await client.call('getUser', byId, { token: 'ada' })
  expect(ofUser.headers?.get('ratelimit')).toEqual(['"read";r=9;t=1'])
  const ofKey = await client.call('getUser', byId, { token: 'key' })
  expect([ofKey.error?.code, ofKey.error?.retryAfterSeconds]).toEqual(['ResourceExhausted.RateLimit', 9])
  await client.call('getUser', byId, { token: 'bot' })
  expect(taken).toEqual(['read user', 'read apiKey'])
})

test('witnesses are told of those who are known and are refused', async () => {
  const told: unknown[] = []
  const witness = { denied: (denial: unknown) => void told.push(denial), settle: async () => {} }
  const { client } = await serving({ getUser: { ...ruled, run: async () => user('1') } }, { recognizer: credentials, denials: [witness] })
  await client.call('getUser', byId)
  await client.call('getUser', byId, { token: 'bob' })
  expect(told).toMatchObject([
    { path: '/bingo.user.v1.UserService/GetUser', code: 'PermissionDenied.NotYours', asking: { identity: { id: '2' } } },
  ])
})

test('a port that is taken is said with the setting', async () => {
  const { url } = await serving({})
  const port = Number(new URL(url).port)
  await expect(startRpc({}, { rpc: { port } })).rejects.toThrow(
    `port ${port} on 127.0.0.1 is in use; stop what uses it, or choose another with --rpc.port`,
  )
})

test('a method that is not there is UNIMPLEMENTED', async () => {
  const { client } = await serving({ getUser: { access: [everyone()] } })
  expect((await client.raw('/bingo.user.v1.UserService/Nothing', new Uint8Array())).code).toBe(12)
})
