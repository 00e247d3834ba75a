import { expect } from 'bun:test'
import { testOn } from '../../backings'
import { isFull } from '../scene'
import { auditTasks } from './audit'
import { startProducer, tenantLimits } from './producer'
import { openRedisPlace } from './redis-place'
import { openQueueScene } from './scene'

/** The figure of the queue: everything is killed and cut, again and again, and nothing is lost. */
const least = isFull
  ? { tasks: 20_000, workerKills: 40, cuts: 200, redisKills: 15 }
  : { tasks: 1500, workerKills: 5, cuts: 25, redisKills: 2 }
const workers = 3
const everyMs = isFull ? { workerKill: 1100, cut: 220, redisKill: 3300 } : { workerKill: 500, cut: 120, redisKill: 1100 }
const settleLimitMs = 60_000

testOn(
  'redis',
  'A task whose enqueue has resolved is run, whatever is killed',
  async () => {
    await using place = await openRedisPlace()
    await using scene = openQueueScene(place, { leaseMs: isFull ? 3000 : 4000 })
    await Promise.all(Array.from({ length: workers }, () => scene.work({ concurrency: 16, claimLimits: tenantLimits })))
    const beganMs = performance.now()
    const producer = startProducer(scene, { callers: 8, least: least.tasks, pauseMs: 40, taskMsMax: 40, delayMsMax: 500 })
    let redisKills = 0
    let isCutting = true

    async function killWorkers() {
      for (let i = 0; i < least.workerKills; i++) {
        await Bun.sleep(everyMs.workerKill)
        const [oldest] = scene.workers
        await Promise.all([oldest?.kill(), scene.work({ concurrency: 16, claimLimits: tenantLimits })])
      }
    }
    async function killRedis() {
      for (; redisKills < least.redisKills; redisKills++) {
        await Bun.sleep(everyMs.redisKill)
        await place.killAndStart()
      }
    }
    async function cut() {
      while (isCutting || place.proxy.cuts < least.cuts) {
        await Bun.sleep(everyMs.cut * (0.5 + Math.random()))
        place.proxy.cut()
      }
    }
    const cutting = cut()
    await Promise.all([killWorkers(), killRedis(), producer.accepts(least.tasks)])
    isCutting = false
    await cutting
    await producer.stop()
    const tookMs = performance.now() - beganMs
    const settledMs = await scene.settled(settleLimitMs)

    const tally = await auditTasks(scene, producer)
    const leftovers = await place.leftovers(scene.queue)
    console.log(
      `${tally.accepted} tasks, ${scene.killed.size} worker kills, ${place.proxy.cuts} connection cuts, ${redisKills} Redis kills: ` +
        `${tally.lost.length} lost, ${tally.again} run again of ${tally.inFlight} in flight at the kills, ${tally.aborted} told to end, ${leftovers.length} leftover keys ` +
        `(${Math.round(tookMs / 1000)} s, settled after ${Math.round(settledMs)} ms, ${producer.refused} calls refused, ${producer.maybe.size} tasks unknown)`,
    )
    expect(leftovers).toEqual([])
    expect(new Set(await place.kept(scene.queue))).toEqual(new Set(producer.keptIds))
    expect(scene.killed.size).toBeGreaterThanOrEqual(least.workerKills)
    expect(place.proxy.cuts).toBeGreaterThanOrEqual(least.cuts)
  },
  isFull ? 300_000 : 120_000,
)
