import { expect } from 'bun:test'
import { testOn } from '../../backings'
import { failure } from '../../conformance/fixture'
import { openRedisPlace, type RedisPlace } from './redis-place'
import { openQueueScene } from './scene'

/** Redis that is there, and says no. */
const refusals: [name: string, begin: (place: RedisPlace) => Promise<unknown>, end: (place: RedisPlace) => Promise<unknown>][] = [
  [
    'OOM',
    async ({ raw }) => {
      // The little that is free is taken.
      await raw.config('SET', 'maxmemory', '1mb')
    },
    ({ raw }) => raw.config('SET', 'maxmemory', '0'),
  ],
  ['READONLY', ({ raw }) => raw.call('REPLICAOF', '127.0.0.1', '1'), ({ raw }) => raw.call('REPLICAOF', 'NO', 'ONE')],
  [
    'MISCONF',
    async ({ raw }) => {
      // As when its disk is full.
      await raw.config('SET', 'min-replicas-to-write', '1')
    },
    ({ raw }) => raw.config('SET', 'min-replicas-to-write', '0'),
  ],
]
const atOnceMs = 500

testOn(
  'redis',
  'Redis that refuses writes refuses the task at once, and what waits is still there',
  async () => {
    await using place = await openRedisPlace({ timeoutMs: 3000 })
    const slowest: Record<string, number> = {}
    for (const [name, begin, end] of refusals) {
      await using scene = openQueueScene(place, { queue: name })
      const { driver } = place
      const enqueue = (id: string) => driver.enqueue(name, [scene.newTask('note', { n: 1, ms: 0 }, { id, isIdKept: true })])
      const waiting = ['a', 'b', 'c']
      for (const id of waiting) await enqueue(id)
      await begin(place)
      slowest[name] = 0
      for (let i = 0; i < 20; i++) {
        const beganMs = performance.now()
        expect(await failure(enqueue(`refused-${i}`))).toBe('Unavailable.QueueUnavailable')
        slowest[name] = Math.max(slowest[name], performance.now() - beganMs)
      }
      expect(await failure(driver.ping())).toBe('Unavailable.QueueUnavailable')
      expect(slowest[name]).toBeLessThan(atOnceMs)
      expect(await driver.stats(name)).toMatchObject({ waiting: 3, total: { enqueued: 3 } })
      // What is full can still be worked off.
      if (name === 'OOM') {
        await scene.work()
        await scene.settled(10_000)
      }
      await end(place)
      await enqueue('after')
      if (name !== 'OOM') await scene.work()
      await scene.settled(10_000)
      const done = new Set(scene.ledger().flatMap(({ step, id }) => (step === 'end' ? [id] : [])))
      expect(done).toEqual(new Set([...waiting, 'after']))
      expect(await place.leftovers(name)).toEqual([])
    }
    console.log(`refused at once, slowest: ${Object.entries(slowest).map(([name, ms]) => `${name} ${Math.round(ms)} ms`)}`)
  },
  60_000,
)
