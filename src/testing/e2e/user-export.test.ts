import { expect, test } from 'bun:test'
import { readFileSync } from 'node:fs'
import { userExportChunkStore, userExportStore } from '@/modules/user-export/store'
import { onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import { type Client, newAdministrator, newServiceKey } from '../clients'
import { newSignUp, type Problem, send as anonymously } from '../http-client'
import { addUsers, namesIn } from '../user-exports'

interface ExportView extends Record<string, unknown> {
  id: string
  taskId: string
  state: string
  rows: number
  bytes: number
}

const exportsOf = ({ urls }: RunningBingo) => `${urls['admin']}/admin/v1/user-exports`
/** Whoever administers the server of the test that runs. */
let operator: Client
const send: Client['send'] = (method, url, body, headers) => operator.send(method, url, body, headers)
const ended = (url: string, state = 'done') => until(async () => (await send<ExportView>('GET', url)).body.state === state, 30_000)

test('an administrator asks for an export, looks how far it is, fetches it and removes it', async () => {
  using folder = temporaryFolder()
  const bingo = await startBingo({ roles: 'all', env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` } })
  operator = await newAdministrator(bingo.urls['admin'] ?? '', { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` })
  const [ada, eve] = [newSignUp({ nickname: 'Ada "the first", Lovelace' }), newSignUp({ email: '=1+1@example.com', nickname: '@SUM(A1)' })]
  for (const signUp of [ada, eve]) expect((await anonymously('POST', `${bingo.urls['api']}/api/v1/users`, signUp)).status).toBe(201)

  const made = await send<ExportView>('POST', exportsOf(bingo), { format: 'csv' })
  expect([made.status, made.headers.get('location')]).toEqual([202, `/admin/v1/user-exports/${made.body.id}`])
  const url = `${exportsOf(bingo)}/${made.body.id}`
  await ended(url)
  const { body: done } = await send<ExportView>('GET', url)
  expect(done).toMatchObject({ format: 'csv', rows: 2, total: 2, progress: 1 })
  expect(Date.parse(done['expiresAt'] as string) - Date.parse(done['endedAt'] as string)).toBe(86_400_000)
  for (const accept of ['text/csv', '*/*']) {
    const answer = await fetch(`${url}/content`, { headers: { accept, ...operator.headers } })
    expect([answer.status, answer.headers.get('content-type')]).toEqual([200, 'text/csv; charset=utf-8; header=present'])
    expect(answer.headers.get('content-disposition')).toMatch(/^attachment; filename="users-\d{4}-\d\d-\d\d\.csv"$/)
    const text = await answer.text()
    expect(Buffer.byteLength(text)).toBe(done.bytes)
    expect(text).toContain(`"${ada.username}","${ada.email}","Ada ""the first"", Lovelace","active"`)
    expect(text).toContain(`"${eve.username}","'=1+1@example.com","'@SUM(A1)","active"`)
    expect(text).not.toContain('argon2')
  }

  const other = await send<ExportView>('POST', exportsOf(bingo), { format: 'ndjson', status: 'active' })
  await ended(`${exportsOf(bingo)}/${other.body.id}`)
  const lines = (await (await fetch(`${exportsOf(bingo)}/${other.body.id}/content`, { headers: operator.headers })).text())
    .trim()
    .split('\n')
  const service = await newServiceKey({ url: `sqlite:${folder.path}/bingo.db` })
  const shown = (await service.send<{ items: object[] }>('GET', `${bingo.urls['api']}/api/v1/users?orderBy=createdAt`)).body.items
  expect(lines.map(line => JSON.parse(line))).toEqual(shown)
  const listed = await send<{ items: ExportView[]; nextPageToken: string }>('GET', `${exportsOf(bingo)}?pageSize=1`)
  expect(listed.body.items.map(({ id }) => id)).toEqual([other.body.id])
  expect(listed.body.nextPageToken).not.toBe('')

  expect((await send('DELETE', url)).status).toBe(204)
  for (const path of [url, `${url}/content`]) expect((await send<Problem>('GET', path)).body.code).toBe('NotFound.ExportNotFound')
  expect((await send<Problem>('POST', exportsOf(bingo), { format: 'xlsx' })).body).toMatchObject({
    status: 422,
    errors: [{ pointer: '/format', detail: 'Expected one of csv, ndjson' }],
  })
  expect(await bingo.stop()).toBe(0)
  expect([bingo.stderr(), bingo.log.filter(({ level }) => level === 'error')]).toEqual([expect.not.stringContaining('rror'), []])
}, 30_000)

test('what is not done has no content, what waits is cancelled, and one can be made from the command line', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` }
  const admin = await startBingo({ roles: 'admin', env })
  operator = await newAdministrator(admin.urls['admin'] ?? '', env)
  const { body: made } = await send<ExportView>('POST', exportsOf(admin), { format: 'csv' })
  const url = `${exportsOf(admin)}/${made.id}`
  expect((await send<Problem>('GET', `${url}/content`)).body).toMatchObject({ status: 412, code: 'FailedPrecondition.ExportNotDone' })
  const task = await runBingo(['task', 'show', made.taskId, '--json'], { env })
  expect(JSON.parse(task.stdout)).toMatchObject({ task: 'user.export', queue: 'bulk', state: 'waiting' })
  expect((await send('DELETE', url)).status).toBe(204)
  expect((await send<ExportView>('GET', url)).body.state).toBe('cancelled')

  const enqueued = await runBingo(['task', 'enqueue', 'user.export', '--payload', '{"format":"ndjson"}'], { env })
  expect(enqueued.code).toBe(0)
  const scheduler = await startBingo({ roles: 'scheduler', env })
  const items = async () => (await send<{ items: ExportView[] }>('GET', exportsOf(admin))).body.items
  await until(async () => (await items())[0]?.state === 'done', 10_000)
  expect(await items()).toMatchObject([{ format: 'ndjson', rows: 0 }, { state: 'cancelled' }])
  expect(await Promise.all([admin.stop(), scheduler.stop()])).toEqual([0, 0])
}, 30_000)

const usersCount = 20_000

onEachBacking('an export of 20,000 users', open => {
  test('is whole though the processes that make it are killed midway, and another is cancelled in the middle', async () => {
    const backing = await open()
    using folder = temporaryFolder()
    const env = { ...backing.options.env, BINGO_QUEUE_LEASE_MS: '1000', BINGO_QUEUE_TIMEOUT_MS: '300', BINGO_SHUTDOWN_DRAIN_MS: '0' }
    const options = { ...backing.options, env, cwd: folder.path }
    const admin = await startBingo({ ...options, roles: 'admin' })
    operator = await newAdministrator(admin.urls['admin'] ?? '', env)
    const db = await openAgain(backing)
    const added = await addUsers(db, usersCount)
    const start = () => startBingo({ ...options, roles: 'scheduler' })
    const ask = async (format: string) => (await send<ExportView>('POST', exportsOf(admin), { format })).body.id
    const rowsOf = async (id: string) => (await userExportStore(db).get(id, { from: 'primary' }))?.rows ?? 0
    const begun = (id: string, from = 0) => until(async () => (await rowsOf(id)) > from, 20_000)

    const killed = await tryAgain(async () => {
      const id = await ask('csv')
      for (let kills = 0; kills < 2; kills++) {
        const scheduler = await start()
        await begun(id, await rowsOf(id))
        await scheduler.stop('SIGKILL')
        if ((await rowsOf(id)) === usersCount) return undefined
      }
      return id
    })
    expect((await send<ExportView>('GET', `${exportsOf(admin)}/${killed}`)).body.state).toBe('running')
    const scheduler = await start()
    await ended(`${exportsOf(admin)}/${killed}`)
    const names = namesIn(await (await fetch(`${exportsOf(admin)}/${killed}/content`, { headers: operator.headers })).text())
    expect(names.length).toBe(usersCount)
    expect(names.toSorted()).toEqual(added.map(({ username }) => username).toSorted())

    const cancelled = await tryAgain(async () => {
      const id = await ask('ndjson')
      await begun(id)
      expect((await send('DELETE', `${exportsOf(admin)}/${id}`)).status).toBe(204)
      // One that was done by then is gone.
      return (await send('GET', `${exportsOf(admin)}/${id}`)).status === 200 ? id : undefined
    })
    expect((await send('GET', `${exportsOf(admin)}/${cancelled}`)).body).toMatchObject({ state: 'cancelled' })
    await until(async () => !(await userExportChunkStore(db).exists({ exportId: cancelled })), 10_000)
    expect(await rowsOf(cancelled)).toBeLessThan(usersCount)
    expect(await Promise.all([admin.stop(), scheduler.stop()])).toEqual([0, 0])
    await db.close()
    await backing.dispose()
  }, 120_000)
})

const triesMax = 5
/** What has to come midway may come too late on a busy machine: then once more. */
async function tryAgain<T>(work: () => Promise<T | undefined>): Promise<T> {
  for (let i = 0; i < triesMax; i++) {
    const made = await work()
    if (made !== undefined) return made
  }
  throw new Error(`too late ${triesMax} times`)
}

const megabyte = 1024 * 1024
const residentBytes = (pid: number) => Number(/^VmRSS:\s+(\d+) kB/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024

test('a download of 300 MiB takes no more memory than a few pieces of it, however slowly it is read', async () => {
  using folder = temporaryFolder()
  const url = `sqlite:${folder.path}/bingo.db`
  const bingo = await startBingo({ roles: 'admin', env: { BINGO_DATABASE_URL: url } })
  operator = await newAdministrator(bingo.urls['admin'] ?? '', { BINGO_DATABASE_URL: url })
  const db = await openAgain({ url })
  const count = 300
  const state = { state: 'done', format: 'csv', taskId: 'x', chunks: count, rows: count, bytes: count * megabyte } as const
  const { id } = await userExportStore(db).create(state)
  const content = new Uint8Array(megabyte).fill(65)
  for (let number = 1; number <= count; number++) await userExportChunkStore(db).create({ exportId: id, number, rows: 1, content })
  await db.close()

  const path = `${exportsOf(bingo)}/${id}/content`
  // What the process takes by itself, and what it takes for any answer, is there before.
  for (let i = 0; i < 20; i++) expect((await send('GET', exportsOf(bingo))).status).toBe(200)
  const beforeBytes = residentBytes(bingo.pid)
  let [read, mostBytes, sinceBytes] = [0, 0, 0]
  const answer = await fetch(path, { headers: operator.headers })
  for await (const piece of answer.body as ReadableStream<Uint8Array>) {
    read += piece.length
    sinceBytes += piece.length
    if (sinceBytes < 10 * megabyte) continue
    sinceBytes = 0
    // Slower than the process could send.
    await Bun.sleep(20)
    mostBytes = Math.max(mostBytes, residentBytes(bingo.pid))
  }
  expect(read).toBe(count * megabyte)
  expect(mostBytes - beforeBytes).toBeLessThan(100 * megabyte)
  expect(await bingo.stop()).toBe(0)
}, 60_000)
