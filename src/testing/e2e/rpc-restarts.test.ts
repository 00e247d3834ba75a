import { afterAll, beforeAll, expect, test } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import { AppError } from '@/core/error'
import { createMetrics } from '@/infra/metrics'
import { openPorts } from '@/infra/ports'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { newSignUp, send } from '../http-client'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { fakeLog } from '../fakes'

/** What callers notice while processes that serve the API die and come back: the client of the bot and of the administrators, and the executable. */

const folder = temporaryFolder()
const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db`, BINGO_SHUTDOWN_DRAIN_MS: '300' }
const undo: (() => unknown)[] = [() => folder[Symbol.dispose]()]
let userId: string
let apis: [RunningBingo, RunningBingo]
let ports: [number, number]

const portOf = ({ log }: RunningBingo) =>
  Number(/grpc:\/\/[^:]+:(\d+)/.exec(JSON.stringify(log.find(({ listens }) => listens !== undefined)))?.[1])
async function startApi(port = 0): Promise<RunningBingo> {
  const api = await startBingo({ roles: 'api', env, args: [`--rpc.port=${port}`] })
  undo.push(() => api.stop('SIGKILL'))
  return api
}

beforeAll(async () => {
  const first = await startApi()
  apis = [first, await startApi()]
  ports = [portOf(apis[0]), portOf(apis[1])]
  userId = (await send<{ id: string }>('POST', `${first.url}/api/v1/users`, newSignUp())).body.id
}, 120_000)
afterAll(async () => {
  for (const each of undo.toReversed()) await each()
})

/** As a process of the role `bot` calls it. */
async function openClient(target: string, timeoutMs = 5000) {
  const set = { BINGO_DATABASE_URL: env.BINGO_DATABASE_URL, BINGO_RPC_TARGET: target, BINGO_RPC_TIMEOUT_MS: String(timeoutMs) }
  const { config } = loadConfig({ env: set, flags: {}, readFile: () => '' })
  const metrics = createMetrics({ version: '0', roles: ['bot'] })
  const process = { roles: ['bot'], roleNames: ['bot'], version: '0' }
  const opened = await openPorts(config, new Set(['rpc']), { log: fakeLog(), metrics, process })
  return { users: opened.ports.rpc.client(UserService, { scopes: ['users:read'] }), metrics, close: opened.close }
}
type Users = Awaited<ReturnType<typeof openClient>>['users']

/** Calls without a pause, so many at a time, until it is ended. */
function load(users: Users, inFlight = 8) {
  const seen = { answered: 0, failures: [] as string[], slowestMs: 0, lastFailureAtMs: 0 }
  let isOver = false
  const loops = Array.from({ length: inFlight }, async () => {
    while (!isOver) {
      const startedMs = performance.now()
      try {
        const { user } = await users.getUser({ by: { case: 'id', value: userId } })
        if (user?.id !== userId) throw new Error('another user')
        seen.answered++
      } catch (thrown) {
        seen.failures.push(thrown instanceof AppError ? thrown.code : String(thrown))
        seen.lastFailureAtMs = performance.now()
        await Bun.sleep(5)
      }
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - startedMs)
    }
  })
  const end = async () => {
    isOver = true
    await Promise.all(loops)
    return seen
  }
  return { seen, end }
}

test('two instances are restarted in turn, politely and by kill -9, under load: no call fails', async () => {
  const { users, metrics, close } = await openClient(`ipv4:${ports.map(port => `127.0.0.1:${port}`).join(',')}`)
  const { seen, end } = load(users)
  for (const [i, signal] of [
    [0, 'SIGTERM'],
    [1, 'SIGTERM'],
    [0, 'SIGKILL'],
    [1, 'SIGKILL'],
  ] as const) {
    await atLeast(() => seen.answered, seen.answered + 200)
    await apis[i].stop(signal)
    await atLeast(() => seen.answered, seen.answered + 200)
    apis[i] = await startApi(ports[i])
  }
  await atLeast(() => seen.answered, seen.answered + 200)
  const { failures, answered, slowestMs } = await end()
  const retries = /^rpc_client_retries_total\S* (\d+)$/m.exec((await metrics.expose()).text)?.[1]
  await close()
  console.log(`${answered} calls over four restarts, ${retries ?? 0} tried again, the slowest took ${Math.round(slowestMs)} ms`)
  expect(failures).toEqual([])
}, 180_000)

test('the only instance is killed under load: calls fail in time, and are answered within two seconds after it is back', async () => {
  const { users, close } = await openClient(`127.0.0.1:${ports[0]}`, 2000)
  const { seen, end } = load(users)
  await atLeast(() => seen.answered, 200)
  await apis[0].stop('SIGKILL')
  await atLeast(() => seen.failures.length, 50)
  apis[0] = await startApi(ports[0])
  const backAtMs = performance.now()
  const before = seen.answered
  await atLeast(() => seen.answered, before + 1)
  const recoveredMs = performance.now() - backAtMs
  await atLeast(() => seen.answered, before + 200)
  const { failures, slowestMs, lastFailureAtMs } = await end()
  await close()
  console.log(
    `answered again ${Math.round(recoveredMs)} ms after it was ready; the last failure came ${Math.round(lastFailureAtMs - backAtMs)} ms after`,
  )
  expect(recoveredMs).toBeLessThan(2000)
  expect(slowestMs).toBeLessThan(2500)
  expect(new Set(failures).difference(new Set(['Unavailable.Unreachable', 'Unavailable.GivenUp', 'Timeout.Deadline'])).size).toBe(0)
}, 120_000)

async function atLeast(count: () => number, least: number, timeoutMs = 30_000): Promise<void> {
  const endMs = performance.now() + timeoutMs
  while (count() < least) {
    if (performance.now() > endMs) throw new Error(`only ${count()} of ${least}`)
    await Bun.sleep(10)
  }
}
