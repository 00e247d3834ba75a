import { afterAll, beforeAll, expect, test } from 'bun:test'
import { connect } from 'node:http2'
import { resolve } from 'node:path'
import { Health, HealthCheckResponse_ServingStatus as Status } from '@/proto/generated/grpc/health/v1/health_pb.js'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { authorityIn } from '../certificates'
import { backingIn, newServiceKey, newUser, type UserClient } from '../clients'
import { eventually } from '../eventually'
import { addUsers } from '../many-users'
import { rawClient } from '../rpc/raw-client'

/** What a client of gRPC that is not ours gets of the executable: Node with grpc-js as it comes, in a process of its own. */

interface NodeCall {
  as: string
  service?: 'user' | 'health' | 'reflection'
  method?: string
  input?: unknown
  times?: number
  reflect?: { symbol: string; method: string; input: unknown }
  metadata?: Record<string, string>
  deadlineMs?: number
  cancelAfter?: number
  anonymous?: boolean
  invalid?: boolean
}

interface NodeAnswer {
  messages: Record<string, unknown>[]
  headers: Record<string, string>
  code: number
  details: string
  info?: { reason: string; domain: string; metadata: Record<string, string> }
  badRequest?: { fieldViolations: { field: string; description: string }[] }
  tookMs: number
  codes?: number[]
  count?: number
}

const script = resolve(import.meta.dir, '../rpc/node-client.mjs')

async function byNode(
  address: string,
  calls: readonly NodeCall[],
  { token, tls }: { token?: string | undefined; tls?: { ca: string; key?: string; cert?: string } } = {},
): Promise<Record<string, NodeAnswer>> {
  const child = Bun.spawn(['node', script], { stdin: 'pipe', stdout: 'pipe', stderr: 'pipe' })
  child.stdin.write(JSON.stringify({ address, calls, token, tls }))
  await child.stdin.end()
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`node exited with ${code}: ${stderr}`)
  return JSON.parse(stdout)
}

const folder = temporaryFolder()
const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
let bingo: RunningBingo
let ada: UserClient
let key: string
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api', env })
  ada = await newUser(bingo.url)
  addUsers(`${folder.path}/bingo.db`, 40)
  key = (await newServiceKey(backingIn(folder.path))).credential
}, 120_000)
afterAll(async () => {
  await bingo.stop()
  folder[Symbol.dispose]()
})

const getUser = (as: string, more: Partial<NodeCall> = {}): NodeCall => ({
  ...{ as, service: 'user', method: 'GetUser', input: { by: { case: 'id', value: ada.user.id } } },
  ...more,
})
const watchUser = (as: string, more: Partial<NodeCall> = {}): NodeCall => ({
  ...{ as, service: 'user', method: 'WatchUser', input: { id: ada.user.id } },
  ...more,
})

test('unary calls, metadata, errors and their details', async () => {
  const answers = await byNode(
    bingo.rpc,
    [
      getUser('found', { metadata: { 'x-request-id': 'of-node' } }),
      getUser('nobody', { anonymous: true }),
      getUser('invalid', { invalid: true }),
      getUser('missing', { input: { by: { case: 'id', value: 'no-such-user' } } }),
      getUser('unsaid', { input: {} }),
      getUser('many', { times: 64 }),
      { as: 'batch', service: 'user', method: 'BatchGetUsers', input: { ids: [ada.user.id, 'no-such-user'] } },
    ],
    { token: key },
  )
  const { found, nobody, invalid, missing, unsaid, many, batch } = answers
  expect(found).toMatchObject({ code: 0, headers: { 'x-request-id': 'of-node' } })
  expect(found?.messages).toMatchObject([
    { user: { id: ada.user.id, username: ada.user['username'], status: 'USER_STATUS_ACTIVE', version: 1 } },
  ])
  expect(nobody).toMatchObject({ code: 16, messages: [], info: { reason: 'Credentials', domain: 'bingo' } })
  expect(invalid).toMatchObject({ code: 16, info: { metadata: { code: 'Unauthenticated.Token' } } })
  expect(missing).toMatchObject({ code: 5, info: { metadata: { code: expect.stringMatching(/^NotFound\./) } } })
  expect(unsaid).toMatchObject({ code: 3, badRequest: { fieldViolations: [{ field: '/id' }] } })
  expect(many).toEqual({ codes: [0], count: 64 } as never)
  expect(batch?.messages).toMatchObject([{ users: [{ id: ada.user.id }], missingIds: ['no-such-user'] }])
  expect(bingo.log.filter(({ requestId }) => requestId === 'of-node')).toMatchObject([
    { msg: 'call', server: 'rpc', method: 'bingo.user.v1.UserService/GetUser', status: 'OK' },
  ])
}, 60_000)

test('streams, deadlines and calls that are cancelled', async () => {
  const { all, watched, late, cancelled } = await byNode(
    bingo.rpc,
    [
      { as: 'all', service: 'user', method: 'ListUsers', input: {} },
      watchUser('watched', { cancelAfter: 1 }),
      watchUser('late', { deadlineMs: 700 }),
      { as: 'cancelled', service: 'user', method: 'ListUsers', input: {}, cancelAfter: 3 },
    ],
    { token: key },
  )
  expect(all).toMatchObject({ code: 0 })
  expect(all?.messages.length).toBe(41)
  expect(watched).toMatchObject({ code: 1, messages: [{ user: { id: ada.user.id } }] })
  expect(late).toMatchObject({ code: 4, messages: [{ user: { id: ada.user.id } }] })
  expect(late?.tookMs).toBeWithin(650, 3000)
  expect(cancelled?.code).toBe(1)
  // The server has been told, too.
  const statuses = () =>
    bingo.log.filter(({ msg, method }) => msg.startsWith('call') && String(method).endsWith('WatchUser')).map(({ status }) => status)
  const endMs = performance.now() + 5000
  while (statuses().length < 2 && performance.now() < endMs) await Bun.sleep(20)
  expect(statuses()).toEqual(['CANCELLED', 'DEADLINE_EXCEEDED'])
}, 60_000)

test('health, and what reflection says is enough to call', async () => {
  const { whole, ofUsers, unknown, found } = await byNode(
    bingo.rpc,
    [
      { as: 'whole', service: 'health', method: 'Check', input: {}, anonymous: true },
      { as: 'ofUsers', service: 'health', method: 'Check', input: { service: 'bingo.user.v1.UserService' }, anonymous: true },
      { as: 'unknown', service: 'health', method: 'Check', input: { service: 'nobody.Service' }, anonymous: true },
      {
        as: 'found',
        reflect: {
          symbol: 'bingo.user.v1.UserService',
          method: 'GetUser',
          input: { by: { case: 'username', value: ada.user['username'] } },
        },
      },
    ],
    { token: key },
  )
  expect([whole?.messages, ofUsers?.messages, unknown?.code]).toEqual([[{ status: 'SERVING' }], [{ status: 'SERVING' }], 5])
  expect(found).toMatchObject({ code: 0, messages: [{ user: { id: ada.user.id } }] })
}, 60_000)

test('over TLS, and with certificates on both sides', async () => {
  const authority = authorityIn(folder.path)
  const own = authority.issue('server', 'DNS:localhost,IP:127.0.0.1')
  const reports = authority.issue('reports', 'DNS:reports.example')
  const flags = [`--rpc.tlsCertFile=${own.cert}`, `--rpc.tlsKeyFile=${own.key}`]
  const encrypted = await startBingo({ roles: 'api', env, args: flags })
  const ca = authority.ca
  const { found, nobody } = await byNode(encrypted.rpc, [getUser('found'), getUser('nobody', { anonymous: true })], {
    token: key,
    tls: { ca },
  })
  expect([found?.code, nobody?.code]).toEqual([0, 16])
  const inClear = await byNode(encrypted.rpc, [getUser('clear', { deadlineMs: 2000 })], { token: key })
  expect(inClear['clear']?.code).toBe(14)
  expect(await encrypted.stop()).toBe(0)

  const mutual = await startBingo({
    ...{ roles: 'api', env },
    args: [...flags, `--rpc.tlsCaFile=${ca}`, '--rpc.services=reports.example=users:read'],
  })
  const without = await byNode(mutual.rpc, [getUser('found', { deadlineMs: 2000 })], { tls: { ca } })
  expect(without['found']?.code).toBe(14)
  const by = await byNode(mutual.rpc, [getUser('found'), watchUser('watched', { cancelAfter: 1 })], { tls: { ca, ...reports } })
  expect(by['found']).toMatchObject({ code: 0, messages: [{ user: { id: ada.user.id } }] })
  expect(by['watched']?.messages).toMatchObject([{ user: { id: ada.user.id } }])
  // The line of what was cancelled comes when the server has heard of it.
  await eventually(() => mutual.log.filter(({ actor }) => actor === 'service:reports.example').length === 2)
  expect(await mutual.stop()).toBe(0)
}, 120_000)

test('certificates that cannot be read are said before anything starts', async () => {
  const { code, stderr } = await runBingo(['--role=api', '--rpc.tlsCertFile=/nowhere.pem', '--rpc.tlsKeyFile=/nowhere.key'], { env })
  expect(code).toBe(78)
  expect(stderr).toContain('rpc.tlsCertFile')
}, 60_000)

test('what is no call of gRPC is refused, and the server lives on', async () => {
  const { port } = new URL(`grpc://${bingo.rpc}`)
  const session = connect(`http://127.0.0.1:${port}`)
  session.on('error', () => {})
  const request = session.request({ ':method': 'GET', ':path': '/bingo.user.v1.UserService/GetUser' })
  const status = await new Promise(answered => request.on('response', headers => answered(headers[':status'])))
  expect(status).toBe(415)
  session.destroy()
  await fetch(`http://127.0.0.1:${port}/`).catch(() => {})
  const { found } = await byNode(bingo.rpc, [getUser('found')], { token: key })
  expect(found?.code).toBe(0)
}, 60_000)

test('when it is told to stop, those who watch its health know before it is gone', async () => {
  const stopping = await startBingo({ roles: 'api', env, args: ['--shutdown.drainMs=700'] })
  const health = rawClient(`grpc://${stopping.rpc}`, Health)
  const watch = health.stream('watch', {})
  const told: [Status, number][] = []
  const serving = Promise.withResolvers<void>()
  watch.on('data', ({ status }) => {
    told.push([status, performance.now()])
    serving.resolve()
  })
  watch.on('error', () => {})
  const ended = new Promise<[number, number]>(resolve => watch.on('status', ({ code }) => resolve([code, performance.now()])))
  await serving.promise
  const exited = stopping.stop()
  const [code, endedMs] = await ended
  expect(told.map(([status]) => status)).toEqual([Status.SERVING, Status.NOT_SERVING])
  expect(code).toBe(14)
  expect(endedMs - (told[1]?.[1] ?? 0)).toBeGreaterThan(500)
  expect(await exited).toBe(0)
  health.close()
}, 60_000)
