import { describe, expect, test } from 'bun:test'
import type { ClaimLimits } from '@/infra/queue/driver'
import { heldOf, type Holding, longMs, newNonce, type TestQueue } from './fixture'
import { claiming, dueOf, fill, lanesOf, limits } from './lanes'

/** Whose turn it is where tasks are in lanes, and who is told that it may be his. */
export function turnSuite(newQueue: () => TestQueue): void {
  describe('turns', () => {
    test('go round the lanes of a priority, and those without a lane are one of them', async () => {
      const queue = newQueue()
      const claim = claiming(queue)
      await fill(queue, 6, 'x', 'y/a', undefined, 'y/b')
      const order: string[] = []
      for (let i = 0; i < 24; i++) order.push(...(await claim()))
      expect(order).toHaveLength(24)
      const rounds = Array.from({ length: 6 }, (_, i) => lanesOf(order.slice(i * 4, i * 4 + 4)).toSorted())
      expect(rounds).toEqual(Array.from({ length: 6 }, () => ['', 'x', 'y/a', 'y/b']))
      const ofOne = order.filter((_, i) => lanesOf(order)[i] === 'x')
      expect(ofOne).toEqual(ofOne.toSorted())
    })

    test('go round in one claim of many, too', async () => {
      const queue = newQueue()
      await fill(queue, 50, 'x', undefined)
      await fill(queue, 5, 'y/a', 'y/b')
      const lanes = lanesOf(await claiming(queue)(40))
      const count = (lane: string) => lanes.filter(each => each === lane).length
      expect([count('y/a'), count('y/b'), count('x'), count('')]).toEqual([5, 5, 15, 15])
    })

    test('come soon for a lane that is new, however much others have waiting', async () => {
      const queue = newQueue()
      const claim = claiming(queue)
      await fill(queue, 30, 'x', undefined)
      await claim(10)
      await fill(queue, 1, 'new')
      expect(lanesOf(await claim(3))).toContain('new')
    })

    test('are not for those of a worse priority while one of a better may start', async () => {
      const queue = newQueue()
      const { enqueue } = queue
      await enqueue({ id: 'd', lane: 'x', priority: 9 }, { id: 'a', lane: 'y', priority: 0 }, { id: 'c', priority: 5 })
      await enqueue({ id: 'b', lane: 'x', priority: 0 }, { id: 'e', lane: 'y', priority: 9 }, { id: 'f', priority: 9 })
      const order = await claiming(queue)(9)
      expect([order.slice(0, 2).toSorted(), order[2], order.slice(3).toSorted()]).toEqual([['a', 'b'], 'c', ['d', 'e', 'f']])
    })

    test('within a lane are by priority, then by arrival, and what is given back comes first', async () => {
      const queue = newQueue()
      const { enqueue, claim, finish } = queue
      await enqueue(...['c', 'd'].map(id => ({ id, lane: 'one/a', priority: 5 })), { id: 'a', lane: 'one/a', priority: 1 })
      await enqueue({ id: 'e', lane: 'one/a', priority: 5 }, { id: 'b', lane: 'one/a', priority: 1 })
      const order: string[] = []
      for (let i = 0; i < 8; i++) {
        const [held] = await claim(9, { limits })
        if (!held) break
        order.push(held.id)
        await finish(held, { outcome: i === 1 || i === 4 ? 'release' : 'done' })
      }
      expect(order).toEqual(['a', 'b', 'b', 'c', 'd', 'd', 'e'])
    })
  })

  test('those in lanes are counted and listed with all that wait, a better priority first, by pages of any size', async () => {
    const { driver, name, enqueue, ids } = newQueue()
    await enqueue(...Array.from({ length: 24 }, (_, i) => ({ priority: i % 3, ...(i % 4 === 0 ? {} : { lane: `two/${i % 4}` }) })))
    const whole = (await driver.list(name, 'waiting', 100)).tasks
    expect(whole).toHaveLength(24)
    expect(whole.map(({ priority }) => priority)).toEqual(whole.map(({ priority }) => priority).toSorted())
    for (const count of [1, 5, 24, 25]) {
      const found: string[] = []
      let cursor: string | undefined
      do {
        const page = await driver.list(name, 'waiting', count, cursor)
        expect(page.tasks.length).toBeLessThanOrEqual(count)
        found.push(...page.tasks.map(({ id }) => id))
        cursor = page.cursor
      } while (cursor !== undefined && found.length < 100)
      expect(found).toEqual(await ids('waiting'))
    }
    const stats = await driver.stats(name)
    expect(stats.waiting).toBe(24)
    expect(stats).toHaveProperty('oldestWaitingMs')
  })

  describe('how many of the whole queue run', () => {
    const atMost: ClaimLimits = { concurrency: 3, lanes: {} }

    test('is at most what is said, with and without lanes, over all processes', async () => {
      const queue = newQueue()
      const { rival, name, finish, claim } = queue
      await fill(queue, 5, undefined, 'x')
      const held = await claim(2, { limits: atMost })
      const said = { worker: 'host:2', nonce: newNonce(), count: 9, leaseMs: longMs, limits: atMost }
      expect((await rival.exchange(name, { claim: said })).claimed).toHaveLength(1)
      expect(await claim(9, { limits: atMost })).toEqual([])
      expect(await dueOf(queue, atMost)).toBeUndefined()
      await finish(held[0] as Holding, { outcome: 'retry', delayMs: longMs, error: 'no' })
      expect(await claim(9, { limits: atMost })).toHaveLength(1)
    })
  })

  for (const [what, said, lane] of [
    ['a lane', limits, 'one/a'],
    ['a queue', { concurrency: 1, lanes: {} }, undefined],
  ] as const) {
    for (const where of ['its own', 'another'] as const) {
      test(`who is held back by ${what} that is full is woken when ${where} process ends something of it`, async () => {
        const queue = newQueue()
        const { driver, name, claim, rival } = queue
        let wakes = 0
        const end = driver.watch(name, { wake: () => wakes++, cancelled: () => {} })
        try {
          await fill(queue, 50, lane)
          let [held] = await claim(1, { limits: said })
          // A word may get lost before the connection stands.
          for (let i = 0; i < 20 && wakes === 0; i++) {
            expect(await claim(9, { limits: said })).toEqual([])
            await Bun.sleep(50)
            wakes = 0
            await (where === 'another' ? rival : driver).exchange(name, { finish: [{ ...heldOf(held as Holding), outcome: 'done' }] })
            await Bun.sleep(50)
            const next = await claim(9, { limits: said })
            expect(next).toHaveLength(1)
            held = next[0]
          }
          expect(wakes).toBeGreaterThan(0)
        } finally {
          end()
        }
      })
    }
  }
}
