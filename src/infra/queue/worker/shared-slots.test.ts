import { expect, test } from 'bun:test'
import { handle, type TaskHandler } from '@/core/queue/task'
import { queueErrors } from '@/core/queue/queue'
import type { PoolRule } from '@/core/role'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { onEachStore, type Scene } from '@/testing/worker'
import type { WorkerOptions } from '.'

const count = numbered()

onEachStore('queues that share slots', newScene => {
  /** Queues with so many tasks each, and workers that share slots among them. */
  async function scenesOf(weights: Readonly<Record<string, number>>, pool: PoolRule, tasks: Readonly<Record<string, number>>) {
    const scenes = new Map<string, Scene>()
    for (const name of Object.keys(weights)) scenes.set(name, newScene())
    const sceneOf = (name: string) => scenes.get(name) as Scene
    const nameOf = new Map([...scenes].map(([name, { queue }]) => [queue, name]))
    for (const [name, many] of Object.entries(tasks))
      for (let left = many; left > 0; left -= 1000) await sceneOf(name).enqueue(count, Math.min(left, 1000))
    const queues = Object.fromEntries(Object.entries(weights).map(([name, weight]) => [sceneOf(name).queue, { pool: 'shared', weight }]))
    return {
      sceneOf,
      /** Whose task it is. */
      of: (queue: string) => nameOf.get(queue) as string,
      work: (handlers: readonly TaskHandler[], over: Partial<WorkerOptions> = {}) =>
        sceneOf(Object.keys(weights)[0] as string).work(handlers, { queues, pools: { shared: pool }, ...over }),
    }
  }

  test('have starts by their weights while both have work, whatever the tasks take, and never more slots than there are', async () => {
    const { of, work } = await scenesOf({ large: 3, small: 1 }, { concurrency: 8 }, { large: 3000, small: 3000 })
    const starts: string[] = []
    let running = 0
    let most = 0
    const busy = handle(count, async (_, { queue }) => {
      starts.push(of(queue))
      most = Math.max(most, ++running)
      // Those of the one with the smaller weight take longer, so it would have more of the slots if these were what is shared out.
      await Bun.sleep(of(queue) === 'small' ? 6 : 2)
      running--
    })
    await using _ = await work([busy])
    await until(() => starts.length >= 1200, 30_000)
    const share = starts.slice(0, 1200).filter(name => name === 'large').length / 1200
    expect(Math.abs(share - 0.75)).toBeLessThan(0.02)
    expect(most).toBe(8)
    // At any time, too.
    for (let i = 0; i + 200 <= 1200; i += 200) {
      const some = starts.slice(i, i + 200).filter(name => name === 'large').length / 200
      expect(Math.abs(some - 0.75)).toBeLessThan(0.1)
    }
  }, 40_000)

  test('have starts by their weights also when tasks take no time and are claimed many at once', async () => {
    const { of, work } = await scenesOf({ a: 1, b: 2, c: 5 }, { concurrency: 64 }, { a: 4000, b: 4000, c: 4000 })
    const starts: string[] = []
    await using _ = await work([handle(count, async (_payload, { queue }) => void starts.push(of(queue)))])
    await until(() => starts.length >= 4000, 30_000)
    const shareOf = (name: string) => starts.slice(0, 4000).filter(each => each === name).length / 4000
    for (const [name, share] of Object.entries({ a: 1 / 8, b: 2 / 8, c: 5 / 8 })) expect(Math.abs(shareOf(name) - share)).toBeLessThan(0.02)
  }, 40_000)

  test('leave all slots to one that alone has work', async () => {
    const { work } = await scenesOf({ busy: 1, idle: 1000 }, { concurrency: 12 }, { busy: 300 })
    let running = 0
    let most = 0
    let ran = 0
    const note = handle(count, async () => {
      most = Math.max(most, ++running)
      await Bun.sleep(5)
      running--
      ran++
    })
    await using _ = await work([note])
    await until(() => ran === 300)
    expect(most).toBe(12)
  })

  test('in a strict pool wait while one of larger weight has work', async () => {
    const { of, work, sceneOf } = await scenesOf({ first: 2, second: 1 }, { concurrency: 4, order: 'strict' }, { first: 200, second: 400 })
    const starts: string[] = []
    await using _ = await work([
      handle(count, async (_payload, { queue }) => {
        starts.push(of(queue))
        await Bun.sleep(2)
      }),
    ])
    await until(() => starts.length >= 250)
    expect(starts.slice(0, 200).filter(name => name === 'second')).toEqual([])
    // What comes later goes first as well, but for what has been claimed by then.
    await sceneOf('first').enqueue(count, 50)
    const from = starts.length
    await until(() => starts.length >= from + 80)
    const last = starts.lastIndexOf('first')
    expect(starts.slice(from, last).filter(name => name === 'second').length).toBeLessThanOrEqual(30)
    await until(() => starts.length === 650)
  }, 20_000)

  test('ask for no more slots than a queue may run at a time, and leave the others alone', async () => {
    const { of, work, sceneOf } = await scenesOf({ capped: 50, other: 1 }, { concurrency: 8 }, { capped: 300, other: 300 })
    const asked: number[] = []
    const { driver } = sceneOf('capped')
    const seen: typeof driver = {
      ...driver,
      exchange(queue, said) {
        if (of(queue) === 'capped' && said.claim) asked.push(said.claim.count)
        return driver.exchange(queue, said)
      },
    }
    const running = { capped: 0, other: 0 }
    const most = { capped: 0, other: 0 }
    let ran = 0
    const note = handle(count, async (_, { queue }) => {
      const own = of(queue) as 'capped' | 'other'
      most[own] = Math.max(most[own], ++running[own])
      await Bun.sleep(2)
      running[own]--
      ran++
    })
    const queues = {
      [sceneOf('capped').queue]: { pool: 'shared', weight: 50, claimLimits: { concurrency: 2, lanes: {} } },
      [sceneOf('other').queue]: { pool: 'shared' },
    }
    await using _ = await work([note], { driver: seen, queues })
    await until(() => ran === 600, 20_000)
    expect(most.capped).toBe(2)
    expect(most.other).toBeGreaterThanOrEqual(6)
    expect(Math.max(...asked)).toBe(2)
  }, 30_000)

  test('lose a slot to a handler that is stuck, whichever queue it is of', async () => {
    const { of, work, sceneOf } = await scenesOf({ deaf: 1, other: 1 }, { concurrency: 2 }, {})
    const { open, passed } = gate()
    let running = 0
    let most = 0
    let ran = 0
    const do_ = handle(count, async (_, { queue }) => {
      if (of(queue) === 'deaf') return passed
      most = Math.max(most, ++running)
      await Bun.sleep(5)
      running--
      ran++
    })
    await sceneOf('deaf').enqueue(count, 1, { said: { timeoutMs: 30, maxRetries: 0 } })
    await using working = await work([do_])
    await until(() => working.metrics.gaugeOf('bingo_task_stuck') === 1)
    await sceneOf('other').enqueue(count, 20)
    await until(() => ran === 20)
    expect(most).toBe(1)
    open()
    await until(() => working.metrics.gaugeOf('bingo_task_stuck') === 0)
    await sceneOf('other').enqueue(count, 20)
    await until(() => ran === 40)
    expect(most).toBe(2)
  })

  test('have the slots of one whose store is away, and no more of them when it is back', async () => {
    const { of, work, sceneOf } = await scenesOf({ away: 1, other: 1 }, { concurrency: 6 }, { away: 500, other: 500 })
    let isAway = true
    const { driver } = sceneOf('away')
    const flaky: typeof driver = {
      ...driver,
      exchange: (queue, said) =>
        isAway && of(queue) === 'away' ? Promise.reject(queueErrors.QueueUnavailable()) : driver.exchange(queue, said),
    }
    const ran = { away: 0, other: 0 }
    let running = 0
    let most = 0
    let mostOfOther = 0
    const note = handle(count, async (_, { queue }) => {
      most = Math.max(most, ++running)
      if (ran.away === 0) mostOfOther = Math.max(mostOfOther, running)
      await Bun.sleep(3)
      running--
      ran[of(queue) as 'away' | 'other']++
    })
    await using _ = await work([note], { driver: flaky })
    await until(() => ran.other >= 100)
    expect([ran.away, mostOfOther]).toEqual([0, 6])
    isAway = false
    await until(() => ran.away + ran.other === 1000, 20_000)
    expect(most).toBe(6)
  }, 30_000)

  test('do not keep a task from another process that has room for it', async () => {
    const { of, work, sceneOf } = await scenesOf({ long: 1, short: 1 }, { concurrency: 2 }, { long: 2 })
    const { open, passed } = gate()
    let held = 0
    const doneBy: string[] = []
    const handlers = (name: string) => [
      handle(count, async (_, { queue }) => {
        if (of(queue) === 'short') return void doneBy.push(name)
        held++
        return passed
      }),
    ]
    await using _ = await work(handlers('busy'))
    await until(() => held === 2)
    const idle = { queues: { [sceneOf('short').queue]: { concurrency: 2 } }, pools: {}, driver: sceneOf('short').rival }
    await using __ = await work(handlers('idle'), idle)
    await Bun.sleep(100)
    const waits: number[] = []
    for (let i = 1; i <= 10; i++) {
      const atMs = performance.now()
      await sceneOf('short').enqueue(count)
      await until(() => doneBy.length === i, 10_000)
      waits.push(performance.now() - atMs)
    }
    expect(new Set(doneBy)).toEqual(new Set(['idle']))
    // Whoever has to look by itself does so after four seconds.
    expect(Math.max(...waits)).toBeLessThan(1500)
    open()
  }, 30_000)
})
