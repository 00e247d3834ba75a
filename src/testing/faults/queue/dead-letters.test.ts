import { expect } from 'bun:test'
import { testOn } from '../../backings'
import { isFull } from '../scene'
import { openRedisPlace } from './redis-place'
import { openQueueScene } from './scene'

testOn(
  'redis',
  'Dead letters keep their errors and counts until somebody removes them',
  async () => {
    await using place = await openRedisPlace()
    await using scene = openQueueScene(place)
    const { driver } = place
    const count = isFull ? 20_000 : 300
    await scene.work({ concurrency: 64 })
    const failing = await scene.enqueue('fail', { times: 100 }, { said: { maxRetries: 2, backoff: { minMs: 1, maxMs: 1, factor: 1 } } })
    const ids: string[] = []
    for (let from = 0; from < count; from += 500) {
      const tasks = Array.from({ length: Math.min(500, count - from) }, () => scene.newTask('quit', {}))
      ids.push(...tasks.map(({ id }) => id))
      await driver.enqueue(scene.queue, tasks)
    }
    await scene.settled(60_000)
    const before = await driver.show(scene.queue, failing)
    expect(before).toMatchObject({ state: 'dead', attempt: 3, failures: 3, crashes: 0 })
    expect(before?.errors.map(({ attempt, message }) => ({ attempt, message }))).toEqual(
      [1, 2, 3].map(attempt => ({ attempt, message: `Error: attempt ${attempt} of ${failing} fails` })),
    )
    const stats = await driver.stats(scene.queue)
    expect(stats.dead).toBe(count + 1)

    await place.killAndStart()
    expect(await driver.show(scene.queue, failing)).toEqual(before)
    expect(await driver.stats(scene.queue)).toEqual(stats)
    const seen = new Set<string>()
    let cursor: string | undefined
    do {
      const page = await driver.list(scene.queue, 'dead', 1000, cursor)
      for (const { id, errors } of page.tasks) if (errors.length > 0) seen.add(id)
      cursor = page.cursor
    } while (cursor !== undefined)
    expect(seen).toEqual(new Set([...ids, failing]))

    for (const id of [...ids, failing]) expect(await driver.remove(scene.queue, [id])).toEqual(['removed'])
    expect(await place.leftovers(scene.queue)).toEqual([])
    console.log(`${count + 1} dead letters: all there after a kill of Redis, with errors and counts`)
  },
  120_000,
)
