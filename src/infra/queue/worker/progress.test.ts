import { expect, test } from 'bun:test'
import { queueErrors } from '@/core/queue/queue'
import { handle, type Progress, result, TaskAborted } from '@/core/queue/task'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { leaseMs, onEachStore, type Scene } from '@/testing/worker'
import type { QueueDriver } from '../driver'

const count = numbered()
const quick = { backoff: { minMs: 1, maxMs: 1, factor: 1 } }
const progressOf = async ({ driver, queue }: Scene, id: string) => JSON.parse((await driver.show(queue, id))?.progress ?? 'null')

onEachStore('how far a task is', newScene => {
  test('is written once a second, of all attempts in one call: the last of each', async () => {
    const scene = newScene()
    const { enqueue, work, driver, queue } = scene
    const goOn = gate()
    const calls: string[][] = []
    const listened: QueueDriver = {
      ...driver,
      report(name, reports) {
        calls.push(reports.map(({ progress }) => progress))
        return driver.report(name, reports)
      },
    }
    const busy = handle(count, async (_, { progress }) => {
      for (let done = 0; done <= 1000; done++) progress({ done, total: 1000 })
      await goOn.passed
    })
    const ids = await enqueue(count, 4)
    await using working = await work([busy], { driver: listened, limits: { progressMs: 200 } })
    await until(async () => (await progressOf(scene, ids[3] ?? '')) !== null)
    for (const id of ids) expect(await progressOf(scene, id)).toEqual({ done: 1000, total: 1000 })
    expect(calls).toEqual([ids.map(() => '{"done":1000,"total":1000}')])
    goOn.open()
    await until(() => working.ended('done') === 4)
    await until(async () => (await driver.stats(queue)).active === 0)
    // Nobody looks at that of one of which nothing is left.
    expect(calls).toHaveLength(1)
  })

  test('said last is there for the next attempt, though it failed at once', async () => {
    const { enqueue, work } = newScene()
    const seen: (Progress | undefined)[] = []
    const fail = handle(count, async (_, { attempt, progress, lastProgress }) => {
      seen.push(await lastProgress())
      progress({ done: attempt, state: { at: [attempt] } })
      if (attempt < 3) throw new Error('not yet')
    })
    await enqueue(count, 1, { said: quick })
    await using working = await work([fail])
    await until(() => working.ended('done') === 1)
    expect(seen).toEqual([undefined, { done: 1, state: { at: [1] } }, { done: 2, state: { at: [2] } }])
  })

  test('is there when the promise of saving it is, and is kept with what is done', async () => {
    const scene = newScene()
    const { enqueue, work, driver, queue } = scene
    const [id = ''] = await enqueue(count, 1, { said: { keepForMs: 60_000 } })
    const save = handle(count, async (_, { progress, saveProgress }) => {
      await saveProgress()
      progress({ message: 'half' })
      await saveProgress()
      expect(await progressOf(scene, id)).toEqual({ message: 'half' })
      progress({ message: 'all' })
      return result(1)
    })
    await using working = await work([save])
    await until(() => working.ended('done') === 1)
    await until(async () => (await driver.show(queue, id))?.state === 'done')
    expect(await driver.show(queue, id)).toMatchObject({ progress: '{"message":"all"}', result: '1', attempt: 1 })
  })

  test('that is too large, or is no JSON, is refused in the handler', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const odd: unknown[] = [{ message: 'é'.repeat(2048) }, { state: () => 1 }, { done: Number.NaN }, { state: new Date() }]
    const says = handle(count, async ({ n }, { progress }) => progress(odd[n] as Progress))
    const ids: string[] = []
    for (const n of odd.keys()) ids.push(...(await enqueue(count, 1, { payload: { n }, said: { maxRetries: 0 } })))
    await using working = await work([says])
    await until(() => working.ended('dead') === odd.length)
    await until(async () => (await driver.stats(queue)).dead === odd.length)
    const errors = []
    for (const id of ids) errors.push((await driver.show(queue, id))?.errors[0]?.message)
    expect(errors).toEqual([
      'RangeError: the progress is 4110 bytes of JSON, and may be 4096: keep what is large elsewhere and name it',
      'RangeError: the progress cannot be kept: /state a function cannot be said in JSON',
      'RangeError: the progress cannot be kept: /done NaN is no number of JSON',
      'RangeError: the progress cannot be kept: /state a Date comes back from JSON as something else',
    ])
  })

  test('of an attempt whose task is somebody else’s is not kept, and it is told so', async () => {
    const scene = newScene()
    const { enqueue, work, driver, rival, queue } = scene
    const taken = gate()
    const told = Promise.withResolvers<{ thrown: unknown; isAborted: boolean }>()
    const hang = handle(count, async (_, { progress, saveProgress, signal }) => {
      progress({ done: 1 })
      await saveProgress()
      await taken.passed
      progress({ done: 2 })
      const thrown = await saveProgress().catch(error => error)
      told.resolve({ thrown, isAborted: signal.aborted })
    })
    // It believes that it beats.
    const mute = { ...driver, beat: async () => ({ lost: [], cancelled: [] }) }
    const [id = ''] = await enqueue(count)
    await using working = await work([hang], { concurrency: 1, heartbeats: { driver: mute } })
    await until(async () => (await progressOf(scene, id)) !== null)
    const claim = { worker: 'other:1', nonce: 'n'.repeat(16), count: 1, leaseMs: 60_000 }
    await until(async () => {
      await rival.reap(queue, { leaseMs: 1, crashesMax: 3 })
      return (await rival.exchange(queue, { claim })).claimed.length > 0
    }, leaseMs * 5)
    taken.open()
    const { thrown, isAborted } = await told.promise
    expect([thrown, isAborted]).toEqual([new TaskAborted('leaseLost'), true])
    expect(await progressOf(scene, id)).toEqual({ done: 1 })
    await working.stop()
    expect(await driver.show(queue, id)).toMatchObject({ state: 'active', attempt: 2, worker: 'other:1' })
  })

  test('is written when the queue is back, and the handler waits for that when it saves', async () => {
    const scene = newScene()
    const { enqueue, work, driver } = scene
    let isAway = true
    let refused = 0
    const flaky: QueueDriver = {
      ...driver,
      async report(name, reports) {
        if (!isAway) return driver.report(name, reports)
        refused++
        throw queueErrors.QueueUnavailable()
      },
    }
    const saved = gate()
    const end = gate()
    const save = handle(count, async ({ n }, { progress, saveProgress }) => {
      progress({ done: 1 })
      if (n === 0) await saveProgress()
      if (n === 0) saved.open()
      await end.passed
    })
    const [waits = ''] = await enqueue(count, 1, { payload: { n: 0 } })
    const [later = ''] = await enqueue(count, 1, { payload: { n: 1 } })
    await using working = await work([save], { driver: flaky, limits: { progressMs: 50 } })
    await until(() => refused > 2)
    expect(await progressOf(scene, waits)).toBe(null)
    isAway = false
    await saved.passed
    expect(await progressOf(scene, waits)).toEqual({ done: 1 })
    await until(async () => (await progressOf(scene, later)) !== null)
    end.open()
    await until(() => working.ended('done') === 2)
    expect(working.log.lines.filter(({ message }) => message.startsWith('the queue cannot be told how far'))).toHaveLength(1)
  })

  test('that is on its way when the handler returns is there before the word of its end', async () => {
    const scene = newScene()
    const { enqueue, work, driver, queue } = scene
    const [sent, returned] = [gate(), gate()]
    const order: string[] = []
    const slow: QueueDriver = {
      ...driver,
      async report(name, reports) {
        sent.open()
        await returned.passed
        // Longer than the word of an end waits for others.
        await Bun.sleep(100)
        const own = await driver.report(name, reports)
        order.push('report')
        return own
      },
      exchange(name, exchange) {
        if (exchange.finish) order.push('end')
        return driver.exchange(name, exchange)
      },
    }
    const [id = ''] = await enqueue(count, 1, { said: { keepForMs: 60_000 } })
    const say = handle(count, async (_, { progress }) => {
      progress({ done: 1 })
      await sent.passed
      returned.open()
    })
    await using working = await work([say], { driver: slow, limits: { progressMs: 10 } })
    await until(() => working.ended('done') === 1)
    await until(async () => (await driver.show(queue, id))?.state === 'done')
    expect(order).toEqual(['report', 'end'])
    expect(await progressOf(scene, id)).toEqual({ done: 1 })
  })

  test('is not said of one that has ended, though the queue could not be told while it ran', async () => {
    const { enqueue, work, driver } = newScene()
    const [sent, returned] = [gate(), gate()]
    let refused = 0
    const away: QueueDriver = {
      ...driver,
      async report() {
        sent.open()
        await returned.passed
        await Bun.sleep(50)
        refused++
        throw queueErrors.QueueUnavailable()
      },
    }
    const careless = handle(count, async ({ n }, { progress, saveProgress }) => {
      progress({ done: 1 })
      if (n === 1) void saveProgress()
      await sent.passed
      if (n === 1) returned.open()
    })
    await enqueue(count, 2, { said: { keepForMs: 60_000 } })
    await using working = await work([careless], { driver: away, limits: { progressMs: 10 } })
    await until(() => working.ended('done') === 2)
    const before = refused
    expect(before).toBeGreaterThan(0)
    await working.stop()
    // Longer than it takes to say it again, and than the wait after a failure.
    await Bun.sleep(300)
    expect(refused).toBe(before)
  })
})

onEachStore('a worker that is killed', newScene => {
  test('is followed by one that goes on from what was saved last', async () => {
    const { enqueue, work, driver, queue, config } = newScene()
    const env = {
      ...process.env,
      BINGO_DATABASE_URL: config.database.url,
      ...(config.redis.url && { BINGO_REDIS_URL: config.redis.url, BINGO_REDIS_PREFIX: config.redis.prefix }),
    }
    await enqueue(count, 1, { payload: { n: 1000 } })
    await using child = Bun.spawn([process.execPath, 'src/testing/counting-worker.ts', queue, String(leaseMs), '10', '0'], {
      ...{ env, stdout: 'pipe', stderr: 'inherit' },
    })
    let said = ''
    for await (const bytes of child.stdout) {
      said += new TextDecoder().decode(bytes)
      if (/saved 20\n/.test(said)) break
    }
    child.kill('SIGKILL')
    await child.exited
    const savedLast = Math.max(...[...said.matchAll(/saved (\d+)\n/g)].map(([, n]) => Number(n)))
    const found = Promise.withResolvers<{ attempt: number; last: Progress | undefined }>()
    const goOn = handle(count, async (_, { attempt, lastProgress }) => found.resolve({ attempt, last: await lastProgress() }))
    await using working = await work([goOn])
    const { attempt, last } = await found.promise
    expect(attempt).toBe(2)
    // Perhaps it saved more than we have read of it.
    expect(last?.done).toBeGreaterThanOrEqual(savedLast)
    expect(last?.done).toBeLessThan(1000)
    await until(async () => (await driver.stats(queue)).total.done === 1)
    expect((await driver.stats(queue)).total).toMatchObject({ crashed: 1, failed: 0 })
    await working.stop()
  }, 30_000)
})
