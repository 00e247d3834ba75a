import { afterAll, beforeAll, describe, expect } from 'bun:test'
import type { Database } from '@/core/database'
import { testOn } from '../../backings'
import { until } from '../../conformance/cache-fixture'
import { failure } from '../../conformance/fixture'
import type { DatabaseName } from '../../installations'
import { isAvailable, type OwnServer, sharedServer, startOwn } from '../../servers'
import { hangMs, isFull } from '../scene'
import { type OutboxScene, openOutboxScene } from './outbox-scene'
import { placeOrder } from './order'

/** Tasks that are enqueued in transactions, while relays, MySQL and Redis are killed. */
const names = ['mariadb', 'mysql'] as const
const startTimeoutMs = 60_000
const testTimeoutMs = 300_000
const batch = isFull ? 500 : 30
const rounds = isFull ? 5 : 1
const starting: Partial<Record<DatabaseName | 'redis', Promise<OwnServer>>> = {}

/** Whether it may be killed. MySQL takes long to start, so in the ordinary run it is the one of all tests. */
const isOwn = (name: DatabaseName) => isFull || name === 'mariadb'

beforeAll(async () => {
  for (const name of names)
    if (isAvailable(name)) starting[name] = isOwn(name) ? startOwn(name) : (sharedServer(name) as Promise<OwnServer>)
  if (isAvailable('redis')) starting.redis = startOwn('redis', ['--appendonly', 'yes', '--appendfsync', 'always'])
  await Promise.all(Object.values(starting))
}, startTimeoutMs)
afterAll(async () => {
  for (const name of [...names, 'redis'] as const) if (name === 'redis' || isOwn(name)) await (await starting[name])?.stop()
}, startTimeoutMs)

for (const name of names) describe(`the outbox of ${name}`, () => suite(name))

function suite(name: DatabaseName) {
  const on = (title: string, work: (scene: OutboxScene, servers: { primary: OwnServer; redis: OwnServer }) => Promise<void>) =>
    testOn(
      name,
      title,
      async () => {
        const servers = { primary: (await starting[name]) as OwnServer, redis: (await starting.redis) as OwnServer }
        await using scene = await openOutboxScene(servers.primary, servers.redis)
        await work(scene, servers)
      },
      testTimeoutMs,
    )
  const placeMany = (scene: OutboxScene, count: number) => Promise.all(Array.from({ length: count }, scene.place))

  on('A relay that is killed after its task has finished does not run it again', async scene => {
    for (let round = 0; round < rounds; round++) {
      const relay = await scene.relay('handed')
      const before = scene.runs.size
      const ids = await placeMany(scene, batch)
      await relay.standsStill()
      // Of what was taken at first Redis has all, and the worker has done it; the outbox does not know.
      await until(() => scene.runs.size > before)
      await until(async () =>
        Object.values(await scene.driver.stats('default'))
          .slice(0, 3)
          .every(count => count === 0),
      )
      expect(await scene.waiting()).toBe(batch)
      await relay.kill()
      await scene.passTaken()
      const other = await scene.relay()
      await until(async () => (await scene.waiting()) === 0, testTimeoutMs)
      await scene.audit(`${name}, relay killed after its tasks had finished`)
      expect(ids.filter(id => !scene.runs.has(id))).toEqual([])
      expect(await other.stop()).toBe(0)
    }
  })

  if (isOwn(name))
    on('A relay that is killed before it has handed over loses nothing', async scene => {
      const relay = await scene.relay('taken')
      await placeMany(scene, batch)
      await relay.standsStill()
      await relay.kill()
      expect(scene.runs.size).toBe(0)
      await scene.passTaken()
      await scene.relay()
      await scene.audit(`${name}, relay killed before it handed over`)
    })

  on('While Redis is down, tasks enqueued in a transaction wait in the outbox', async (scene, { redis }) => {
    await scene.relay()
    await placeMany(scene, batch)
    await redis.kill()
    const before = scene.runs.size
    await placeMany(scene, batch)
    await until(async () => (await scene.putBack()) > 0, 10_000)
    if (isFull) await Bun.sleep(hangMs)
    await placeMany(scene, batch)
    expect(await scene.waiting()).toBeGreaterThanOrEqual(2 * batch)
    expect(scene.runs.size).toBe(before)
    await redis.start()
    await scene.audit(`${name}, Redis down`)
  })

  on('A task enqueued in a transaction is run when that commits, and never when it does not', async (scene, { primary }) => {
    await scene.relay()
    const undone = (tx: Database) => placeOrder(tx, scene.queue).then(() => Promise.reject(new Error('undo')))
    const undoing = Array.from({ length: batch }, () => failure(scene.db.tx(undone)))
    await placeMany(scene, batch)
    expect(new Set(await Promise.all(undoing))).toEqual(new Set(['undo']))
    if (isOwn(name)) {
      // Of what is under way when it is killed nobody knows whether it has committed; but the outbox and the orders agree.
      let answered = 0
      const counted = async () => {
        await scene.place()
        answered++
      }
      const calls = Promise.allSettled(Array.from({ length: batch }, counted))
      await until(() => answered > batch / 4)
      await primary.kill()
      await calls
      await primary.start()
      await scene.passTaken()
    }
    await scene.audit(`${name}, commits, undone ones, and MySQL killed in the middle`)
  })

  if (isOwn(name))
    on('Several relays at once, of which some are killed again and again, and MySQL and Redis with them', async (scene, servers) => {
      let isOver = false
      let kills = 0
      const caller = async () => {
        while (!isOver) await scene.place().catch(() => Bun.sleep(50))
      }
      const working = Promise.all(Array.from({ length: 8 }, caller))
      const relays = await Promise.all(Array.from({ length: 4 }, () => scene.relay()))
      for (let round = 0; round < (isFull ? 40 : 3); round++) {
        const place = round % relays.length
        await relays[place]?.kill()
        kills++
        const { primary, redis } = servers
        const server = round % 10 === 1 ? redis : round % 10 === 2 ? primary : undefined
        await server?.kill()
        await server?.start()
        relays[place] = await scene.relay()
        await Bun.sleep(Math.random() * 200)
        await scene.passTaken()
      }
      isOver = true
      await working
      await scene.audit(`${name}, storm of ${kills} kills of relays`)
    })
}
