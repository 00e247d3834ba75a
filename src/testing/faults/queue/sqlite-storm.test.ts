import { describe, expect, test } from 'bun:test'
import { isFull } from '../scene'
import { auditTasks } from './audit'
import { startProducer, tenantLimits } from './producer'
import { openQueueScene } from './scene'
import { openSqlitePlace } from './sqlite-place'

/** Processes that share a file and are killed, again and again. */
const least = isFull ? { tasks: 20_000, kills: 40 } : { tasks: 1000, kills: 5 }
const workers = 3
const killEveryMs = isFull ? 1100 : 600
const settleLimitMs = 60_000

describe('on SQLite', () =>
  test('A task whose enqueue has resolved is run, whatever is killed', async () => {
    await using place = await openSqlitePlace()
    await using scene = openQueueScene(place, { leaseMs: isFull ? 3000 : 1000 })
    await Promise.all(Array.from({ length: workers }, () => scene.work({ concurrency: 16, claimLimits: tenantLimits })))
    const beganMs = performance.now()
    const producer = startProducer(scene, { callers: 8, least: least.tasks, pauseMs: 40, taskMsMax: 40, delayMsMax: 500 })
    for (let i = 0; i < least.kills; i++) {
      await Bun.sleep(killEveryMs)
      const [oldest] = scene.workers
      await Promise.all([oldest?.kill(), scene.work({ concurrency: 16, claimLimits: tenantLimits })])
    }
    await producer.stop()
    const tookMs = performance.now() - beganMs
    const settledMs = await scene.settled(settleLimitMs)
    const tally = await auditTasks(scene, producer)
    const leftovers = await place.leftovers(scene.queue)
    if (isFull)
      console.log(
        `sqlite, ${tally.accepted} tasks, ${scene.killed.size} kills of ${workers} processes: ${tally.lost.length} lost, ` +
          `${tally.again} run again of ${tally.inFlight} in flight at the kills, ${leftovers.length} left over ` +
          `(${Math.round(tookMs / 1000)} s, settled after ${Math.round(settledMs)} ms, ${producer.refused} calls refused)`,
      )
    expect(leftovers).toEqual([])
    expect(producer.refused).toBe(0)
    expect(scene.killed.size).toBeGreaterThanOrEqual(least.kills)
  }, 300_000))
