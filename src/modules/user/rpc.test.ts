import { beforeEach, describe, expect, test } from 'bun:test'
import { create, type MessageInitShape, type MessageShape } from '@bufbuild/protobuf'
import { decide } from '@/core/access'
import { anonymous, type Identity } from '@/core/identity'
import type { RpcMethod } from '@/core/rpc'
import { type User, UserService, UserStatus } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { accountsOn } from '@/testing/accounts'
import { onEachBacking } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { adminCalled, keyCalled, serviceCalled, userCalled } from '@/testing/identities'
import { useMigrated } from '@/testing/migrated'
import { userRpc } from './rpc'
import { userStore } from './store'
import { userWatch, type WatchLimits } from './watch.biz'

type Methods = typeof UserService.method
type Answer<K extends keyof Methods> = MessageShape<Methods[K]['output']>

const reader = serviceCalled('reports', ['users:read'])
const nobodys = '01890a5d-ac96-774b-bcce-b302099a8057'

onEachBacking('the user service', open => {
  const scene = useMigrated(open, ['user', 'userMessage'])
  let ids: Record<'ada' | 'bob' | 'cyd', string>
  let accounts: ReturnType<typeof accountsOn>
  beforeEach(async () => {
    accounts = accountsOn(scene.db)
    const signUp = async (username: string, more: object = {}) =>
      (await accounts.users.signUp({ username, email: `${username}@example.com`, password: 'correct horse battery', ...more })).id
    ids = { ada: await signUp('ada', { nickname: 'Ada Lovelace' }), bob: await signUp('bob'), cyd: await signUp('cyd') }
    await accounts.users.setStatus(scene.db, ids.cyd, 'suspended')
  })

  function serve(limits: Partial<WatchLimits> = {}) {
    const [stopping, log, metrics] = [new AbortController(), fakeLog(), countingMetrics()]
    const ports = { db: scene.db, stopping: stopping.signal, log, metrics, users: userStore }
    const methods = userRpc(accounts.users, userWatch(ports, { everyMs: 20, ...limits })).methods as Record<string, RpcMethod>
    /** As a server does it: whether the caller may, and only then what it asks. */
    async function begin(name: keyof Methods, init: object, identity: Identity, signal = new AbortController().signal): Promise<unknown> {
      const input = create(UserService.method[name].input as Methods['getUser']['input'], init as never)
      const method = methods[name] as RpcMethod
      const refusal = await decide(identity, method.access, method.params?.(input as never) ?? {})
      if (refusal) throw refusal
      return method.run(input as never, { asking: { identity, address: '192.0.2.1' }, signal })
    }
    const ask = async <K extends 'getUser' | 'batchGetUsers'>(
      name: K,
      init: MessageInitShape<Methods[K]['input']>,
      by: Identity = reader,
    ) => create(UserService.method[name].output as Methods['getUser']['output'], (await begin(name, init, by)) as never) as Answer<K>
    const stream = async (name: 'listUsers' | 'watchUser', init: object, by: Identity = reader, signal?: AbortSignal) =>
      ((await begin(name, init, by, signal)) as AsyncIterable<{ user?: User }>)[Symbol.asyncIterator]()
    return { ask, stream, stopping, log, metrics }
  }

  async function all(stream: AsyncIterator<{ user?: User }>): Promise<(string | undefined)[]> {
    const found: (string | undefined)[] = []
    for (let next = await stream.next(); !next.done; next = await stream.next()) found.push(next.value.user?.username)
    return found
  }

  test('a user is told as the HTTP API tells it, by id and by the username in any case', async () => {
    const { ask } = serve()
    const shown = await accounts.users.get(ids.ada)
    for (const by of [
      { case: 'id', value: ids.ada },
      { case: 'username', value: ' Ada ' },
    ] as const) {
      const { user } = await ask('getUser', { by })
      const at = (timestamp: User['createdAt']) =>
        new Date(Number(timestamp?.seconds) * 1000 + Number(timestamp?.nanos) / 1e6).toISOString()
      expect({ ...user, createdAt: at(user?.createdAt), updatedAt: at(user?.updatedAt) }).toMatchObject({
        ...shown,
        status: UserStatus.ACTIVE,
      })
      expect(
        Object.keys(user ?? {})
          .filter(key => !key.startsWith('$'))
          .toSorted(),
      ).toEqual(Object.keys(shown).toSorted())
    }
    const { user } = await ask('getUser', { by: { case: 'id', value: ids.cyd } })
    expect([user?.status, user?.nickname]).toEqual([UserStatus.SUSPENDED, undefined])
  })

  test('who asks for nobody is told so, and who says nobody, too', async () => {
    const { ask } = serve()
    for (const by of [
      { case: 'id', value: nobodys },
      { case: 'id', value: 'x' },
      { case: 'username', value: 'eve' },
    ] as const)
      await expect(ask('getUser', { by })).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    for (const value of ['', 'ad', 'ada\0', 'ádа', '%', 'x'.repeat(100_000), '\ud800'])
      await expect(ask('getUser', { by: { case: 'username', value } })).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    await expect(ask('getUser', {})).rejects.toMatchObject({ code: 'InvalidArgument.WhomMissing' })
  })

  test('nobody without the scope learns whether a username is somebody’s, not even their own', async () => {
    const { ask } = serve()
    const [ada, key] = [userCalled(ids.ada), keyCalled('k', ['users:read'], ids.ada)]
    const strangers = [anonymous, ada, userCalled(ids.bob), key, keyCalled('k', []), serviceCalled('s', []), adminCalled('root')]
    for (const by of strangers) {
      const codes = await Promise.all(
        ['ada', 'bob', 'eve'].map(value => ask('getUser', { by: { case: 'username', value } }, by).catch(thrown => thrown.code)),
      )
      expect(codes).toEqual([codes[0], codes[0], codes[0]])
      expect(codes[0]).toMatch(/^(Unauthenticated|PermissionDenied)\./)
    }
    expect((await ask('getUser', { by: { case: 'id', value: ids.ada } }, ada)).user?.username).toBe('ada')
    expect((await ask('getUser', { by: { case: 'id', value: ids.ada } }, key)).user?.username).toBe('ada')
    for (const value of [ids.bob, nobodys])
      await expect(ask('getUser', { by: { case: 'id', value } }, ada)).rejects.toMatchObject({ code: 'PermissionDenied.NotYours' })
  })

  test('many are told in the order of their ids, each once, and those who are nobody are named', async () => {
    const { ask } = serve()
    const { users, missingIds } = await ask('batchGetUsers', { ids: [ids.cyd, nobodys, ids.ada, 'x', ids.cyd, nobodys] })
    expect([users.map(({ username }) => username), missingIds]).toEqual([
      ['cyd', 'ada'],
      [nobodys, 'x'],
    ])
    expect((await ask('batchGetUsers', { ids: Array.from({ length: 100 }, () => ids.bob) })).users).toHaveLength(1)
    for (const wrong of [[], Array.from({ length: 101 }, () => ids.bob), ['x'.repeat(65)]])
      await expect(ask('batchGetUsers', { ids: wrong })).rejects.toMatchObject({ code: 'InvalidArgument.IdsWrong' })
  })

  test('all are told by age, of one status, behind an id, and none is read that nobody takes', async () => {
    const { stream } = serve()
    expect(await all(await stream('listUsers', {}))).toEqual(['ada', 'bob', 'cyd'])
    expect(await all(await stream('listUsers', { status: UserStatus.SUSPENDED }))).toEqual(['cyd'])
    expect(await all(await stream('listUsers', { status: UserStatus.ACTIVE, afterId: ids.ada }))).toEqual(['bob'])
    for (const [init, code] of [
      [{ status: 99 }, 'StatusUnknown'],
      [{ afterId: 'x' }, 'AfterWrong'],
    ] as const)
      await expect((await stream('listUsers', init)).next()).rejects.toMatchObject({ code: `InvalidArgument.${code}` })
    const leaving = new AbortController()
    const left = await stream('listUsers', {}, reader, leaving.signal)
    await left.next()
    leaving.abort()
    expect(await left.next()).toMatchObject({ done: true })
  })

  test('more than are read at a time are told without one missing or twice', async () => {
    const { db } = scene
    const names = Array.from({ length: 450 }, (_, i) => `many${i}`)
    const rows = names.map(username => ({ username, email: `${username}@example.com`, passwordHash: 'x', status: 'active' as const }))
    await userStore(db).createMany(rows)
    const { stream } = serve()
    const told = await all(await stream('listUsers', { afterId: ids.cyd }))
    expect(told.toSorted()).toEqual(names.toSorted())
  })

  describe('who watches a user', () => {
    const rename = (nickname: string) => accounts.users.change(ids.ada, { nickname }, {}, { identity: userCalled(ids.ada), address: '' })

    test('is told what it is now and after each change, and at the end that it was deleted', async () => {
      const { stream, metrics } = serve()
      const watching = await stream('watchUser', { id: ids.ada }, userCalled(ids.ada))
      expect((await watching.next()).value.user).toMatchObject({ username: 'ada', nickname: 'Ada Lovelace' })
      expect(metrics.gaugeOf('bingo_user_watches')).toBe(1)
      for (const nickname of ['Ada', 'Countess']) {
        const next = watching.next()
        await rename(nickname)
        expect((await next).value.user).toMatchObject({ nickname })
      }
      await accounts.users.remove(scene.db, ids.ada, {})
      expect(await watching.next()).toEqual({ done: false, value: {} })
      expect(await watching.next()).toEqual({ done: true, value: undefined })
      expect(metrics.gaugeOf('bingo_user_watches')).toBe(0)
    })

    test('is told the last of several changes, and nothing of what was before, however slowly it reads', async () => {
      const { stream } = serve()
      const [slow, quick] = [await stream('watchUser', { id: ids.ada }), await stream('watchUser', { id: ids.ada })]
      await Promise.all([slow.next(), quick.next()])
      for (const nickname of ['one', 'two', 'three']) {
        await rename(nickname)
        expect((await quick.next()).value.user?.nickname).toBe(nickname)
      }
      expect((await slow.next()).value.user?.nickname).toBe('three')
      const waiting = slow.next()
      await rename('four')
      expect((await waiting).value.user?.nickname).toBe('four')
      await Promise.all([slow.return?.(), quick.return?.()])
    })

    test('is not told of changes of others, and of nobody that there is no such user', async () => {
      const { stream, metrics } = serve()
      const watching = await stream('watchUser', { id: ids.bob })
      await watching.next()
      const other = await stream('watchUser', { id: ids.ada })
      await other.next()
      const [next, told] = [watching.next(), other.next()]
      await rename('Countess')
      await told
      expect(await Promise.race([next, Bun.sleep(100).then(() => 'nothing')])).toBe('nothing')
      for (const id of [nobodys, 'x', ''])
        await expect((await stream('watchUser', { id })).next()).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
      expect(metrics.gaugeOf('bingo_user_watches')).toBe(2)
    })

    test('ends when the caller has gone, and then nobody is looked at any more', async () => {
      const { stream, metrics } = serve()
      const leaving = new AbortController()
      const watching = await stream('watchUser', { id: ids.ada }, reader, leaving.signal)
      await watching.next()
      const next = watching.next()
      leaving.abort()
      expect(await next).toMatchObject({ done: true })
      // Also one whose reader does not come back for the next.
      const second = new AbortController()
      await (await stream('watchUser', { id: ids.ada }, reader, second.signal)).next()
      expect(metrics.gaugeOf('bingo_user_watches')).toBe(1)
      second.abort()
      expect(metrics.gaugeOf('bingo_user_watches')).toBe(0)
    })

    test('is told to come again when the process stops, and when it cannot be told what is', async () => {
      const { stream, stopping } = serve()
      const watching = await stream('watchUser', { id: ids.ada })
      await watching.next()
      const next = watching.next()
      stopping.abort()
      const broken = { code: 'Unavailable.WatchBroken', retryAfterSeconds: 1 }
      await expect(next).rejects.toMatchObject(broken)
      await expect((await stream('watchUser', { id: ids.ada })).next()).rejects.toMatchObject(broken)
    })

    test('is one of so many, of all callers and of one', async () => {
      const { stream, metrics } = serve({ watchesMax: 3, watchesOfOneMax: 2 })
      const watch = async (by: Identity) => {
        const watching = await stream('watchUser', { id: ids.ada }, by)
        await watching.next()
        return watching
      }
      const other = serviceCalled('other', ['users:read'])
      const first = await watch(reader)
      await watch(reader)
      await expect(watch(reader)).rejects.toMatchObject({ code: 'ResourceExhausted.TooManyWatches' })
      await watch(other)
      await expect(watch(other)).rejects.toMatchObject({ code: 'ResourceExhausted.WatchesFull', retryAfterSeconds: 5 })
      await first.return?.()
      await watch(other)
      expect(metrics.gaugeOf('bingo_user_watches')).toBe(3)
    })
  })
})

test('a watch ends when users cannot be looked at for too long, and goes on when it is shorter', async () => {
  let isAway = false
  const shown = { id: nobodys, username: 'ada', email: 'ada@example.com', status: 'active', createdAt: '2026-01-31T09:05:00.000Z' } as const
  let version = 1
  const row = () => ({ ...shown, updatedAt: shown.createdAt, version })
  const users = () =>
    ({
      get: async () => row(),
      async getMany() {
        if (isAway) throw new Error('the database is away')
        return [row()]
      },
    }) as unknown as ReturnType<typeof userStore>
  const log = fakeLog()
  const ports = { db: {} as never, stopping: new AbortController().signal, log, metrics: countingMetrics(), users }
  const watch = userWatch(ports, { everyMs: 5, blindMaxMs: 300 })
  const watching = watch(nobodys, { identity: reader, address: '' }, new AbortController().signal)
  await watching.next()
  isAway = true
  const next = watching.next()
  await until(async () => log.lines.length >= 2, 5000)
  version = 2
  isAway = false
  expect((await next).value?.version).toBe(2)
  isAway = true
  await expect(watching.next()).rejects.toMatchObject({ code: 'Unavailable.WatchBroken' })
})
