import { afterAll, beforeAll, expect, test } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import { systemClock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import { handle, result } from '@/core/queue/task'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase, openConfiguredRedis } from '@/infra/ports'
import { createWorker } from '@/infra/queue/worker'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { numbered } from '@/testing/numbered'
import type { QueueDriver } from './driver'
import { type OpenQueue, openQueue } from './open'
import { createWaits } from './wait'

const count = numbered('number.count', { maxRetries: 0 })
/** Sooner than anybody looks who has not been told. */
const soonMs = 1500

onEachBacking('whoever waits until a task has ended', open => {
  let backing: Backing
  let config: Config
  let db: OpenDatabase
  let opened: OpenQueue
  let close: () => Promise<void>
  beforeAll(async () => {
    backing = await open()
    config = loadConfig({ env: backing.options.env ?? {}, flags: {}, readFile: () => '' }).config
    const tools = { log: fakeLog(), metrics: fakeMetrics() }
    db = await openConfiguredDatabase(config, tools)
    await migrateUp(db, migrations)
    const redis = await openConfiguredRedis(config, tools.log)
    opened = await openQueue(config, { db, redis, ...tools, clock: systemClock, tasks: [count], queues: ['default', 'mail'] })
    close = async () => {
      await opened.close()
      await db.close()
      await redis?.close()
      await backing.dispose()
    }
  })
  afterAll(() => close())

  const enqueue = async (n: number, keepForMs = 60_000, queue = 'mail') =>
    (await opened.queue.enqueue(count, { n }, { keepForMs, queue })).id
  const wait: OpenQueue['queue']['wait'] = (id, options) => opened.queue.wait(id, options)
  /** In this process, until it is disposed. */
  async function working(): Promise<AsyncDisposable> {
    const worker = createWorker({
      ...{ driver: opened.driver, leaseMs: 5000, graceMs: 1000, log: fakeLog(), metrics: fakeMetrics() },
      queues: { mail: { concurrency: 4 }, default: { concurrency: 4 } },
      handlers: [
        handle(count, async ({ n }) => {
          if (n < 0) throw new Error('less than nothing')
          return result({ n })
        }),
      ],
      heartbeats: { driver: opened.driver },
    })
    await worker.start()
    return { [Symbol.asyncDispose]: worker.stop }
  }
  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      thrown => (thrown as { code?: string }).code ?? thrown,
    )
  async function timed<T>(work: Promise<T>): Promise<[T, number]> {
    const sinceMs = performance.now()
    return [await work, performance.now() - sinceMs]
  }

  test('is told how it did, with its result or its last error, as soon as it has', async () => {
    const ids = [await enqueue(1), await enqueue(-1), await enqueue(2, 60_000, 'default')] as const
    const waits = ids.map(id => timed(wait(id)))
    await Bun.sleep(100)
    await using _ = await working()
    const [done, dead, other] = await Promise.all(waits)
    expect(done?.[0]).toEqual({ id: ids[0], outcome: 'done', result: { n: 1 } })
    expect(dead?.[0]).toEqual({ id: ids[1], outcome: 'dead', error: 'Error: less than nothing' })
    expect(other?.[0]).toEqual({ id: ids[2], outcome: 'done', result: { n: 2 } })
    for (const [, tookMs] of [done, dead, other] as [unknown, number][]) expect(tookMs).toBeLessThan(soonMs)
  })

  test('is told of one that has ended before, also where nobody has named the queue, and only in the one that was named', async () => {
    const id = await enqueue(3, 60_000, 'default')
    await using _ = await working()
    const ended = { id, outcome: 'done', result: { n: 3 } }
    expect(await wait(id)).toEqual(ended as never)
    expect(await wait(id, { queue: 'default', timeoutMs: 0 })).toEqual(ended as never)
    expect(await wait(id, { queue: 'mail' })).toEqual({ id, outcome: 'gone' })
  })

  test('hears that it is gone of one that is not kept, that was cancelled, or that never was', async () => {
    const [plain, cancelled] = [await enqueue(4, 0), await enqueue(5)]
    const waits = [plain, cancelled, 'nobody'].map(id => wait(id))
    await opened.admin.cancel(cancelled)
    await using _ = await working()
    expect(await Promise.all(waits)).toEqual([plain, cancelled, 'nobody'].map(id => ({ id, outcome: 'gone' })))
  })

  test('waits no longer than he says, and not when his signal aborts', async () => {
    const id = await enqueue(6)
    const [late, tookMs] = await timed(code(wait(id, { timeoutMs: 100 })))
    expect(late).toBe('Timeout.TaskNotEnded')
    // Timers begin with the turn of the event loop, which may have been long when others use the processor.
    expect(tookMs).toBeGreaterThanOrEqual(40)
    expect(await code(wait(id, { timeoutMs: 0 }))).toBe('Timeout.TaskNotEnded')
    const reason = new Error('enough')
    const controller = new AbortController()
    const aborted = code(wait(id, { signal: controller.signal }))
    controller.abort(reason)
    expect(await aborted).toBe(reason)
    expect(await code(wait(id, { signal: controller.signal }))).toBe(reason)
    await opened.admin.cancel(id)
  })

  test('is refused what can never be waited for', async () => {
    const refused = { OptionInvalid: [{ timeoutMs: 600_001 }, { timeoutMs: -1 }, { signal: {} as never }, { timeout: 1 } as never] }
    for (const options of refused.OptionInvalid) expect(await code(wait('nobody', options))).toBe('OptionInvalid')
    expect(await code(wait('nobody', { queue: 'other' }))).toBe('UnknownQueue')
    const inside = db.tx(() => wait('nobody'))
    await expect(inside).rejects.toThrow('wait when it is over')
  })

  test('that comes with many shares what they listen to with them, and leaves nothing of it behind', async () => {
    let listening = 0
    let listenedMost = 0
    const peeks: number[] = []
    const driver: Pick<QueueDriver, 'peek' | 'watchEnds'> = {
      peek(queue, ids) {
        peeks.push(ids.length)
        return opened.driver.peek(queue, ids)
      },
      watchEnds(queue, listener) {
        listenedMost = Math.max(listenedMost, ++listening)
        const end = opened.driver.watchEnds(queue, listener)
        return () => {
          listening--
          end()
        }
      },
    }
    const waits = createWaits({ driver, queues: ['mail', 'default'] })
    const ids = await Promise.all(Array.from({ length: 250 }, (_, n) => enqueue(n)))
    const all = ids.map(id => waits.wait(id))
    await Bun.sleep(100)
    expect(listenedMost).toBe(2)
    expect(Math.max(...peeks)).toBeLessThanOrEqual(100)
    await using _ = await working()
    expect((await Promise.all(all)).map(({ outcome }) => outcome)).toEqual(ids.map(() => 'done'))
    expect(listening).toBe(0)
  })

  test('finds what was enqueued in a transaction', async () => {
    const { id } = await db.tx(tx => opened.queue.enqueue(count, { n: 7 }, { tx, keepForMs: 60_000, queue: 'mail' }))
    const waiting = wait(id)
    await Bun.sleep(50)
    await using _ = await working()
    await opened.relay?.start()
    expect(await waiting).toEqual({ id, outcome: 'done', result: { n: 7 } })
    await opened.relay?.stop()
  })

  test('is told of one that another process has done', async () => {
    const id = await enqueue(20)
    const child = Bun.spawn([process.execPath, 'src/testing/counting-worker.ts', 'mail', '5000', '20', '60000'], {
      ...{ env: { ...process.env, ...backing.options.env }, stdout: 'pipe', stderr: 'inherit' },
    })
    try {
      let toldMs = 0
      const waiting = wait(id, { timeoutMs: 20_000 }).then(ended => {
        toldMs = performance.now()
        return ended
      })
      await until(async () => (await opened.driver.peek('mail', [id]))[0]?.outcome === 'done', 20_000)
      const sawMs = performance.now()
      expect(await waiting).toEqual({ id, outcome: 'done', result: { counted: 20 } })
      // Told, rather than found by itself: a look is due every two seconds only.
      expect(toldMs - sawMs).toBeLessThan(500)
    } finally {
      child.kill('SIGKILL')
      await child.exited
    }
  }, 30_000)
})

test('those who wait are looked for by themselves now and then, and learn that nobody is there any more', async () => {
  let outcome: 'done' | undefined
  const ends: string[] = []
  const waits = createWaits({
    driver: { peek: async (_, ids) => ids.map(() => ({ ...(outcome && { outcome }) })), watchEnds: queue => () => void ends.push(queue) },
    queues: ['q'],
    pollMs: 20,
  })
  const first = waits.wait('a')
  await Bun.sleep(50)
  outcome = 'done'
  expect(await first).toEqual({ id: 'a', outcome: 'done' })
  expect(ends).toEqual(['q'])
  outcome = undefined
  const second = waits.wait('b').catch(thrown => thrown.code)
  await Bun.sleep(30)
  waits.close()
  expect(await second).toBe('Unavailable.QueueUnavailable')
  expect(await waits.wait('c').catch(thrown => thrown.code)).toBe('Unavailable.QueueUnavailable')
})

test('those who wait are told in time though the queue does not answer, and one end makes nobody look but those who wait for it', async () => {
  const answers: (() => void)[] = []
  const looked: string[][] = []
  let said: { ended(id: string): void } | undefined
  const waits = createWaits({
    driver: {
      async peek(_, ids) {
        looked.push([...ids])
        const { promise, resolve } = Promise.withResolvers<void>()
        answers.push(resolve)
        await promise
        return ids.map(() => ({}))
      },
      watchEnds(_, listener) {
        said = listener
        return () => {}
      },
    },
    queues: ['q'],
  })
  const codeOf = (id: string, timeoutMs: number) => waits.wait(id, { timeoutMs }).catch(thrown => thrown.code)
  // The first has a look under way, the second waits for its turn.
  const unanswered = [codeOf('a', 50), codeOf('b', 50)]
  expect(await Promise.all(unanswered)).toEqual(['Timeout.TaskNotEnded', 'Timeout.TaskNotEnded'])
  const patient = [codeOf('c', 60_000), codeOf('d', 60_000), codeOf('d', 60_000)]
  const answered = async (count: number) => {
    await until(async () => answers.length >= count)
    answers[count - 1]?.()
    await Bun.sleep(0)
  }
  await answered(1)
  await answered(2)
  looked.length = 0
  said?.ended('nobody')
  said?.ended('d')
  await answered(3)
  expect(looked).toEqual([['d', 'd']])
  waits.close()
  expect(await Promise.all(patient)).toEqual(patient.map(() => 'Unavailable.QueueUnavailable'))
})
