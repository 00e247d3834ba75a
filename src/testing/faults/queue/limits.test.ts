import { expect } from 'bun:test'
import { defineLimit } from '@/core/queue/limit'
import type { SharedRule } from '@/core/role'
import { enqueueMax, type NewTask } from '@/infra/queue/driver'
import { claimLimitsOf } from '@/infra/queue/worker/claim-limits'
import { isFull } from '../scene'
import type { LedgerEntry } from './ledger'
import { onEachPlace } from './places'
import { openQueueScene, type QueueScene } from './scene'

/** Limits over all processes, as the handlers themselves have seen them. */
const workersOf = { redis: 4, sqlite: 2 }
const tasks = isFull ? 20_000 : 1200
const caps = { queue: 9, key: 2 }
const keys = 8
/** What a busy machine starts late may be made up for within a quarter of a second. */
const rate = { count: 200, perMs: 1000, burst: 50 }
const keyRate = { count: 40, perMs: 1000, burst: 10 }
const rateMs = isFull ? 20_000 : 4000
/** In a short time a burst that is made up for weighs more, and so does one that is not. */
const rateMargin = isFull ? 0.02 : 0.15
const crowd = isFull ? { large: 100_000, tenants: 20, each: 100 } : { large: 6000, tenants: 20, each: 30 }
const settleLimitMs = isFull ? 300_000 : 60_000

/** Slots enough for every limit. */
function workers(scene: QueueScene, count: number, rule: SharedRule, limit?: Parameters<typeof defineLimit>[1]) {
  const claimLimits = claimLimitsOf(rule, limit ? [defineLimit('tenant', limit)] : [])
  return Promise.all(Array.from({ length: count }, () => scene.work({ concurrency: 32, ...(claimLimits && { claimLimits }) })))
}

async function enqueueAll({ driver, queue }: QueueScene, all: readonly NewTask[]): Promise<void> {
  for (let i = 0; i < all.length; i += enqueueMax) await driver.enqueue(queue, all.slice(i, i + enqueueMax))
}

/** The most that ran at a time, of all and of one lane; what a worker that was killed had begun ended with it. */
function mostAtATime(scene: QueueScene, laneOf: (id: string) => string) {
  const running = new Map<string, LedgerEntry>()
  const most = { all: 0, lane: 0 }
  for (const entry of scene.ledger()) {
    for (const [id, { pid }] of running) if ((scene.killed.get(pid) ?? Number.POSITIVE_INFINITY) <= entry.atMs) running.delete(id)
    if (entry.step === 'begin') running.set(entry.id, entry)
    if (entry.step === 'end') running.delete(entry.id)
    const ofLane = [...running.keys()].filter(id => laneOf(id) === laneOf(entry.id)).length
    most.all = Math.max(most.all, running.size)
    most.lane = Math.max(most.lane, ofLane)
  }
  return most
}

const beginsOf = (scene: QueueScene) => scene.ledger().filter(({ step }) => step === 'begin')

onEachPlace(
  'Over all processes never more of a queue, or of a key, run at a time than may',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs: 2000 })
    const lanes = new Map<string, string>()
    const all = Array.from({ length: name === 'redis' ? tasks : tasks / 2 }, (_, n) => {
      const lane = `tenant/k${n % keys}`
      const task = scene.newTask('note', { n, ms: n % 7 }, { lane, priority: n % 3 })
      lanes.set(task.id, lane)
      return task
    })
    await enqueueAll(scene, all)
    await workers(scene, workersOf[name], { concurrencyMax: caps.queue }, { concurrency: caps.key })
    // One is killed with what it has, which counts until its lease has ended.
    await scene.noted(({ step }) => step === 'end')
    await scene.workers[0]?.kill()
    await workers(scene, 1, { concurrencyMax: caps.queue }, { concurrency: caps.key })
    await scene.settled(settleLimitMs)
    const most = mostAtATime(scene, id => lanes.get(id) ?? '')
    if (isFull)
      console.log(
        `${name}, ${all.length} tasks in ${workersOf[name]} processes: at most ${most.all} of ${caps.queue}, ${most.lane} of ${caps.key} of a key`,
      )
    expect(most).toEqual({ all: caps.queue, lane: caps.key })
    const { total } = await scene.driver.stats(scene.queue)
    expect(total).toMatchObject({ enqueued: all.length, done: all.length, failed: 0, dead: 0 })
    expect(await place.leftovers(scene.queue)).toEqual([])
  },
  isFull ? 600_000 : 120_000,
)

onEachPlace(
  'Over all processes so many attempts start in a time as a rate says',
  async (place, name) => {
    for (const [what, rule, limit, count] of [
      ['queue', { rate }, undefined, rate.count],
      ['key', {}, { rate: keyRate }, keyRate.count],
    ] as const) {
      await using scene = openQueueScene(place, { leaseMs: 30_000 })
      const keysThen = what === 'key' ? 3 : 1
      const lanes = new Map<string, string>()
      const many = Math.ceil((count * rateMs) / 1000) * keysThen + 1
      await enqueueAll(
        scene,
        Array.from({ length: many }, (_, n) => {
          const lane = `tenant/k${n % keysThen}`
          const task = scene.newTask('note', { n, ms: 0 }, limit ? { lane } : {})
          lanes.set(task.id, lane)
          return task
        }),
      )
      await workers(scene, workersOf[name], rule, limit)
      await scene.settled(rateMs + settleLimitMs)
      for (const starts of Map.groupBy(beginsOf(scene), ({ id }) => lanes.get(id)).values()) {
        const times = starts.map(({ atMs }) => atMs).toSorted((a, b) => a - b)
        // What may start at once at the beginning is no part of the rate, and handlers that run for the first time begin late.
        const first = Math.floor(count / 2)
        const [fromMs = 0, toMs = 0] = [times[first], times.at(-1)]
        const perSecond = ((times.length - 1 - first) * 1000) / (toMs - fromMs)
        if (isFull) console.log(`${name}, ${what}: ${perSecond.toFixed(2)} starts per second of ${count}`)
        expect(Math.abs(perSecond / count - 1)).toBeLessThan(rateMargin)
      }
    }
  },
  isFull ? 600_000 : 120_000,
)

onEachPlace(
  'The backlog of one tenant does not make others wait',
  async (place, name) => {
    const concurrency = 4
    await using scene = openQueueScene(place, { leaseMs: 30_000 })
    const tenantsOf = (round: string) =>
      Array.from({ length: crowd.tenants * crowd.each }, (_, n) =>
        scene.newTask('note', { n, ms: 5 }, { id: `${round}-${n}`, lane: `tenant/${n % crowd.tenants}` }),
      )
    /** When the last but one in a hundred of them has begun, since they were enqueued. */
    async function waitOf(round: string): Promise<number> {
      const own = tenantsOf(round)
      const sinceMs = Date.now()
      await enqueueAll(scene, own)
      const beganAtMs = () => beginsOf(scene).flatMap(({ id, atMs }) => (id.startsWith(`${round}-`) ? [atMs] : []))
      while (beganAtMs().length < own.length) {
        if (Date.now() - sinceMs > settleLimitMs) throw new Error('the small tenants wait too long')
        await Bun.sleep(50)
      }
      const waits = beganAtMs().map(atMs => atMs - sinceMs)
      return waits.toSorted((a, b) => a - b)[Math.ceil(waits.length * 0.99) - 1] as number
    }
    await workers(scene, workersOf[name], {}, { concurrency })
    const alone = await waitOf('alone')
    await enqueueAll(
      scene,
      Array.from({ length: crowd.large }, (_, n) => scene.newTask('note', { n, ms: 5 }, { id: `large-${n}`, lane: 'tenant/large' })),
    )
    await scene.noted(({ id }) => id.startsWith('large-'))
    const beside = await waitOf('beside')
    const left = (await scene.driver.stats(scene.queue)).waiting
    if (isFull)
      console.log(
        `${name}, p99 of the small tenants: ${alone} ms alone, ${beside} ms beside ${crowd.large} tasks of one, of which ${left} waited still`,
      )
    expect(left).toBeGreaterThan(0)
    expect(beside).toBeLessThanOrEqual(2 * alone)
  },
  isFull ? 600_000 : 120_000,
)
