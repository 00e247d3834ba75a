import { expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { temporaryFolder } from '@/testing/bingo'
import { fillDisk, smallDisk } from '@/testing/small-disk'
import { newClaim, newTask, openQueueFile } from '@/testing/sqlite-queue'

/** What is left of the queue when processes, the disk and other connections do their worst. */

const run = (path: string, work: 'drain' | 'enqueue') =>
  Bun.spawn([process.execPath, 'src/testing/sqlite-queue.ts', path, work], { stdout: 'pipe', stderr: 'inherit' })

const linesOf = (text: string) => text.split('\n').filter(Boolean)
const unavailable = { code: 'Unavailable.QueueUnavailable', retryAfterSeconds: 1 }
const idsOf = (raw: { query(sql: string): { all(): unknown[] } }) =>
  raw
    .query('select "id" from "queueTask" order by "id"')
    .all()
    .map(row => (row as { id: string }).id)

test('three processes that drain one file are given each task once', async () => {
  const { path, queue, close } = await openQueueFile()
  const tasks = Array.from({ length: 3000 }, () => newTask())
  for (let i = 0; i < tasks.length; i += 1000) await queue.enqueue('default', tasks.slice(i, i + 1000))
  const workers = Array.from({ length: 3 }, () => run(path, 'drain'))
  const given = await Promise.all(workers.map(async worker => linesOf(await worker.stdout.text())))
  expect(given.flat().toSorted()).toEqual(tasks.map(({ id }) => id).toSorted())
  for (const each of given) expect(each.length).toBeGreaterThan(0)
  expect(await queue.stats('default')).toMatchObject({ waiting: 0, active: 0, total: { enqueued: 3000, done: 3000 } })
  await close()
}, 60_000)

test('what was promised is there after the process that promised it was killed', async () => {
  using folder = temporaryFolder()
  const path = `${folder.path}/killed.db`
  const child = run(path, 'enqueue')
  const decoder = new TextDecoder()
  let said = ''
  for await (const chunk of child.stdout) {
    said += decoder.decode(chunk, { stream: true })
    if (linesOf(said).length > 300) child.kill('SIGKILL')
  }
  await child.exited
  expect(child.signalCode).toBe('SIGKILL')
  // The last line may have been cut.
  const promised = said.slice(0, said.lastIndexOf('\n')).split('\n')
  const { raw, queue, close } = await openQueueFile(path)
  const there = new Set(idsOf(raw))
  expect(promised.filter(id => !there.has(id))).toEqual([])
  expect(promised.length).toBeGreaterThan(300)
  expect((await queue.stats('default')).waiting).toBe(there.size)
  await close()
}, 60_000)

test('while the disk is full every call says so and enqueues nothing; what was promised stays, and once there is room all goes on', async () => {
  using disk = smallDisk()
  const { queue, db, raw, close } = await openQueueFile(`${disk.path}/full.db`)
  const first = newTask()
  await queue.enqueue('default', [first])
  const ballast = `${disk.path}/ballast`
  if (disk.isSmall) fillDisk(ballast)
  // Elsewhere SQLite is told that it may not grow, which it says in the same way.
  else await db.tx(tx => tx.first('pragma max_page_count = 40'))

  const promised = [first.id]
  const refused: unknown[] = []
  const envelope = 'x'.repeat(4000)
  for (let i = 0; i < 50 && refused.length === 0; i++) {
    const tasks = Array.from({ length: 8 }, () => newTask({ envelope }))
    const calls = await Promise.allSettled(tasks.map(task => queue.enqueue('default', [task])))
    for (const [at, call] of calls.entries()) {
      if (call.status === 'fulfilled') promised.push(tasks[at]?.id as string)
      else refused.push(call.reason)
    }
  }
  // All of a group are refused together.
  expect(refused).toHaveLength(8)
  for (const each of refused) expect(each).toMatchObject({ ...unavailable, cause: { cause: { code: 'SQLITE_FULL' } } })
  expect(idsOf(raw)).toEqual(promised.toSorted())
  expect(await queue.show('default', first.id)).toMatchObject({ state: 'waiting' })

  if (disk.isSmall) rmSync(ballast)
  else await db.tx(tx => tx.first('pragma max_page_count = 1000000'))
  await queue.enqueue('default', [newTask({ envelope })])
  const { claimed } = await queue.exchange('default', { claim: newClaim(1) })
  expect(claimed[0]?.id).toBe(first.id)
  expect(await queue.stats('default')).toMatchObject({ waiting: promised.length, active: 1 })
  await close()
})

test('a file that another process keeps locked is waited for, and given up in time; then nothing was enqueued', async () => {
  const { queue, raw, close } = await openQueueFile(undefined, { queryTimeoutMs: 300 })
  raw.run('begin immediate')
  const patient = queue.enqueue('default', [newTask({ id: 'patient' })])
  const released = Bun.sleep(50).then(() => raw.run('rollback'))
  expect(await patient).toEqual([{ id: 'patient', status: 'enqueued' }])
  await released

  raw.run('begin immediate')
  const began = performance.now()
  const calls = await Promise.allSettled([
    queue.enqueue('default', [newTask({ id: 'given-up' })]),
    queue.exchange('default', { claim: newClaim(1) }),
    queue.cancel('default', ['patient']),
  ])
  for (const call of calls) expect(call).toMatchObject({ status: 'rejected', reason: unavailable })
  expect(performance.now() - began).toBeLessThan(5000)
  raw.run('rollback')
  expect(idsOf(raw)).toEqual(['patient'])
  expect((await queue.exchange('default', { claim: newClaim(9) })).claimed).toMatchObject([{ id: 'patient', attempt: 1 }])
  await close()
})
