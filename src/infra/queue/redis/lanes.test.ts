import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { lanesAmiss } from '@/testing/redis-lanes'
import { checkAll, claim, finishAs, leaseMs, newKey, newNonce, newTask, openSubject, until } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import type { ClaimLimits, Finish, Held } from '../driver'

const queue = 'q'

/** Reproducible, from one number (mulberry32). */
function numbersFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296
  }
}

const limits: (ClaimLimits | undefined)[] = [
  undefined,
  { lanes: { a: { concurrency: 2 }, b: { rate: { intervalMs: 3, burst: 2 } } } },
  { concurrency: 9, lanes: { a: { concurrency: 1 }, b: { concurrency: 3, rate: { intervalMs: 1, burst: 1 } } } },
  { rate: { intervalMs: 0.5, burst: 4 }, lanes: { a: { concurrency: 3 }, b: {} } },
]

describeOnRedis('lanes', () => {
  test('one that is named where those without a lane are does not keep others from being claimed', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    await driver.enqueue(
      queue,
      ['a/1', 'a/2'].map(lane => newTask({ id: lane, lane })),
    )
    await raw.lpush(`${prefix}:{${queue}}:p5`, 'a/2')
    const held = await claim(driver, queue)
    expect(held.tasks.map(({ id }) => id).toSorted()).toEqual(['a/1', 'a/2'])
    expect(await lanesAmiss(subject, queue)).toEqual([])
    await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
    expect(await lanesAmiss(subject, queue)).toEqual([])
  })

  test('that have started keep nothing once their rate allows as many again', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const start = async (lane: string, intervalMs: number) => {
      await driver.enqueue(queue, [newTask({ lane })])
      return claim(driver, queue, 1, 30_000, { lanes: { a: { rate: { intervalMs, burst: 1 } } } })
    }
    await start('a/slow', 600_000)
    for (let i = 0; i < 20; i++) await start(`a/${i}`, 1)
    await Bun.sleep(2)
    await start('a/last', 600_000)
    expect((await raw.zrange(`${prefix}:{${queue}}:tat`, 0, '-1')).toSorted()).toEqual(['a/last', 'a/slow'])
  })

  test('that operators have emptied are forgotten when their turn comes, and take turns again when something comes before', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, keysOf } = subject
    const ids = Array.from({ length: 600 }, (_, i) => `${i}`)
    await driver.enqueue(
      queue,
      ids.map(id => newTask({ id, lane: `a/${id}` })),
    )
    expect((await claim(driver, queue, 1)).tasks).toHaveLength(1)
    for (let i = 0; i < ids.length; i += 100) await driver.cancel(queue, ids.slice(i, i + 100))
    expect([await lanesAmiss(subject, queue), await checkAll(driver, queue)]).toEqual([[], []])
    await driver.enqueue(queue, [newTask({ id: 'again', lane: 'a/300' })])
    const claimed: string[] = []
    await until(async () => {
      claimed.push(...(await claim(driver, queue)).tasks.map(({ id }) => id))
      return !(await keysOf(queue)).includes('q5')
    })
    expect(claimed).toEqual(['again'])
    expect((await keysOf(queue)).filter(key => /^(lns|q\d|l\d:.*)$/.test(key))).toEqual([])
  })

  test('thousands that are full are put aside some at a time, and nothing of a lesser priority is taken meanwhile', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const full = { lanes: { a: { concurrency: 1 } } }
    const tasks = Array.from({ length: 2000 }, (_, i) => newTask({ lane: `a/${i % 1000}`, priority: 3 }))
    await driver.enqueue(queue, tasks.slice(0, 1000))
    for (let i = 0; i < 10; i++) expect((await claim(driver, queue, 100, leaseMs, full)).tasks).toHaveLength(100)
    await driver.enqueue(queue, tasks.slice(1000))
    await driver.enqueue(queue, [newTask({ id: 'last', lane: 'b', priority: 3 }), newTask({ id: 'lesser' })])
    const ids: string[] = []
    let looks = 0
    while (ids.length < 2) {
      const { claimed, nextDueMs } = await driver.exchange(queue, {
        claim: { worker: 'w', nonce: newNonce(), count: 1, leaseMs, limits: full },
      })
      ids.push(...claimed.map(({ id }) => id))
      if (claimed.length === 0) expect(nextDueMs).toBe(0)
      const aside = await raw.hlen(`${prefix}:{${queue}}:blk`)
      expect(aside - looks).toBeLessThanOrEqual(700)
      looks = aside
    }
    expect(ids).toEqual(['last', 'lesser'])
    expect(await lanesAmiss(subject, queue)).toEqual([])
  })

  test('that are full by the limits of two versions are put aside and let go some times, not with each claim', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const base = `${prefix}:{${queue}}:`
    const old = { lanes: { a: { concurrency: 1 }, b: { concurrency: 1 } } }
    const next = { lanes: { a: { concurrency: 1 } } }
    for (let i = 0; i < 2; i++) {
      await driver.enqueue(
        queue,
        Array.from({ length: 100 }, (_, j) => newTask({ lane: `a/${j}` })),
      )
      if (i === 0) expect((await claim(driver, queue, 100, leaseMs, old)).tasks).toHaveLength(100)
    }
    expect((await claim(driver, queue, 100, leaseMs, old)).tasks).toHaveLength(0)
    const versions = async () => [...new Set(await raw.hvals(`${base}blk`))]
    const before = await versions()
    expect((await claim(driver, queue, 100, leaseMs, next)).tasks).toHaveLength(0)
    const first = await versions()
    expect(first).not.toEqual(before)
    for (let i = 0; i < 4; i++) expect((await claim(driver, queue, 100, leaseMs, i % 2 ? next : old)).tasks).toHaveLength(0)
    expect(await versions()).toEqual(first)
    // What one of them puts aside meanwhile is let go when it is time, though the other is known.
    await driver.enqueue(queue, [newTask({ lane: 'b' }), newTask({ lane: 'b' })])
    expect((await claim(driver, queue, 100, leaseMs, old)).tasks).toHaveLength(1)
    const { claimed, nextDueMs } = await driver.exchange(queue, {
      claim: { worker: 'w', nonce: newNonce(), count: 1, leaseMs, limits: next },
    })
    expect([claimed.length, nextDueMs !== undefined && nextDueMs > 0 && nextDueMs <= 5000]).toEqual([0, true])
    const known = await raw.hget(`${base}m`, 'limits')
    expect(known).toEndWith(' -!')
    await raw.hset(`${base}m`, 'limits', known?.replace(/ \d+ /, ' 1 ') ?? '')
    expect((await claim(driver, queue, 100, leaseMs, next)).tasks).toHaveLength(1)
    expect(await lanesAmiss(subject, queue)).toEqual([])
  })

  test('whatever is called, each that has tasks is found by claims or held for a reason', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw } = subject
    for (let seed = 1; seed <= 6; seed++) {
      await raw.flushdb()
      const random = numbersFrom(seed)
      const pick = <T>(some: readonly T[]): T => some[Math.floor(random() * some.length)] as T
      const ids: string[] = []
      let held: Held[] = []
      const enqueue = () => {
        const tasks = Array.from({ length: 1 + Math.floor(random() * 6) }, () =>
          newTask({
            priority: pick([3, 5, 5, 5, 7]),
            delayMs: pick([0, 0, 0, 3]),
            isIdKept: random() < 0.2,
            ...(random() < 0.2 && { unique: { key: newKey(), forMs: 60_000 } }),
            ...(random() < 0.8 && { lane: pick(['a/1', 'a/2', 'a/3', 'b/1', 'b/2', 'c']) }),
          }),
        )
        ids.push(...tasks.map(({ id }) => id))
        return driver.enqueue(queue, tasks)
      }
      const exchange = async () => {
        const ending = held.splice(0, Math.floor(random() * (held.length + 1)))
        const outcomes = [
          { outcome: 'done' },
          { outcome: 'done' },
          { outcome: 'release' },
          { outcome: 'cancelled' },
          { outcome: 'retry', delayMs: 0, error: 'no' },
          { outcome: 'retry', delayMs: 2, error: 'no' },
          { outcome: 'snooze', delayMs: 0 },
          { outcome: 'dead', isFailure: true, error: 'no' },
        ]
        const finish = ending.map(each => ({ ...each, ...pick(outcomes) }) as Finish)
        const nonce = newNonce()
        const rule = pick(limits)
        const claim = { worker: 'w', nonce, count: pick([1, 3, 12]), leaseMs: pick([1, 30_000, 30_000]), ...(rule && { limits: rule }) }
        const { claimed } = await driver.exchange(queue, { finish, ...(random() < 0.8 && { claim }) })
        held.push(...claimed.map(({ id, attempt }) => ({ id, attempt, nonce })))
      }
      const one = () => [pick(ids) ?? 'none']
      const calls = [
        ...[enqueue, enqueue, exchange, exchange, exchange, exchange],
        () => driver.cancel(queue, one()),
        () => driver.remove(queue, one()),
        () => driver.retry(queue, one()),
        () => driver.reap(queue, { leaseMs: 1, crashesMax: 1 }),
        () => (random() < 0.3 ? driver.pause(queue) : driver.resume(queue)),
      ]
      for (let step = 0; step < 250; step++) {
        await pick(calls)()
        expect([seed, step, await lanesAmiss(subject, queue)]).toEqual([seed, step, []])
      }
      await driver.resume(queue)
      for (let turn = 0; turn < 400; turn++) {
        await driver.reap(queue, { leaseMs: 1, crashesMax: 1 })
        const nonce = newNonce()
        const rule = limits[1 + (turn % 2)]
        const { claimed } = await driver.exchange(queue, {
          finish: held.map(each => ({ ...each, outcome: 'done' }) as Finish),
          claim: { worker: 'w', nonce, count: 50, leaseMs: 30_000, ...(rule && { limits: rule }) },
        })
        held = claimed.map(({ id, attempt }) => ({ id, attempt, nonce }))
        const { waiting, scheduled, active } = await driver.stats(queue)
        if (waiting + scheduled + active === 0) break
        await Bun.sleep(1)
      }
      expect([seed, await driver.stats(queue)]).toMatchObject([seed, { waiting: 0, active: 0 }])
      // Lanes that operators have emptied are forgotten by claims, some when their time comes.
      await until(async () => {
        await claim(driver, queue)
        return !(await subject.keysOf(queue)).some(key => !/^(m|w|dead|sch|tat|hist|[dsexu]:.*|cl:.*)$/.test(key))
      })
    }
  }, 60_000)
})
