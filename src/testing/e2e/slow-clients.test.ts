import { expect, test } from 'bun:test'
import { startBingo, temporaryFolder } from '../bingo'
import { newSignUp } from '../http-client'

/** Sends `first`, then a little now and then, and says after how long the server hung up. */
async function closedAfterMs(url: string, first: string, drip: string, everyMs: number): Promise<number> {
  const { hostname, port } = new URL(url)
  const started = performance.now()
  const closed = Promise.withResolvers<void>()
  const socket = await Bun.connect({
    hostname,
    port: Number(port),
    socket: { data() {}, close: () => closed.resolve(), error: () => closed.resolve() },
  })
  socket.write(first)
  const dripping = setInterval(() => socket.write(drip), everyMs)
  await closed.promise
  clearInterval(dripping)
  return performance.now() - started
}

test('clients that hold a connection without asking are cut off, also when they drip', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
  /** Who holds hundreds of connections keeps nobody else from being answered. */
  const others = Promise.all(Array.from({ length: 300 }, () => closedAfterMs(bingo.url, 'GET /livez HTTP/1.1\r\nx-', 'd', 5000)))
  const head = 'POST /api/v1/users HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 500\r\n'
  const body = JSON.stringify(newSignUp()).slice(0, 20)
  await Bun.sleep(500)
  const startedMs = performance.now()
  expect((await fetch(`${bingo.url}/api/v1/nowhere`)).status).toBe(404)
  expect(performance.now() - startedMs).toBeLessThan(2000)
  const durations = await Promise.all([
    others.then(all => Math.max(...all)),
    closedAfterMs(bingo.url, '', '', 60_000),
    closedAfterMs(bingo.url, head, 'x-drip: 1\r\n', 3000),
    closedAfterMs(bingo.url, `${head}\r\n${body}`, '', 60_000),
    closedAfterMs(bingo.url, `${head}\r\n${body}`, ' ', 5000),
  ])
  expect(Math.max(...durations)).toBeLessThan(45_000)
  expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
  expect(await bingo.stop()).toBe(0)
}, 60_000)
