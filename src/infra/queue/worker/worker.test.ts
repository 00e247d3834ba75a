import { expect, test } from 'bun:test'
import { AsyncLocalStorage } from 'node:async_hooks'
import { currentCaller, type Caller } from '@/core/caller'
import { giveUp, handle, snooze, type TaskContext } from '@/core/queue/task'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { leaseMs, nothing, onEachStore } from '@/testing/worker'

const count = numbered()
const quick = { minMs: 1, maxMs: 1, factor: 1 }

onEachStore('a worker', newScene => {
  test('runs as many tasks at a time as it may, and never more', async () => {
    const { enqueue, work, states } = newScene()
    let running = 0
    let most = 0
    let ran = 0
    const busy = handle(count, async () => {
      most = Math.max(most, ++running)
      await Bun.sleep(ran++ % 5)
      running--
    })
    await enqueue(count, 100)
    await using working = await work([busy], { concurrency: 7 })
    await until(() => ran === 100 && running === 0)
    expect(most).toBe(7)
    await until(() => working.ended('done') === 100)
    await working.stop()
    expect(await states()).toEqual(nothing)
  })

  test('starts tasks in their order, those of a lower priority number first', async () => {
    const { enqueue, work } = newScene()
    const seen: string[] = []
    const note = handle(count, async (_, { id }) => void seen.push(id))
    const later = await enqueue(count, 30, { priority: 7 })
    const sooner = await enqueue(count, 30, { priority: 2 })
    await using _ = await work([note], { concurrency: 1 })
    await until(() => seen.length === 60)
    expect(seen).toEqual([...sooner, ...later])
  })

  test('starts a task that comes while it is idle at once', async () => {
    const { enqueue, work } = newScene()
    const started = Promise.withResolvers<number>()
    await using _ = await work([handle(count, async () => started.resolve(performance.now()))])
    await Bun.sleep(50)
    const beforeMs = performance.now()
    await enqueue(count)
    expect((await started.promise) - beforeMs).toBeLessThan(100)
  })

  test('starts a delayed task when its time has come, and not before', async () => {
    const { enqueue, work } = newScene()
    const started = Promise.withResolvers<number>()
    await using _ = await work([handle(count, async () => started.resolve(Date.now()))])
    const beforeMs = Date.now()
    await enqueue(count, 1, { delayMs: 250 })
    const tookMs = (await started.promise) - beforeMs
    expect(tookMs).toBeGreaterThanOrEqual(250)
    expect(tookMs).toBeLessThan(600)
  })

  test('tries a failed task again after its backoff, and counts what failed', async () => {
    const { enqueue, work, states } = newScene()
    const startedMs: number[] = []
    const seen: Pick<TaskContext, 'attempt' | 'failures'>[] = []
    const fail = handle(count, async (_, { attempt, failures }) => {
      startedMs.push(Date.now())
      seen.push({ attempt, failures })
      if (attempt < 4) throw new Error('not yet')
    })
    await enqueue(count, 1, { said: { backoff: { minMs: 100, maxMs: 200, factor: 2 } } })
    await using working = await work([fail], { random: () => 0.5 })
    await until(() => working.ended('done') === 1)
    expect(seen).toEqual([1, 2, 3, 4].map(attempt => ({ attempt, failures: attempt - 1 })))
    const gaps = startedMs.slice(1).map((ms, i) => ms - (startedMs[i] as number))
    for (const [i, leastMs] of [100, 200, 200].entries()) {
      expect(gaps[i]).toBeGreaterThanOrEqual(leastMs)
      expect(gaps[i]).toBeLessThan(leastMs + 500)
    }
    expect(working.ended('retry')).toBe(3)
    await working.stop()
    expect(await states()).toEqual(nothing)
  })

  test('makes a task a dead letter when it has failed more often than it may, with its last errors', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const fail = handle(count, async (_, { attempt }) => {
      throw new TypeError(`failure ${attempt}`)
    })
    const [id = ''] = await enqueue(count, 1, { said: { maxRetries: 2, backoff: quick } })
    await using working = await work([fail])
    await until(async () => (await driver.show(queue, id))?.state === 'dead')
    // A dead letter is for somebody to look at. What was thrown is said once, with its stack.
    const said = working.log.lines.filter(({ message }) => message.startsWith('a task failed'))
    expect(said.map(({ level, message }) => `${level}: ${message}`)).toEqual([
      'info: a task failed, and is tried again',
      'info: a task failed, and is tried again',
      'warn: a task failed for good',
    ])
    for (const { fields } of said) expect([fields['err'], 'error' in fields]).toEqual([expect.any(TypeError), false])
    const task = await driver.show(queue, id)
    expect(task).toMatchObject({ state: 'dead', attempt: 3, failures: 3, crashes: 0 })
    expect(task?.errors.map(({ message }) => message)).toEqual([1, 2, 3].map(n => `TypeError: failure ${n}`))
  })

  test('makes a task that may not be tried again a dead letter at its first failure', async () => {
    const { enqueue, work, driver, queue } = newScene()
    let ran = 0
    const fail = handle(numbered('number.count', { maxRetries: 0 }), async () => {
      ran++
      throw new Error('no')
    })
    const [id = ''] = await enqueue(count)
    await using working = await work([fail])
    await until(async () => (await driver.show(queue, id))?.state === 'dead')
    expect(ran).toBe(1)
    expect(working.log.lines.filter(({ level, message }) => level === 'warn' && message.includes('for good'))).toHaveLength(1)
  })

  test('puts off a task that says so, and counts no failure', async () => {
    const { enqueue, work } = newScene()
    const seen: { attempt: number; failures: number; atMs: number }[] = []
    const wait = handle(count, async (_, { attempt, failures }) => {
      seen.push({ attempt, failures, atMs: Date.now() })
      return attempt === 1 ? snooze(150) : undefined
    })
    await enqueue(count)
    await using working = await work([wait])
    await until(() => working.ended('done') === 1)
    expect(seen.map(({ attempt, failures }) => [attempt, failures])).toEqual([
      [1, 0],
      [2, 0],
    ])
    expect((seen[1]?.atMs ?? 0) - (seen[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(150)
  })

  test('gives up a task whose handler says so', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const [id = ''] = await enqueue(count)
    await using working = await work([handle(count, async () => giveUp('the address does not exist'))])
    await until(async () => (await driver.show(queue, id))?.state === 'dead')
    const said = working.log.lines.find(({ level }) => level === 'warn')
    expect(said).toMatchObject({ message: 'a task failed for good', fields: { id, error: 'gave up: the address does not exist' } })
    expect((await driver.show(queue, id))?.errors.map(({ message }) => message)).toEqual(['gave up: the address does not exist'])
  })

  test('makes what it cannot run a dead letter at once, with the reason and no value of it, and its neighbors run', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const ids = [
      ...(await enqueue(count, 1, { envelope: 'not { json' })),
      ...(await enqueue({ name: 'nobody.knows' })),
      ...(await enqueue(count, 1, { payload: { n: 'secret-value' } })),
    ]
    const well = await enqueue(count, 3)
    const seen: string[] = []
    await using working = await work([handle(count, async (_, { id }) => void seen.push(id))])
    await until(async () => (await driver.stats(queue)).dead === 3)
    await until(() => working.ended('done') === 3)
    expect(seen.toSorted()).toEqual(well.toSorted())
    const errors = await Promise.all(ids.map(async id => (await driver.show(queue, id))?.errors.map(({ message }) => message).join()))
    expect(errors[0]).toContain('undecodable')
    expect(errors[1]).toContain('unknown task: nobody.knows')
    expect(errors[2]).toContain('does not fit')
    expect(JSON.stringify([errors, working.log.lines])).not.toContain('secret-value')
    expect(working.ended('dead', 'unknown')).toBe(2)
    const levels = working.log.lines
      .filter(({ message }) => message === 'a task cannot be run')
      .map(({ level, fields }) => [fields['id'], level])
    expect(Object.fromEntries(levels)).toEqual({ [ids[0] ?? '']: 'error', [ids[1] ?? '']: 'warn', [ids[2] ?? '']: 'warn' })
  })

  test('does not start a task after its deadline', async () => {
    const { enqueue, work, driver, queue } = newScene()
    let ran = 0
    const [id = ''] = await enqueue(count, 1, { said: { deadlineMs: Date.now() - 1 } })
    await using _ = await work([handle(count, async () => void ran++)])
    await until(async () => (await driver.show(queue, id))?.state === 'dead')
    expect(ran).toBe(0)
    expect((await driver.show(queue, id))?.errors[0]?.message).toStartWith('deadline')
  })

  test('hands on who asked, the headers and the log of the task', async () => {
    const { enqueue, work, queue } = newScene()
    const headers = { 'x-request-id': 'request-1', traceparent: '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', other: 'x' }
    const seen = Promise.withResolvers<{ caller: Caller | undefined; context: TaskContext }>()
    const look = handle(count, async (_, context) => {
      await Bun.sleep(1)
      context.log.info('looked', { own: 1 })
      seen.resolve({ caller: currentCaller(), context: { ...context } })
    })
    const [id = ''] = await enqueue(count, 1, { headers })
    await using working = await work([look])
    const { caller, context } = await seen.promise
    expect(caller).toEqual({ requestId: headers['x-request-id'], traceparent: headers.traceparent })
    expect(context).toMatchObject({ id, queue, attempt: 1, failures: 0, headers })
    expect(Math.abs(Date.parse(context.enqueuedAt) - Date.now())).toBeLessThan(10_000)
    const line = working.log.lines.find(({ message }) => message === 'looked')
    expect(line?.fields).toEqual({ own: 1, task: 'number.count', id, attempt: 1, queue, requestId: 'request-1' })
  })

  test('runs a task apart from whoever enqueued it in the same process', async () => {
    const { enqueue, work } = newScene()
    const where = new AsyncLocalStorage<string>()
    const seen: (string | undefined)[] = []
    await using _ = await work([handle(count, async () => void seen.push(where.getStore()))])
    await Bun.sleep(20)
    await where.run('in a request', () => enqueue(count, 3))
    await until(() => seen.length === 3)
    expect(seen).toEqual([undefined, undefined, undefined])
  })

  test('takes back what a worker left that is gone', async () => {
    const { enqueue, work, rival, queue } = newScene()
    const [id = ''] = await enqueue(count)
    await rival.exchange(queue, { claim: { worker: 'gone:1', nonce: 'nonce-of-the-gone', count: 1, leaseMs } })
    const seen: unknown[] = []
    const atMs = performance.now()
    await using working = await work([handle(count, async (_, context) => void seen.push([context.id, context.attempt, context.failures]))])
    await until(() => seen.length > 0, leaseMs * 5)
    // Not before the lease had ended.
    expect(performance.now() - atMs).toBeGreaterThan(leaseMs * 0.8)
    expect(seen).toEqual([[id, 2, 0]])
    expect(working.metrics.count('bingo_task_reaped_total', { queue })).toBe(1)
  })

  test('does many tasks, each once', async () => {
    const { enqueue, work, states } = newScene()
    const runs = new Map<string, number>()
    for (let i = 0; i < 5; i++) await enqueue(count, 1000)
    await using working = await work([handle(count, async (_, { id }) => void runs.set(id, (runs.get(id) ?? 0) + 1))], { concurrency: 100 })
    await until(() => working.ended('done') === 5000, 20_000)
    await working.stop()
    expect(runs.size).toBe(5000)
    expect([...runs.values()].every(times => times === 1)).toBe(true)
    expect(await states()).toEqual(nothing)
  }, 30_000)

  test('can be stopped before it was started, and twice', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const { open, passed } = gate()
    await enqueue(count)
    const working = await work([handle(count, () => passed)])
    await until(async () => (await driver.stats(queue)).active === 1)
    const stopping = [working.stop(), working.stop()]
    open()
    await Promise.all(stopping)
    expect((await driver.stats(queue)).total.done).toBe(1)
  })
})
