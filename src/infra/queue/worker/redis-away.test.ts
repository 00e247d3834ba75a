import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { handle } from '@/core/queue/task'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { isAvailable, type OwnServer, startOwn } from '@/testing/servers'
import { newScene, openRedisStore, type WorkerStore } from '@/testing/worker'

const count = numbered()
// Each write is on the disk before it is answered, so that a kill loses none.
const durable = ['--appendonly', 'yes', '--appendfsync', 'always', '--maxmemory-policy', 'noeviction']
const leaseMs = 20_000

describe.skipIf(!isAvailable('redis'))('a worker whose Redis is', () => {
  let server: OwnServer
  let store: WorkerStore
  beforeAll(async () => {
    server = await startOwn('redis', durable)
    store = await openRedisStore(server.url)
  }, 30_000)
  afterAll(async () => {
    await store.close()
    await server.stop()
  })

  for (const [how, away, back] of [
    ['killed and started again', () => server.kill(), () => server.start()],
    ['frozen for longer than its calls wait', async () => server.pause(), async () => server.resume()],
  ] as const) {
    test(`${how} says later how its tasks ended, runs each once, and goes on`, async () => {
      const { enqueue, work, driver, queue } = newScene(store)
      const { open, passed } = gate()
      const runs = new Map<string, number>()
      const wait = handle(count, async (_, { id }) => {
        runs.set(id, (runs.get(id) ?? 0) + 1)
        await passed
      })
      await enqueue(count, 20)
      await using working = await work([wait], { leaseMs, concurrency: 10, heartbeats: { config: store.config } })
      await until(() => runs.size === 10)
      await away()
      open()
      await until(() => working.metrics.count('bingo_queue_away_total', { queue }) > 0, 10_000)
      expect(working.ended('done')).toBe(10)
      await back()
      await until(async () => (await driver.stats(queue).catch(() => undefined))?.total.done === 20, 20_000)
      expect([...runs.values()]).toEqual(Array(20).fill(1))
      expect((await driver.stats(queue)).total).toMatchObject({ failed: 0, crashed: 0, dead: 0 })
    }, 60_000)
  }
})
