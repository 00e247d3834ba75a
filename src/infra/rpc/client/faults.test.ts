import dns from 'node:dns'
import { afterEach, describe, expect, spyOn, test } from 'bun:test'
import { AppError } from '@/core/error'
import { createMetrics } from '@/infra/metrics'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { eventually } from '@/testing/eventually'
import { fakeLog } from '@/testing/fakes'
import { openRpcClients } from '../open'

/** The client while processes that it calls are killed, stopped and started again. */

const undo: (() => unknown)[] = []
afterEach(async () => {
  for (const each of undo.splice(0).toReversed()) await each()
})

interface Process {
  port: number
  pid: number
  /** Resolves when it has ended. */
  end(signal: NodeJS.Signals): Promise<unknown>
  signal(signal: NodeJS.Signals): void
}

async function startServer(port = 0, host = '127.0.0.1'): Promise<Process> {
  const child = Bun.spawn([process.execPath, 'src/testing/rpc/foreign-process.ts', String(port), host], {
    stdout: 'pipe',
    stderr: 'inherit',
  })
  undo.push(() => child.kill('SIGKILL'))
  const reader = child.stdout.getReader()
  const { value } = await reader.read()
  const found = Number(/listening (\d+)/.exec(new TextDecoder().decode(value))?.[1])
  if (!found) throw new Error('the server did not start')
  const end = (signal: NodeJS.Signals) => {
    child.kill(signal)
    return child.exited
  }
  return { port: found, pid: child.pid, end, signal: signal => void child.kill(signal) }
}

function clientOf(target: string, timeoutMs = 5000) {
  const log = fakeLog()
  const metrics = createMetrics({ version: '0', roles: [] })
  const tokens = { signService: async () => ({ token: 'x', expiresInSeconds: 300 }) }
  const rpc = { port: 0, target, timeoutMs, services: [] }
  const opened = openRpcClients({ rpc, http: { bodyLimitBytes: 1_048_576 } as never }, { tokens, log, metrics, name: 'bot' })
  undo.push(() => opened.close())
  return { users: opened.clients.client(UserService, { scopes: [] }), log, metrics }
}
type Users = ReturnType<typeof clientOf>['users']
const input = { by: { case: 'id', value: 'u' } } as const
const pidOf = async (users: Users) => Number((await users.getUser(input)).user?.id)

/** Calls without a pause, so many at a time, until it is ended. */
function load(users: Users, inFlight = 16) {
  const seen = { calls: 0, byPid: new Map<number, number>(), failures: [] as string[], slowestMs: 0 }
  let isOver = false
  const loop = async () => {
    while (!isOver) {
      const startedMs = performance.now()
      try {
        const pid = await pidOf(users)
        seen.byPid.set(pid, (seen.byPid.get(pid) ?? 0) + 1)
      } catch (thrown) {
        seen.failures.push(thrown instanceof AppError ? thrown.code : String(thrown))
        // A call that is not made takes no time at all.
        await Bun.sleep(1)
      }
      seen.calls++
      seen.slowestMs = Math.max(seen.slowestMs, performance.now() - startedMs)
    }
  }
  const loops = Array.from({ length: inFlight }, loop)
  return {
    seen,
    async end() {
      isOver = true
      await Promise.all(loops)
      return seen
    },
  }
}

describe('of two servers', () => {
  const both = async (timeoutMs?: number) => {
    const servers = await Promise.all([startServer(), startServer()])
    return { servers, client: clientOf(`ipv4:${servers.map(({ port }) => `127.0.0.1:${port}`).join(',')}`, timeoutMs) }
  }

  test('each gets its share; one that is killed fails no call, and gets its share again two seconds after it is back', async () => {
    const { servers, client } = await both()
    const [first, second] = servers
    const { seen, end } = load(client.users)
    await eventually(() => servers.every(({ pid }) => (seen.byPid.get(pid) ?? 0) > 50))
    await first.end('SIGKILL')
    const before = seen.calls
    await eventually(() => seen.calls > before + 500)
    const again = await startServer(first.port)
    const backAtMs = performance.now()
    await eventually(() => (seen.byPid.get(again.pid) ?? 0) > 0)
    const foundMs = performance.now() - backAtMs
    const { failures, byPid } = await end()
    expect(failures).toEqual([])
    expect(foundMs).toBeLessThan(2000)
    expect(byPid.get(second.pid) ?? 0).toBeGreaterThan(500)
    console.log(`found again after ${Math.round(foundMs)} ms`)
  }, 30_000)

  test('both are started anew, one after the other, many times, and no call fails', async () => {
    const { servers, client } = await both()
    const { seen, end } = load(client.users)
    for (let round = 0; round < 6; round++) {
      const i = round % 2
      const former = servers[i] as Process
      // Politely and not, by turns.
      await former.end(round % 4 < 2 ? 'SIGTERM' : 'SIGKILL')
      const next = await startServer(former.port)
      servers[i] = next
      await eventually(() => (seen.byPid.get(next.pid) ?? 0) > 20)
    }
    const { failures, calls } = await end()
    expect(failures).toEqual([])
    expect(calls).toBeGreaterThan(1000)
  }, 60_000)

  test('one that does not move any more fails no call that waits for long enough', async () => {
    const { servers, client } = await both(20_000)
    const { seen, end } = load(client.users)
    await eventually(() => servers.every(({ pid }) => (seen.byPid.get(pid) ?? 0) > 50))
    servers[0]?.signal('SIGSTOP')
    await Bun.sleep(6000)
    const { failures, slowestMs } = await end()
    servers[0]?.signal('SIGCONT')
    expect(failures).toEqual([])
    // What was on its way there was given up by the keepalive of the connection.
    expect(slowestMs).toBeLessThan(12_000)
    console.log(`the slowest call took ${Math.round(slowestMs)} ms`)
  }, 30_000)
})

describe('the only server', () => {
  test('is killed: calls fail at once, and are answered again two seconds after it is back', async () => {
    const server = await startServer()
    const { users, metrics, log } = clientOf(`127.0.0.1:${server.port}`, 3000)
    await pidOf(users)
    const { seen, end } = load(users, 4)
    await server.end('SIGKILL')
    await eventually(() => seen.failures.length > 0)
    await Bun.sleep(2500)
    const again = await startServer(server.port)
    const backAtMs = performance.now()
    await eventually(() => seen.byPid.has(again.pid))
    const foundMs = performance.now() - backAtMs
    const { failures, slowestMs } = await end()
    expect(foundMs).toBeLessThan(2000)
    expect(slowestMs).toBeLessThan(3100)
    expect([...new Set(failures)].toSorted()).toEqual(['Unavailable.GivenUp', 'Unavailable.Unreachable'])
    expect((await metrics.expose()).text).toMatch(/^rpc_client_breaker_opened_total [1-9]/m)
    expect(log.lines.some(({ level, message }) => level === 'warn' && message.includes('do not answer'))).toBe(true)
    console.log(`answered again after ${Math.round(foundMs)} ms`)
  }, 30_000)

  test('does not move any more: calls end in time, then nobody waits for it, and it is found when it moves', async () => {
    const server = await startServer()
    const { users } = clientOf(`127.0.0.1:${server.port}`, 1500)
    await pidOf(users)
    const { seen, end } = load(users, 4)
    server.signal('SIGSTOP')
    await eventually(() => seen.failures.includes('Unavailable.GivenUp'), 15_000)
    server.signal('SIGCONT')
    const backAtMs = performance.now()
    const before = seen.byPid.get(server.pid) ?? 0
    await eventually(() => (seen.byPid.get(server.pid) ?? 0) > before)
    const foundMs = performance.now() - backAtMs
    const { slowestMs } = await end()
    expect(foundMs).toBeLessThan(2500)
    expect(slowestMs).toBeLessThan(2000)
    console.log(`answered again after ${Math.round(foundMs)} ms`)
  }, 30_000)

  test('is not there when it is first called, and is found when it comes', async () => {
    const server = await startServer()
    await server.end('SIGKILL')
    const { users } = clientOf(`127.0.0.1:${server.port}`, 8000)
    expect((await users.getUser(input).catch((error: AppError) => error.kind)) as unknown).toBe('Unavailable')
    const again = await startServer(server.port)
    const backAtMs = performance.now()
    await eventually(() =>
      pidOf(users).then(
        pid => pid === again.pid,
        () => false,
      ),
    )
    expect(performance.now() - backAtMs).toBeLessThan(2000)
  }, 30_000)
})

test('a name is asked for all of its addresses, and again when one is lost', async () => {
  const first = await startServer(0, '127.0.0.1')
  const second = await startServer(first.port, '127.0.0.2')
  let addresses = ['127.0.0.1', '127.0.0.2']
  const lookup = spyOn(dns.promises, 'lookup').mockImplementation((async () =>
    addresses.map(address => ({ address, family: 4 }))) as unknown as typeof dns.promises.lookup)
  undo.push(() => lookup.mockRestore())
  const { users } = clientOf(`dns:///bingo.test:${first.port}`)
  const { seen, end } = load(users, 4)
  await eventually(() => seen.byPid.has(first.pid) && seen.byPid.has(second.pid))
  // As when a container is replaced: another address, and the name says so.
  const third = await startServer(first.port, '127.0.0.3')
  addresses = ['127.0.0.2', '127.0.0.3']
  await first.end('SIGKILL')
  const goneAtMs = performance.now()
  await eventually(() => seen.byPid.has(third.pid))
  const foundMs = performance.now() - goneAtMs
  const { failures } = await end()
  expect(failures).toEqual([])
  expect(foundMs).toBeLessThan(2500)
}, 30_000)
