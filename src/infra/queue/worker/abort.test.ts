import { expect, test } from 'bun:test'
import { type AbortReason, handle, snooze, type TaskAborted, type TaskContext } from '@/core/queue/task'
import { gate, until } from '@/testing/conformance/cache-fixture'
import type { QueueDriver } from '../driver'
import { numbered } from '@/testing/numbered'
import { leaseMs, nothing, onEachStore } from '@/testing/worker'

const count = numbered()
const quick = { minMs: 1, maxMs: 1, factor: 1 }

/** Resolves when the task is told to end, and why. */
const aborted = ({ signal }: TaskContext) =>
  new Promise<AbortReason>(resolve => signal.addEventListener('abort', () => resolve((signal.reason as TaskAborted).reason)))

onEachStore('a running task', newScene => {
  test('is told to end when its time is over, which is a failure', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const [id = ''] = await enqueue(count, 1, { said: { timeoutMs: 100, maxRetries: 1, backoff: quick } })
    const reasons: AbortReason[] = []
    const slow = handle(count, async (_, context) => {
      reasons.push(await aborted(context))
      throw context.signal.reason
    })
    await using working = await work([slow])
    await until(async () => (await driver.show(queue, id))?.state === 'dead')
    const task = await driver.show(queue, id)
    expect(reasons).toEqual(['timeout', 'timeout'])
    expect(task).toMatchObject({ attempt: 2, failures: 2, crashes: 0 })
    expect(task?.errors.map(({ message }) => message)).toEqual(Array(2).fill('timeout: not done within 100 ms'))
    expect(working.log.lines.filter(({ message }) => message === 'a task is told to end')).toHaveLength(2)
  })

  test('is done when it succeeds though it was told to end, and fails when it only wants to wait', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const [first = '', second = ''] = await enqueue(count, 2, { said: { timeoutMs: 50, maxRetries: 0 } })
    const slow = handle(count, async ({ n }, context) => {
      await aborted(context)
      return n === 0 ? undefined : snooze(0)
    })
    await using _ = await work([slow])
    await until(async () => (await driver.show(queue, second))?.state === 'dead')
    await until(async () => (await driver.show(queue, first)) === undefined)
    expect((await driver.stats(queue)).total).toMatchObject({ done: 1, dead: 1, failed: 1 })
  })

  test('is told to end at its deadline, and becomes a dead letter with retries left', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const [id = ''] = await enqueue(count, 1, { said: { deadlineMs: Date.now() + 200 } })
    const slow = handle(count, async (_, context) => {
      await aborted(context)
      throw new Error('aborted')
    })
    await using _ = await work([slow])
    await until(async () => (await driver.show(queue, id))?.state === 'dead')
    const task = await driver.show(queue, id)
    expect(task).toMatchObject({ attempt: 1, failures: 1 })
    expect(task?.errors[0]?.message).toBe('deadline: it has passed while the task ran; Error: aborted')
  })

  test('that goes on keeps its slot, fails in the queue, runs elsewhere but not here, and its end changes nothing', async () => {
    const { enqueue, work, driver, rival, queue } = newScene()
    const { open, passed } = gate()
    const seen: [where: string, n: number, attempt: number][] = []
    const [id = ''] = await enqueue(count, 1, { said: { timeoutMs: 50, maxRetries: 5, backoff: { minMs: 60, maxMs: 60, factor: 1 } } })
    const deaf = handle(count, async ({ n }, { attempt }) => {
      seen.push(['here', n, attempt])
      if (attempt === 1 && n === 0) await passed
    })
    await using working = await work([deaf], { concurrency: 2 })
    await until(() => working.metrics.gaugeOf('bingo_task_stuck') === 1)
    await until(async () => (await driver.show(queue, id))?.failures === 1)
    expect(working.metrics.gaugeOf('bingo_task_running')).toBe(1)
    // One slot is left: what comes runs, but not the task itself, though it is due again.
    const others = await enqueue(count, 20, { payload: { n: 1 } })
    await until(() => working.ended('done') === others.length)
    await until(async () => ((await driver.show(queue, id))?.attempt ?? 0) > 2)
    expect(seen.filter(([, n]) => n === 0)).toEqual([['here', 0, 1]])
    expect(working.ended('retry')).toBe(1)
    const elsewhere = handle(count, async ({ n }, { attempt }) => void seen.push(['elsewhere', n, attempt]))
    await using other = await work([elsewhere], { driver: rival })
    await until(() => other.ended('done') === 1)
    expect(seen.filter(([where]) => where === 'elsewhere')).toHaveLength(1)
    open()
    await until(() => working.metrics.gaugeOf('bingo_task_running') === 0)
    expect(working.metrics.gaugeOf('bingo_task_stuck')).toBe(0)
    await Bun.sleep(50)
    expect((await driver.stats(queue)).total).toMatchObject({ done: 21, failed: 1, crashed: 0, dead: 0 })
  })

  test('is told to end when another process cancels it, and is not tried again', async () => {
    const { enqueue, work, rival, driver, queue, states } = newScene()
    const reasons: AbortReason[] = []
    let running = 0
    const long = handle(count, async (_, context) => {
      running++
      reasons.push(await aborted(context))
      throw new Error('after the end')
    })
    await using working = await work([long])
    const [id = ''] = await enqueue(count)
    await until(() => running === 1)
    expect(await rival.cancel(queue, [id])).toEqual(['cancelling'])
    await until(() => working.ended('cancelled') === 1)
    expect(reasons).toEqual(['cancelled'])
    await until(async () => (await driver.stats(queue)).total.cancelled === 1)
    expect(await states()).toEqual(nothing)
  })

  test('hears of it with the heartbeats when the word of the cancellation was lost', async () => {
    const { enqueue, work, rival, driver, queue } = newScene()
    const deaf: QueueDriver = { ...driver, watch: (name, { wake }) => driver.watch(name, { wake, cancelled: () => {} }) }
    let running = 0
    const long = handle(count, async (_, context) => {
      running++
      await aborted(context)
      throw new Error('after the end')
    })
    await using working = await work([long], { driver: deaf })
    const [id = ''] = await enqueue(count)
    await until(() => running === 1)
    await rival.cancel(queue, [id])
    await until(() => working.ended('cancelled') === 1)
  })

  test('is done when it succeeds though it was cancelled', async () => {
    const { enqueue, work, rival, driver, queue } = newScene()
    let running = 0
    const long = handle(count, async (_, context) => {
      running++
      await aborted(context)
    })
    await using _ = await work([long])
    const [id = ''] = await enqueue(count)
    await until(() => running === 1)
    await rival.cancel(queue, [id])
    await until(async () => (await driver.stats(queue)).total.done === 1)
    expect((await driver.stats(queue)).total.cancelled).toBe(0)
  })

  test('keeps its lease as long as it takes', async () => {
    const { enqueue, work, driver, rival, queue } = newScene()
    let ran = 0
    const long = handle(count, async () => {
      ran++
      await Bun.sleep(leaseMs * 2.5)
    })
    await enqueue(count)
    await using _ = await work([long])
    const reaping = setInterval(() => rival.reap(queue, { leaseMs, crashesMax: 3 }).catch(() => {}), 50)
    await until(async () => (await driver.stats(queue)).total.done === 1, leaseMs * 5)
    clearInterval(reaping)
    expect(ran).toBe(1)
    expect((await driver.stats(queue)).total.crashed).toBe(0)
  })

  test('is told to end before its lease is over when nobody can prolong it, and waits again, uncounted', async () => {
    const { enqueue, work, driver, queue } = newScene()
    let isAway = true
    const away: QueueDriver = { ...driver, beat: (...said) => (isAway ? Promise.reject(new Error('away')) : driver.beat(...said)) }
    const startedMs: number[] = []
    const abortedMs: number[] = []
    const reasons: AbortReason[] = []
    const long = handle(count, async (_, context) => {
      startedMs.push(performance.now())
      if (context.attempt > 1) return
      reasons.push(await aborted(context))
      abortedMs.push(performance.now())
      isAway = false
      throw new Error('after the end')
    })
    await enqueue(count)
    await using working = await work([long], { driver: away })
    await until(async () => (await driver.stats(queue)).total.done === 1, leaseMs * 5)
    expect(reasons).toEqual(['leaseLost'])
    const keptMs = (abortedMs[0] ?? 0) - (startedMs[0] ?? 0)
    expect(keptMs).toBeGreaterThan(leaseMs * 0.75)
    expect(keptMs).toBeLessThan(leaseMs)
    expect(working.metrics.count('bingo_task_leases_lost_total', { queue })).toBe(1)
    expect((await driver.stats(queue)).total).toMatchObject({ failed: 0, crashed: 0 })
  })

  test('is told to end when the queue has given it to somebody else', async () => {
    const { enqueue, work, driver, rival, queue } = newScene()
    let isMute = true
    // Beats are said to have been heard, and were not: as when this process was asleep.
    const mute: QueueDriver = {
      ...driver,
      beat: (...said) => (isMute ? Promise.resolve({ lost: [], cancelled: [] }) : driver.beat(...said)),
      reap: async () => ({ again: [], poisoned: [], more: false }),
    }
    const reasons: AbortReason[] = []
    const long = handle(count, async (_, context) => {
      reasons.push(await aborted(context))
      throw new Error('after the end')
    })
    const [id = ''] = await enqueue(count)
    await using working = await work([long], { driver: mute, concurrency: 1 })
    const claim = { worker: 'other:1', nonce: 'nonce-of-another', count: 1, leaseMs: 60_000 }
    await until(async () => {
      await rival.reap(queue, { leaseMs, crashesMax: 3 })
      return (await rival.exchange(queue, { claim })).claimed.length === 1
    }, leaseMs * 5)
    isMute = false
    await until(() => reasons.length === 1)
    expect(reasons).toEqual(['leaseLost'])
    await until(() => working.metrics.count('bingo_task_stale_total', { queue }) === 1)
    expect(await driver.show(queue, id)).toMatchObject({ state: 'active', attempt: 2, worker: 'other:1', failures: 0 })
  })
})
