import { describe, expect, test } from 'bun:test'
import { rmSync } from 'node:fs'
import { handle } from '@/core/queue/task'
import { migrateUp } from '@/infra/database/migrate'
import { createWorker } from '@/infra/queue/worker'
import { migrations } from '@/migrations'
import { temporaryFolder } from '../../bingo'
import { until } from '../../conformance/cache-fixture'
import { createTable } from '../../conformance/fixture'
import { fakeLog, fakeMetrics } from '../../fakes'
import { fillDisk, smallDisk } from '../../small-disk'
import { hangMs, isFull, patienceMs } from '../scene'
import { openPort } from './enqueue-process'
import { fsck } from './fsck'
import { orders, placedOrders, ship } from './order'

/** What becomes of tasks in a file of SQLite when processes are killed, the disk is full, and others hold the lock. */
const kills = isFull ? 200 : 4
const callers = 32
const concurrency = 8
const leaseMs = 1000
const testTimeoutMs = 120_000
const enqueuer = `${import.meta.dir}/enqueue-process.ts`

describe('on SQLite', () => {
  test(
    'A task whose enqueue has resolved is there, though its process is killed at that very moment',
    async () => {
      using folder = temporaryFolder()
      const url = `sqlite:${folder.path}/tasks.db`
      const { db, close } = await openFilled(url)
      const said: string[] = []
      for (let i = 0; i < kills; i++) {
        const most = 1 + Math.floor(Math.random() * 300)
        const child = Bun.spawn([process.execPath, enqueuer, url, String(callers), String(most)], { stdout: 'pipe', stderr: 'inherit' })
        said.push(...(await child.stdout.text()).split('\n').filter(Boolean))
        await child.exited
        expect(child.signalCode).toBe('SIGKILL')
      }
      const tasks = new Set((await db.all('select "id" from "queueTask"')).map(({ id }) => String(id)))
      const lost = said.filter(id => !tasks.has(id))
      if (isFull) console.log(`SIGKILL after enqueue: ${kills} kills, ${said.length} resolved, ${lost.length} lost, ${tasks.size} there`)
      expect(lost).toEqual([])
      // What nobody was told of is there as a whole, or not at all.
      expect(new Set([...tasks].filter(id => !id.startsWith('free-')))).toEqual(await placedOrders(db))
      await close()
    },
    testTimeoutMs,
  )

  test(
    'A full disk refuses tasks and loses none, and the work goes on once there is room',
    async () => {
      using disk = smallDisk('8m')
      await using load = await startLoad(`sqlite:${disk.path}/tasks.db`, leaseMs)
      const ballast = `${disk.path}/ballast`
      for (let round = 0; round < (isFull ? 5 : 1); round++) {
        await load.more(200)
        if (disk.isSmall) fillDisk(ballast)
        // Elsewhere SQLite is told that it may not grow, which it says in the same way.
        else await load.db.tx(tx => tx.first('pragma max_page_count = 8'))
        await load.refusals(100)
        await Bun.sleep(isFull ? 3 * leaseMs : leaseMs)
        if (disk.isSmall) rmSync(ballast)
        else await load.db.tx(tx => tx.first('pragma max_page_count = 1000000'))
        await load.more(200)
      }
      await load.audit('disk full', (isFull ? 5 : 1) * concurrency)
    },
    testTimeoutMs,
  )

  const leases = { shorter: leaseMs, longer: 10 * hangMs }
  for (const than of isFull ? (['shorter', 'longer'] as const) : (['shorter'] as const)) {
    test(
      `Another process holds the lock, with leases that are ${than}: tasks are refused in time, and none is lost`,
      async () => {
        using folder = temporaryFolder()
        const path = `${folder.path}/tasks.db`
        await using load = await startLoad(`sqlite:${path}`, leases[than])
        await load.more(200)
        const other = Bun.spawn([process.execPath, '-e', holder, path], { stdout: 'pipe', stderr: 'inherit' })
        await other.stdout.getReader().read()
        await load.refusals(callers)
        if (isFull) await Bun.sleep(hangMs)
        other.kill('SIGKILL')
        await other.exited
        await load.more(200)
        await load.audit(`lock held, leases ${than}`, than === 'shorter' ? concurrency : 0)
      },
      testTimeoutMs,
    )
  }
})

/** Takes the lock, says so, and never gives it back. */
const holder = `
  const { Database } = require('bun:sqlite')
  const file = new Database(process.argv[1])
  file.run('pragma busy_timeout = 5000')
  file.run('begin immediate')
  console.log('held')
  setInterval(() => {}, 1000)
`

const limits = { acquireTimeoutMs: 500, queryTimeoutMs: 700 }
/** A call waits for its turn to write, and then for the lock; a machine with other work is slow. */
const refusalLimitMs = limits.acquireTimeoutMs + limits.queryTimeoutMs + 1500

async function openFilled(url: string) {
  const port = await openPort(url, limits)
  await migrateUp(port.db, migrations)
  await createTable(port.db, orders)
  return port
}

/** Callers that enqueue as fast as they are answered, and a worker. */
async function startLoad(url: string, ms: number) {
  const { db, driver, queue, close } = await openFilled(url)
  const accepted = new Set<string>()
  const refused = new Set<string>()
  const runs = new Map<string, number>()
  let slowestMs = 0
  let isOver = false
  const worker = createWorker({
    ...{ driver, leaseMs: ms, graceMs: 5000, log: fakeLog(), metrics: fakeMetrics() },
    queues: { default: { concurrency } },
    heartbeats: { driver },
    handlers: [
      handle(ship, async (_, { id }) => {
        runs.set(id, (runs.get(id) ?? 0) + 1)
        await Bun.sleep(5)
      }),
    ],
  })
  await worker.start()

  async function caller() {
    while (!isOver) {
      const id = Bun.randomUUIDv7()
      const beganMs = performance.now()
      try {
        await queue.enqueue(ship, { orderId: 'x'.repeat(500) }, { id })
        accepted.add(id)
        await Bun.sleep(10)
      } catch (thrown) {
        expect(thrown).toMatchObject({ code: 'Unavailable.QueueUnavailable' })
        refused.add(id)
        slowestMs = Math.max(slowestMs, performance.now() - beganMs)
        await Bun.sleep(20)
      }
    }
  }
  const working = Promise.all(Array.from({ length: callers }, caller))
  const grown = async (set: Set<string>, count: number) => {
    const before = set.size
    await until(() => set.size >= before + count, patienceMs)
  }
  const stop = async () => {
    isOver = true
    await working
    await worker.stop()
  }
  return {
    db,
    more: (count: number) => grown(accepted, count),
    refusals: (count: number) => grown(refused, count),
    /** Each that was taken has run, none that was refused, and no more of them twice than a fault may bring about. */
    async audit(title: string, twiceMax: number) {
      isOver = true
      await working
      await until(async () => {
        const { waiting, scheduled, active } = await driver.stats('default')
        return waiting + scheduled + active === 0
      }, 3 * patienceMs)
      const lost = [...accepted].filter(id => !runs.has(id))
      const twice = [...runs.values()].reduce((sum, count) => sum + count - 1, 0)
      if (isFull)
        console.log(
          `${title}: ${accepted.size} taken, ${lost.length} lost, ${twice} run twice, ${refused.size} refused, slowest ${Math.round(slowestMs)} ms`,
        )
      expect(lost).toEqual([])
      expect([...refused].filter(id => runs.has(id))).toEqual([])
      expect(twice).toBeLessThanOrEqual(twiceMax)
      expect(slowestMs).toBeLessThan(refusalLimitMs)
      expect(await fsck(driver, 'default', { fix: false, leaseMs: ms })).toEqual([])
      expect(await db.all('select "id" from "queueTask"')).toEqual([])
    },
    async [Symbol.asyncDispose]() {
      await stop()
      await close()
    },
  }
}
