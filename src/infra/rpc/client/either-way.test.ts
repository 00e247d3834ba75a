import { afterEach, describe, expect, test } from 'bun:test'
import { everyone, owner, service, user as anyUser } from '@/core/access'
import { asCaller, currentCaller } from '@/core/caller'
import { AppError } from '@/core/error'
import type { LiveValues } from '@/core/live-settings'
import type { RpcCall } from '@/core/rpc'
import { createMetrics } from '@/infra/metrics'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { eventually } from '@/testing/eventually'
import { fakeLog } from '@/testing/fakes'
import { recognizing, serviceCalled } from '@/testing/identities'
import { serviceOf, startRpc, type TestMethods } from '@/testing/rpc/server'
import { openRpcClients } from '../open'

/** Whether a service is of this process or of another, callers cannot tell. */

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
})

const live = (isOn: boolean) => ({ now: () => ({ maintenance: { isOn, message: 'Back at noon.', retryAfterSeconds: 60 } }) as LiveValues })
const tokens = {
  signService: async ({ scopes }: { scopes: readonly string[] }) => ({
    token: ['t', ...scopes].join('.').replaceAll(':', '-'),
    expiresInSeconds: 300,
  }),
}
const recognizer = recognizing({
  t: serviceCalled('bot', []),
  't.users-read': serviceCalled('bot', ['users:read']),
})

const ways = {
  async 'in this process'(methods: TestMethods, isClosed = false, bodyLimitBytes = 1_048_576) {
    const log = fakeLog()
    const opened = openRpcClients(
      { rpc: { port: 1, target: undefined, timeoutMs: 5000, services: [] } as never, http: { bodyLimitBytes } as never },
      { tokens, log, metrics: createMetrics({ version: '0', roles: [] }), name: 'bot', liveSettings: live(isClosed) },
    )
    undo.push(() => opened.close())
    opened.serveHere([async () => serviceOf(methods)])
    return { clients: opened.clients, log }
  },
  async 'over the network'(methods: TestMethods, isClosed = false, bodyLimitBytes = 1_048_576) {
    const { server, url, log } = await startRpc(methods, { recognizer, http: { bodyLimitBytes }, liveSettings: live(isClosed) })
    const opened = openRpcClients(
      { rpc: { port: 1, target: new URL(url).host, timeoutMs: 5000, services: [] }, http: { bodyLimitBytes: 1 } as never },
      { tokens, log: fakeLog(), metrics: createMetrics({ version: '0', roles: [] }), name: 'bot' },
    )
    undo.push(() => server.stop())
    undo.push(() => opened.close())
    return { clients: opened.clients, log }
  },
}

const by = (value: string) => ({ by: { case: 'id', value } }) as const
const reads = [service('users:read')]
async function failureOf(work: Promise<unknown>) {
  const thrown = await work.then(
    () => undefined,
    error => error,
  )
  if (!(thrown instanceof AppError)) throw new Error(`not an AppError: ${thrown}`)
  const { kind, code, message, problems, retryAfterSeconds, scopes } = thrown
  return { kind, code, message, problems, retryAfterSeconds, scopes }
}
async function all<T>(messages: AsyncIterable<T>): Promise<T[]> {
  const found: T[] = []
  for await (const message of messages) found.push(message)
  return found
}

for (const [way, open] of Object.entries(ways)) {
  const openFor = async (methods: TestMethods, scopes = ['users:read'], ...more: [isClosed?: boolean, limit?: number]) => {
    const { clients, log } = await open(methods, ...more)
    return { users: clients.client(UserService, { scopes }), log }
  }

  describe(way, () => {
    test('a method knows who calls, on whose behalf, and until when', async () => {
      const seen: unknown[] = []
      const see = ({ asking: { identity, address, requestId } }: RpcCall) => {
        const { actor, requestId: ofCaller, traceparent, deadlineAtMs = 0 } = currentCaller() ?? {}
        seen.push({ identity, address, requestId, actor, ofCaller, traceparent, leftMs: Math.round((deadlineAtMs - Date.now()) / 1000) })
      }
      const { users } = await openFor({
        getUser: {
          access: reads,
          async run(_, call) {
            see(call)
            return { user: { id: 'u' } }
          },
        },
        listUsers: {
          access: reads,
          async *run(_, call) {
            see(call)
            yield { user: { id: 'u' } }
          },
        },
      })
      const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01'
      await asCaller({ requestId: 'r-1', traceparent, deadlineAtMs: Date.now() + 3000 }, async () => {
        await users.getUser(by('u'), { timeoutMs: 60_000 })
        await all(users.listUsers({}))
      })
      const expected = {
        ...{ identity: serviceCalled('bot', ['users:read']), address: '127.0.0.1', requestId: 'r-1' },
        ...{ actor: 'service:bot', ofCaller: 'r-1', traceparent, leftMs: 3 },
      }
      expect(seen).toEqual([expected, expected])
    })

    test('whoever has not asked for the scope is refused before anything is done', async () => {
      let runs = 0
      const run = async () => {
        runs++
        return {}
      }
      const { users, log } = await openFor(
        {
          getUser: { access: [owner(), ...reads], params: () => ({ id: 'u' }), run },
          batchGetUsers: { access: [anyUser()], run },
          listUsers: {
            access: reads,
            async *run() {
              runs++
              yield {}
            },
          },
        },
        [],
      )
      const problems = [{ pointer: 'authorization', detail: 'does not have the scope users:read' }]
      const refused = { kind: 'PermissionDenied', code: 'PermissionDenied.ServiceScope', problems, scopes: ['users:read'] }
      expect(await failureOf(users.getUser(by('u')))).toMatchObject(refused)
      expect(await failureOf(all(users.listUsers({})))).toMatchObject(refused)
      expect(await failureOf(users.batchGetUsers({}))).toMatchObject({ code: 'PermissionDenied.NotForYou' })
      expect(runs).toBe(0)
      await eventually(() => log.lines.length === 3)
      const lines = log.lines.map(({ level, message, fields }) => [level, message, fields['actor'], fields['status']])
      expect(lines).toEqual(Array(3).fill(['warn', 'access denied', 'service:bot', 'PERMISSION_DENIED']))
    })

    test('messages are of those alone who have them', async () => {
      const kept = { user: { id: 'u', username: 'ada' } }
      const { users } = await openFor({
        batchGetUsers: {
          access: [everyone()],
          async run(input) {
            input.ids.push('more')
            return { missingIds: input.ids }
          },
        },
        getUser: { access: [everyone()], run: async () => kept },
      })
      const given = { ids: ['u1'] }
      expect((await users.batchGetUsers(given)).missingIds).toEqual(['u1', 'more'])
      expect(given).toEqual({ ids: ['u1'] })
      const answer = await users.getUser(by('u'))
      if (answer.user) answer.user.username = 'eve'
      expect((await users.getUser(by('u'))).user?.username).toBe('ada')
    })

    test('errors are the same, and what is not expected says nothing and is logged where it happens', async () => {
      const problems = [{ pointer: 'id', detail: 'must be an id' }]
      const gone = new AppError('NotFound', 'UserNotFound', 'There is no such user.', { problems, cause: new Error('row of the house') })
      const { users, log } = await openFor({
        getUser: { access: [everyone()], run: () => Promise.reject(gone) },
        batchGetUsers: { access: [everyone()], run: () => Promise.reject(new TypeError('secret of the house')) },
        listUsers: {
          access: [everyone()],
          async *run() {
            yield { user: { id: 'u' } }
            throw new AppError('Aborted', 'Changed', 'It has changed.', { retryAfterSeconds: 1.5 })
          },
        },
      })
      const plain = { problems: [], scopes: [], retryAfterSeconds: undefined }
      expect(await failureOf(users.getUser(by('u')))).toEqual({
        ...{ ...plain, kind: 'NotFound', code: 'NotFound.UserNotFound', message: 'There is no such user.', problems },
      })
      const seen: string[] = []
      const reading = (async () => {
        for await (const { user } of users.listUsers({})) seen.push(user?.id ?? '')
      })()
      expect(await failureOf(reading)).toEqual({
        ...{ ...plain, kind: 'Aborted', code: 'Aborted.Changed', message: 'It has changed.', retryAfterSeconds: 1.5 },
      })
      expect(seen).toEqual(['u'])
      const unexpected = await failureOf(users.batchGetUsers({}))
      expect(unexpected).toMatchObject({ ...plain, kind: 'Internal', code: 'Internal.Unexpected' })
      expect(JSON.stringify(unexpected)).not.toContain('secret')
      expect(log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
    })

    test('what cannot be read, or is too large, or comes while the house is closed is refused', async () => {
      const run = async () => ({})
      const methods: TestMethods = { getUser: { access: [everyone()], run }, batchGetUsers: { access: [everyone()], run } }
      const { users } = await openFor(methods, [], false, 1000)
      expect(await failureOf(users.getUser(by('a\0b')))).toMatchObject({ kind: 'InvalidArgument', code: 'InvalidArgument.Text' })
      expect((await failureOf(users.batchGetUsers({ ids: ['x'.repeat(2000)] }))).code).toBe('TooLarge.MessageSize')
      const long = { user: { id: 'x'.repeat(5_000_000) } }
      const { users: large } = await openFor({ getUser: { access: [everyone()], run: async () => long } })
      expect((await failureOf(large.getUser(by('u')))).code).toBe('TooLarge.AnswerSize')
      const { users: others } = await openFor(methods, [], true)
      expect(await failureOf(others.getUser(by('u')))).toMatchObject({
        ...{ code: 'Unavailable.Maintenance', message: 'Back at noon.', retryAfterSeconds: 60 },
      })
    })

    test('an end is kept though the method does not hear of it, and one that listens hears', async () => {
      const heard: unknown[] = []
      const never = new Promise<never>(() => {})
      const { users } = await openFor({
        getUser: {
          access: [everyone()],
          run(_, { signal }) {
            signal.addEventListener('abort', () => heard.push((signal.reason as AppError).code))
            return never
          },
        },
        listUsers: {
          access: [everyone()],
          async *run(_, { signal }) {
            signal.addEventListener('abort', () => heard.push((signal.reason as AppError).code))
            yield { user: { id: 'u' } }
            await never
          },
        },
      })
      const startedMs = performance.now()
      expect((await failureOf(users.getUser(by('u'), { timeoutMs: 200 }))).code).toBe('Timeout.Deadline')
      expect((await failureOf(all(users.listUsers({}, { timeoutMs: 200 })))).code).toBe('Timeout.Deadline')
      expect(performance.now() - startedMs).toBeWithin(390, 3000)
      const abort = new AbortController()
      const failing = [failureOf(users.getUser(by('u'), abort)), failureOf(all(users.listUsers({}, abort)))]
      setTimeout(() => abort.abort(), 100)
      expect((await Promise.all(failing)).map(({ code }) => code)).toEqual(['Timeout.Cancelled', 'Timeout.Cancelled'])
      await eventually(() => heard.length === 4)
      // Whose clock is first when a deadline is over, the caller's or that of the server, is nobody's to say.
      expect(heard.slice(0, 2).filter(code => code !== 'Timeout.Deadline' && code !== 'Timeout.Cancelled')).toEqual([])
      expect(heard.slice(2)).toEqual(['Timeout.Cancelled', 'Timeout.Cancelled'])
    })

    test('whoever leaves a stream ends it, and it looks after what it holds', async () => {
      let [made, isClosed] = [0, false]
      const { users } = await openFor({
        listUsers: {
          access: [everyone()],
          async *run(_, { signal }) {
            try {
              for (; !signal.aborted && made < 100_000; made++) {
                yield { user: { id: String(made), nickname: 'x'.repeat(1000) } }
                await Bun.sleep(0)
              }
            } finally {
              isClosed = true
            }
          },
        },
      })
      for await (const { user } of users.listUsers({})) if (user?.id === '5') break
      await eventually(() => isClosed)
      expect(made).toBeLessThan(2000)
    })
  })
}

test('nobody is connected to, and nothing is signed, for what this process serves itself', async () => {
  let signed = 0
  const opened = openRpcClients(
    { rpc: { port: 1, target: undefined, timeoutMs: 5000, services: [] } as never, http: { bodyLimitBytes: 1000 } as never },
    {
      tokens: { signService: async () => ({ token: `t${++signed}`, expiresInSeconds: 300 }) },
      ...{ log: fakeLog(), metrics: createMetrics({ version: '0', roles: [] }), name: 'bot' },
    },
  )
  undo.push(() => opened.close())
  let made = 0
  opened.serveHere([
    async () => {
      made++
      return serviceOf({ getUser: { access: [everyone()], run: async () => ({ user: { id: 'here' } }) } })
    },
  ])
  const users = opened.clients.client(UserService, { scopes: [] })
  expect(made).toBe(0)
  for (let i = 0; i < 3; i++) expect((await users.getUser(by('u'))).user?.id).toBe('here')
  expect([made, signed]).toEqual([1, 0])
})

test('where a target is said, this process calls it, though it serves the same', async () => {
  const { server, url } = await startRpc(
    { getUser: { access: [everyone()], run: async () => ({ user: { id: 'there' } }) } },
    { recognizer },
  )
  undo.push(() => server.stop())
  const opened = openRpcClients(
    { rpc: { port: 1, target: new URL(url).host, timeoutMs: 5000, services: [] }, http: { bodyLimitBytes: 1000 } as never },
    { tokens, log: fakeLog(), metrics: createMetrics({ version: '0', roles: [] }), name: 'bot' },
  )
  undo.push(() => opened.close())
  opened.serveHere([async () => serviceOf({ getUser: { access: [everyone()], run: async () => ({ user: { id: 'here' } }) } })])
  expect((await opened.clients.client(UserService, { scopes: [] }).getUser(by('u'))).user?.id).toBe('there')
})
