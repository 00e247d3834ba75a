import { expect } from 'bun:test'
import { besideMysql, testOn } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type Client, newServiceKey } from '../clients'
import { newSignUp, send } from '../http-client'
import { createTestDatabase, freePort, type Server, sharedServer } from '../servers'

/** Stands between bingo and a server that others use too, and fails in its place. */
interface Relay {
  port: number
  /** Takes connections and hands bytes on, again. */
  open(): void
  /** Drops every connection and takes none. */
  cut(): void
  /** Keeps every connection and hands nothing on: a server that hangs. */
  freeze(): void
  close(): void
}

function startRelay(serverUrl: string): Relay {
  const { hostname, port: serverPort } = new URL(serverUrl)
  const port = freePort()
  let isFrozen = false
  type Peer = { out?: Bun.Socket; early: Buffer[] }
  const listen = () =>
    Bun.listen<Peer>({
      hostname: '127.0.0.1',
      port,
      socket: {
        async open(socket) {
          socket.data = { early: [] }
          const out = await Bun.connect({
            hostname,
            port: Number(serverPort),
            socket: { data: (_, bytes) => void (isFrozen || socket.write(bytes)), close: () => void socket.end() },
          })
          socket.data.out = out
          for (const bytes of socket.data.early) out.write(bytes)
        },
        data: (socket, bytes) => {
          if (isFrozen) return
          if (socket.data.out) socket.data.out.write(bytes)
          else socket.data.early.push(Buffer.from(bytes))
        },
        close: socket => void socket.data.out?.end(),
      },
    })
  let listener = listen()
  const cut = () => void listener.stop(true)
  return {
    port,
    cut,
    close: cut,
    freeze: () => {
      isFrozen = true
    },
    open() {
      isFrozen = false
      listener = listen()
    },
  }
}

const queryTimeoutMs = 1500

async function startBehindRelay(): Promise<{ bingo: RunningBingo; relay: Relay; service: Client; drop(): Promise<void> }> {
  const server = (await sharedServer('mariadb')) as Server
  const relay = startRelay(server.url)
  const database = await createTestDatabase(server)
  const url = new URL(database.url)
  url.port = String(relay.port)
  const env = {
    BINGO_DATABASE_URL: url.href,
    ...besideMysql((await sharedServer('redis')) as Server),
    BINGO_DATABASE_QUERY_TIMEOUT_MS: String(queryTimeoutMs),
    BINGO_SHUTDOWN_DEADLINE_MS: '3000',
  }
  const bingo = await startBingo({ env, args: ['--migrate'] })
  return { bingo, relay, service: await newServiceKey(database), drop: database.drop }
}

async function untilReadyIs(bingo: RunningBingo, status: number): Promise<void> {
  while ((await fetch(`${bingo.ops}/readyz`)).status !== status) await Bun.sleep(5)
}

testOn(
  ['mariadb', 'redis'],
  'while the database is away, answers are 503 and it is not ready; afterwards all is well by itself',
  async () => {
    const { bingo, relay, service, drop } = await startBehindRelay()
    expect((await send('POST', `${bingo.url}/api/v1/users`, newSignUp())).status).toBe(201)
    relay.cut()
    const down = await service.send('GET', `${bingo.url}/api/v1/users`)
    expect([down.status, down.body['code'], down.headers.get('retry-after')]).toEqual([503, 'Unavailable.Unreachable', '1'])
    expect(JSON.stringify(down.body)).not.toContain('ECONN')
    await untilReadyIs(bingo, 503)
    expect(await (await fetch(`${bingo.ops}/readyz?verbose`)).text()).toContain('[-]database failed')
    expect((await fetch(`${bingo.ops}/livez`)).status).toBe(200)
    relay.open()
    await untilReadyIs(bingo, 200)
    expect((await service.send('GET', `${bingo.url}/api/v1/users`)).status).toBe(200)
    expect(await bingo.stop()).toBe(0)
    // Whoever looks for the reason finds it in the log.
    const warnings = bingo.log.filter(({ level }) => level === 'warn')
    expect(JSON.stringify(warnings.find(({ msg }) => msg === 'request failed'))).toMatch(/ECONN|PROTOCOL_CONNECTION_LOST/)
    expect(warnings.filter(({ msg }) => msg === 'not ready')).toHaveLength(1)
    relay.close()
    await drop()
  },
)

testOn(['mariadb', 'redis'], 'while the database hangs, answers are 504 in time, and the process still stops when told to', async () => {
  const { bingo, relay, service, drop } = await startBehindRelay()
  expect((await service.send('GET', `${bingo.url}/api/v1/users`)).status).toBe(200)
  relay.freeze()
  const started = performance.now()
  // More of them than there are connections, known statements and new ones.
  const answers = await Promise.all(
    Array.from({ length: 40 }, (_, i) => service.send('GET', `${bingo.url}/api/v1/users${i % 2 ? '' : '?orderBy=username'}`)),
  )
  for (const { status } of answers) expect([503, 504]).toContain(status)
  expect(answers.map(({ status }) => status)).toContain(504)
  expect(performance.now() - started).toBeLessThan(6 * queryTimeoutMs)
  // It may not even be accepted any more.
  const late = service.send('GET', `${bingo.url}/api/v1/users`).catch(() => {})
  const stopping = performance.now()
  expect([0, 1]).toContain(await bingo.stop())
  expect(performance.now() - stopping).toBeLessThan(8000)
  await late
  relay.close()
  await drop()
})
