import { afterAll, beforeAll, expect, test } from 'bun:test'
import { fromBinary, type MessageShape } from '@bufbuild/protobuf'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { type Client as User, newServiceKey, newUser } from '../clients'
import { eventually } from '../eventually'
import { addUsers } from '../many-users'
import { rawClient } from '../rpc/raw-client'
import { bytesOf } from '../rpc/fixtures'
import { freePort } from '../servers'

/** The streams of users on the executable: what changes over HTTP is told, and they end when they must. */

const folder = temporaryFolder()
const url = `sqlite:${folder.path}/bingo.db`
const rpcPort = freePort()
const address = `127.0.0.1:${rpcPort}`
const start = () =>
  startBingo({ roles: 'api', args: [`--rpc.port=${rpcPort}`], env: { BINGO_DATABASE_URL: url, BINGO_HTTP_REQUEST_TIMEOUT_MS: '60000' } })
let bingo: RunningBingo
let service: User
beforeAll(async () => {
  bingo = await start()
  service = await newServiceKey({ url }, ['users:read'])
}, 60_000)
afterAll(async () => {
  await bingo.stop()
  folder[Symbol.dispose]()
})

type Streams = 'listUsers' | 'watchUser'

/** A stream as it comes; ended when the test has seen enough. */
function stream<K extends Streams>(name: K, init: object, { headers }: Pick<User, 'headers'>) {
  const method = UserService.method[name]
  const client = new Client(address, credentials.createInsecure())
  const metadata = new Metadata()
  metadata.set('authorization', headers.authorization)
  const bytes = bytesOf(method, init)
  const path = `/${UserService.typeName}/${method.name}`
  const call = client.makeServerStreamRequest(
    path,
    (value: Buffer) => value,
    (value: Buffer) => value,
    Buffer.from(bytes),
    metadata,
  )
  const got: MessageShape<(typeof UserService.method)[K]['output']>[] = []
  const status = Promise.withResolvers<{ code: number; details: string; atMs: number }>()
  call.on('data', (message: Buffer) => void got.push(fromBinary(method.output, message) as never))
  call.on('error', () => {})
  call.on('status', ({ code, details }: { code: number; details: string }) => {
    status.resolve({ code, details, atMs: performance.now() })
    client.close()
  })
  return { got, call, ended: status.promise, cancel: () => call.cancel() }
}

const codes = { ok: 0, cancelled: 1, unavailable: 14, unauthenticated: 16 }
/** The look, once a second, and what a machine that does much else adds. */
const soonMs = 5000
const gauge = async (name: string) =>
  Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(await (await fetch(`${bingo.ops}/metrics`)).text())?.[1])

test('a user who is watched is told as it changes over HTTP, to the end', async () => {
  const ada = await newUser(bingo.url)
  const watching = stream('watchUser', { id: ada.user.id }, service)
  await eventually(async () => watching.got.length === 1, soonMs)
  for (const nickname of ['Ada', 'Countess']) {
    const changedMs = performance.now()
    await ada.send('PATCH', `${bingo.url}/api/v1/users/${ada.user.id}`, { nickname })
    await eventually(async () => watching.got.at(-1)?.user?.nickname === nickname, soonMs)
    expect(performance.now() - changedMs).toBeLessThan(soonMs)
  }
  expect(watching.got.map(({ user }) => user?.version)).toEqual([1, 2, 3])
  await ada.send('DELETE', `${bingo.url}/api/v1/users/${ada.user.id}`)
  expect(await watching.ended).toMatchObject({ code: codes.ok })
  expect([watching.got.length, watching.got.at(-1)?.user]).toEqual([4, undefined])
}, 30_000)

test('who watches is told no more when the session is over or the key is deleted, and watches nothing when they have gone', async () => {
  const ada = await newUser(bingo.url)
  const own = stream('watchUser', { id: ada.user.id }, ada)
  const key = await ada.send<{ key: string; id: string }>('POST', `${bingo.url}/api/v1/me/api-keys`, {
    ...{ name: 'mine', scopes: ['users:read'], currentPassword: ada.password },
  })
  const byKey = stream('watchUser', { id: ada.user.id }, { headers: { authorization: `Bearer ${key.body.key}` } })
  const left = stream('watchUser', { id: ada.user.id }, service)
  await eventually(async () => [own, byKey, left].every(({ got }) => got.length === 1), soonMs)
  expect(await gauge('bingo_user_watches')).toBe(3)
  left.cancel()
  expect((await left.ended).code).toBe(codes.cancelled)
  await ada.send('DELETE', `${bingo.url}/api/v1/me/api-keys/${key.body.id}`)
  expect((await byKey.ended).code).toBe(codes.unauthenticated)
  // What is somebody else's end is not that of the session.
  await ada.send('PATCH', `${bingo.url}/api/v1/users/${ada.user.id}`, { nickname: 'Ada' })
  await eventually(() => own.got.length === 2, soonMs)
  await ada.send('DELETE', `${bingo.url}/api/v1/sessions/current`)
  expect((await own.ended).code).toBe(codes.unauthenticated)
  expect([own.got.length, byKey.got.length]).toEqual([2, 1])
  await eventually(async () => (await gauge('bingo_user_watches')) === 0, soonMs)
}, 30_000)

test('all users are told to who reads slowly as to who reads quickly, and few of them wait in memory', async () => {
  const many = 20_000
  addUsers(`${folder.path}/bingo.db`, many)
  const quick = stream('listUsers', {}, service)
  expect((await quick.ended).code).toBe(codes.ok)
  const ids = quick.got.map(({ user }) => user?.id)
  expect([ids.length >= many, new Set(ids).size]).toEqual([true, ids.length])
  expect(ids).toEqual(ids.toSorted())

  const slow = stream('listUsers', {}, service)
  await eventually(async () => slow.got.length > 0, soonMs)
  slow.call.pause()
  const before = slow.got.length
  await Bun.sleep(500)
  // What it has not read is not there yet: it is read from the database when it goes on, and so are those who came meanwhile.
  const late = await newUser(bingo.url)
  expect(before).toBeLessThan(many)
  slow.call.resume()
  expect((await slow.ended).code).toBe(codes.ok)
  expect([slow.got.length, slow.got.at(-1)?.user?.id]).toEqual([ids.length + 1, late.user.id])

  const behind = stream('listUsers', { afterId: ids[many - 10] }, service)
  expect((await behind.ended).code).toBe(codes.ok)
  expect(behind.got.map(({ user }) => user?.id)).toEqual([...ids.slice(many - 9), late.user.id])
}, 120_000)

test('a process that stops ends what is watched with a code that says to go elsewhere, and stops in time', async () => {
  const ada = await newUser(bingo.url)
  const watching = stream('watchUser', { id: ada.user.id }, service)
  await eventually(async () => watching.got.length === 1, soonMs)
  const stoppedMs = performance.now()
  expect(await bingo.stop()).toBe(0)
  const { code, details, atMs } = await watching.ended
  expect([code, details]).toEqual([codes.unavailable, expect.stringMatching(/again|another/)])
  expect(atMs - stoppedMs).toBeLessThan(10_000)
  bingo = await start()
  const rpc = rawClient(address)
  const { code: again } = await rpc.raw(`/${UserService.typeName}/WatchUser`, bytesOf(UserService.method.watchUser, { id: ada.user.id }), {
    ...{ metadata: { authorization: service.headers.authorization }, atMost: 1 },
  })
  rpc.close()
  expect(again).toBe(codes.ok)
}, 60_000)
