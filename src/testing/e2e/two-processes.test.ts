import { Database } from 'bun:sqlite'
import { expect, test } from 'bun:test'
import { startBingo, temporaryFolder } from '../bingo'
import { newServiceKey } from '../clients'
import { newSignUp, send } from '../http-client'

/** A busy machine answers so late now and then; all that is later adds up to as long as the lock is held where the event loop is blocked. */
const lateMs = 100
const heldMs = 1000

/** How long /livez takes, over and over, until told to stop: what a blocked event loop would show. */
async function watch(url: string, stop: AbortSignal): Promise<number[]> {
  const durations: number[] = []
  while (!stop.aborted) {
    const started = performance.now()
    const response = await fetch(`${url}/livez`)
    await response.text()
    durations.push(performance.now() - started)
    await Bun.sleep(2)
  }
  return durations
}

test('two processes write to one SQLite file: nobody is told that it is busy', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db`, BINGO_PASSWORD_CONCURRENCY: '1' }
  // Started at once on a file that is not there: one migrates, the other waits.
  const [api, scheduler] = await Promise.all([startBingo({ roles: 'api', env }), startBingo({ roles: 'scheduler,api', env })])
  const answers = await Promise.all(
    Array.from({ length: 120 }, (_, i) => send('POST', `${(i % 2 ? api : scheduler).url}/api/v1/users`, newSignUp())),
  )
  expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 201))
  // Each sees what the other wrote.
  const service = await newServiceKey({ url: env.BINGO_DATABASE_URL })
  const { body } = await service.send<{ items: unknown[] }>('GET', `${api.url}/api/v1/users?pageSize=100`)
  expect(body.items).toHaveLength(100)
  expect(await Promise.all([api.stop(), scheduler.stop()])).toEqual([0, 0])
}, 20_000)

test('while another process holds the write lock, writes wait, reads do not, and the event loop is not blocked', async () => {
  using folder = temporaryFolder()
  const path = `${folder.path}/bingo.db`
  const bingo = await startBingo({ env: { BINGO_DATABASE_URL: `sqlite:${path}`, BINGO_LIMIT_READ_PER_MINUTE: '0' } })
  const users = `${bingo.url}/api/v1/users`
  const service = await newServiceKey({ url: `sqlite:${path}` })
  const first = await send('POST', users, newSignUp())
  expect(first.status).toBe(201)

  const other = new Database(path)
  other.run('begin immediate')
  const stop = new AbortController()
  const watching = watch(bingo.url, stop.signal)
  const writes = Array.from({ length: 20 }, () => send('POST', users, newSignUp()))
  let written = 0
  for (const write of writes) write.then(() => written++)
  const heldUntil = performance.now() + heldMs
  while (performance.now() < heldUntil) expect((await service.send('GET', users)).status).toBe(200)
  expect(written).toBe(0)
  other.run('commit')
  other.close()

  expect((await Promise.all(writes)).map(({ status }) => status)).toEqual(writes.map(() => 201))
  stop.abort()
  const durations = await watching
  expect(durations.length).toBeGreaterThan(20)
  const late = durations.filter(ms => ms > lateMs)
  expect([late, late.reduce((sum, ms) => sum + ms, 0) < heldMs / 2]).toEqual([late, true])
  expect(await bingo.stop()).toBe(0)
})

test('a write lock that is never given back is answered 503 in the end, not for ever', async () => {
  using folder = temporaryFolder()
  const path = `${folder.path}/bingo.db`
  const bingo = await startBingo({ env: { BINGO_DATABASE_URL: `sqlite:${path}`, BINGO_DATABASE_QUERY_TIMEOUT_MS: '1000' } })
  const other = new Database(path)
  other.run('begin immediate')
  const { status, headers, body } = await send('POST', `${bingo.url}/api/v1/users`, newSignUp())
  expect([status, body['code'], headers.get('retry-after')]).toEqual([503, 'Unavailable.Busy', '1'])
  other.run('rollback')
  other.close()
  expect(await bingo.stop()).toBe(0)
})
