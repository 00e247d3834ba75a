import { testOn } from '../../backings'
import { openRedisPlace } from './redis-place'
import type { Place } from './scene'
import { openSqlitePlace } from './sqlite-place'

/** Either store, and what tests of faults that are the same on both do behind its back. */
export interface AnyPlace extends Place, AsyncDisposable {
  /** Of a queue all that is not remembered. Empty when all its tasks have ended, and none is dead. */
  leftovers(queue: string): Promise<string[]>
  /** Lets the time of all that waits for seconds come at once. */
  hurry(queue: string): Promise<void>
  /** Writes what no driver would as the envelope of a task that waits. */
  damage(queue: string, id: string): Promise<void>
}

type PlaceName = 'redis' | 'sqlite'
const openers: Record<PlaceName, () => Promise<AnyPlace>> = { redis: openRedis, sqlite: openSqlite }

/** One test on both stores at the same time, since most of what these do is wait. Each has a place of its own. */
export function onEachPlace(title: string, work: (place: AnyPlace, name: PlaceName) => Promise<void>, timeoutMs = 60_000): void {
  const run = async (name: PlaceName) => {
    await using place = await openers[name]()
    await work(place, name)
  }
  testOn(
    'redis',
    title,
    async () => {
      const [onRedis, onSqlite] = await Promise.allSettled([run('redis'), run('sqlite')])
      // The other one has ended by then, so that it does not disturb the next test.
      if (onRedis.status === 'rejected') throw onRedis.reason
      if (onSqlite.status === 'rejected') throw onSqlite.reason
    },
    timeoutMs,
  )
}

const hurriedMs = 1000

async function openRedis(): Promise<AnyPlace> {
  const place = await openRedisPlace()
  const { raw, keyOf } = place
  return {
    ...place,
    async hurry(queue) {
      const ids = await raw.zrange(keyOf(queue, 'sch'), Date.now() + hurriedMs, '+inf', 'BYSCORE')
      if (ids.length > 0) await raw.zadd(keyOf(queue, 'sch'), 'XX', ...ids.flatMap(id => [1, id]))
    },
    async damage(queue, id) {
      const head = await raw.getrangeBuffer(keyOf(queue, `e:${id}`), 0, 12)
      // No UTF-8 either.
      await raw.set(keyOf(queue, `e:${id}`), Buffer.concat([head, Buffer.from([0xff, 0x00, 0xc3, 0x28])]))
    },
  }
}

async function openSqlite(): Promise<AnyPlace> {
  const place = await openSqlitePlace()
  const { db } = place
  return {
    ...place,
    hurry: async queue =>
      void (await db.run('update "queueTask" set "at" = 1 where "queue" = ? and "state" = 1 and "at" > ?', [
        queue,
        Date.now() + hurriedMs,
      ])),
    damage: async (queue, id) =>
      void (await db.run(`update "queueTask" set "envelope" = cast(x'ff00c328' as text) where "queue" = ? and "id" = ?`, [queue, id])),
  }
}
