import { describe, expect } from 'bun:test'
import { handle } from '@/core/queue/task'
import type { Service } from '@/core/service'
import type { QueueDriver } from '@/infra/queue/driver'
import { createWorker } from '@/infra/queue/worker'
import { testOn } from '../../backings'
import { fakeLog, fakeMetrics } from '../../fakes'
import { fsck } from './fsck'
import { openRedisPlace, type RedisPlace } from './redis-place'
import { eventually, openQueueScene, type QueueScene } from './scene'
import { faultTasks } from './tasks'

/** Somebody deletes keys: each kind in turn, in a queue that has some of everything, while it is worked. */
interface Damage {
  kind: string
  /** Suffixes of the keys that go. */
  keys(filled: Filled): string[]
  /** Tasks that cannot be run any more, since nobody knows what they were. */
  lost?(filled: Filled): string[]
  /** What is no longer dead afterwards, since nothing says that it was. */
  livesAgain?(filled: Filled): string[]
}

/** Ids of what was there when the keys went. */
interface Filled {
  waiting: string[]
  scheduled: string[]
  retried: string[]
  active: string[]
  dead: string[]
  /** And kept. */
  done: string[]
  unique: string[]
  kept: string[]
  uniqueKey: string
  nonces: string[]
}

const all = ({ waiting, scheduled, retried, active, unique }: Filled) => [...waiting, ...scheduled, ...retried, ...active, ...unique]
const every = (prefix: string, ids: readonly string[]) => ids.map(id => `${prefix}:${id}`)

const damages: Damage[] = [
  { kind: 'p*', keys: () => Array.from({ length: 10 }, (_, i) => `p${i}`) },
  { kind: 'sch', keys: () => ['sch'] },
  { kind: 'act', keys: () => ['act'] },
  { kind: 'own', keys: () => ['own'] },
  { kind: 'act and own', keys: () => ['act', 'own'] },
  { kind: 'dead', keys: () => ['dead'] },
  { kind: 'done', keys: () => ['done'] },
  { kind: 'r:', keys: ({ done }) => every('r', done) },
  { kind: 'v:', keys: filled => every('v', [...filled.active, ...filled.done]) },
  {
    kind: 'e:',
    keys: filled => every('e', [...all(filled), ...filled.dead, ...filled.done]),
    lost: filled => [...all(filled), ...filled.dead, ...filled.done],
  },
  { kind: 'e: of some', keys: ({ waiting }) => every('e', waiting.slice(1, 3)), lost: ({ waiting }) => waiting.slice(1, 3) },
  { kind: 's:', keys: filled => every('s', [...all(filled), ...filled.dead]) },
  { kind: 's: and dead', keys: filled => ['dead', ...every('s', filled.dead)], livesAgain: ({ dead }) => dead },
  { kind: 'x:', keys: filled => every('x', [...all(filled), ...filled.dead]) },
  { kind: 'u:', keys: ({ uniqueKey }) => [`u:${uniqueKey}`] },
  { kind: 'd:', keys: ({ kept }) => every('d', kept) },
  { kind: 'm', keys: () => ['m'] },
  { kind: 'w', keys: () => ['w'] },
  { kind: 'hist', keys: () => ['hist'] },
  { kind: 'cl:', keys: ({ nonces }) => every('cl', nonces) },
]

const leaseMs = 1000
const settleLimitMs = 20_000
/** Calls of an idle worker for one queue in a second, most of them its reaper's; a loop makes thousands. */
const idleCallsMax = 40

describe('keys that are gone', () => {
  testOn(
    'redis',
    'Each kind of key may be deleted: neighbors are run, the check finds and mends the rest, and nothing loops',
    async () => {
      await using place = await openRedisPlace()
      const queues = damages.map((_, i) => `k${i}`)
      const figures: string[] = []
      const worker = startWorker(place.driver)
      // Beside each other, since most of it is waiting for leases to end.
      await Promise.all(damages.map(async (damage, i) => figures.push(await suffer(place, worker, damage, queues[i] as string))))
      const calls = (await callsPerSecond(place)) / damages.length
      console.log(`keys deleted: ${figures.join('; ')}; afterwards ${calls.toFixed(1)} calls a second and queue`)
      expect(calls).toBeLessThan(idleCallsMax)
      await worker.stop()
    },
    90_000,
  )
})

async function suffer(place: RedisPlace, worker: LocalWorker, { kind, keys, lost, livesAgain }: Damage, queue: string): Promise<string> {
  await using scene = openQueueScene(place, { leaseMs, queue })
  const { driver, rival } = place
  const filled = await fill(scene, rival)
  const gone = keys(filled).map(suffix => place.keyOf(queue, suffix))
  await place.raw.del(gone)

  await worker.work(queue)
  const neighbors = await Promise.all(Array.from({ length: 10 }, (_, n) => scene.enqueue('note', { n, ms: 0 })))
  await worker.hasDone(neighbors)
  const found = await fsck(driver, queue, { fix: true, leaseMs })
  const lostIds = new Set(lost?.(filled))
  const mustRun = [...all(filled), ...(livesAgain?.(filled) ?? [])].filter(id => !lostIds.has(id))
  await worker.hasDone(mustRun)
  await scene.settled(settleLimitMs)

  const deadIds = new Set((await driver.list(queue, 'dead', 1000)).tasks.map(({ id }) => id))
  const stillDead = filled.dead.filter(id => !lostIds.has(id) && !livesAgain?.(filled).includes(id))
  expect([kind, ...[...deadIds].toSorted()]).toEqual([kind, ...stillDead.toSorted()])
  const stillDone = filled.done.filter(id => !lostIds.has(id))
  expect([kind, ...(await driver.list(queue, 'done', 1000)).tasks.map(({ id }) => id).toSorted()]).toEqual([kind, ...stillDone.toSorted()])
  await fsck(driver, queue, { fix: true, leaseMs })
  expect([kind, await fsck(driver, queue, { fix: false, leaseMs })]).toEqual([kind, []])
  for (const id of [...stillDead, ...stillDone]) expect(await driver.remove(queue, [id])).toEqual(['removed'])
  expect([kind, await place.leftovers(queue)]).toEqual([kind, []])
  return `${kind} ${found.length} found`
}

/** Some of everything. */
async function fill(scene: QueueScene, driver: QueueDriver): Promise<Filled> {
  const { queue } = scene
  const uniqueKey = 'u'.repeat(22)
  const nonces: string[] = []
  const put = async (over: Parameters<QueueScene['newTask']>[2] = {}, count = 4) => {
    const tasks = Array.from({ length: count }, (_, n) => scene.newTask('note', { n, ms: 0 }, over))
    await driver.enqueue(queue, tasks)
    return tasks.map(({ id }) => id)
  }
  const take = async (count: number, lease: number) => {
    const nonce = crypto.randomUUID().slice(0, 16)
    nonces.push(nonce)
    const { claimed } = await driver.exchange(queue, { claim: { worker: 'host:1', nonce, count, leaseMs: lease } })
    expect(claimed).toHaveLength(count)
    return claimed.map(({ id, attempt }) => ({ id, attempt, nonce }))
  }
  const end = (held: Awaited<ReturnType<typeof take>>, how: object) =>
    driver.exchange(queue, { finish: held.map(each => ({ ...each, ...how })) as never })
  const kept = await put({ isIdKept: true }, 2)
  await end(await take(2, 60_000), { outcome: 'done' })
  const dead = await put({}, 2)
  await end(await take(2, 60_000), { outcome: 'dead', error: 'never', isFailure: true })
  const done = await put({}, 2)
  const ended = await take(2, 60_000)
  await driver.report(
    queue,
    ended.map(each => ({ ...each, progress: '{}' })),
  )
  await end(ended, { outcome: 'done', keepForMs: 600_000, result: '1' })
  const retried = await put({}, 2)
  await end(await take(2, 60_000), { outcome: 'retry', delayMs: 500, error: 'not yet' })
  const active = await put({}, 2)
  const running = await take(2, leaseMs)
  await driver.report(
    queue,
    running.map(each => ({ ...each, progress: '{}' })),
  )
  const unique = await put({ unique: { key: uniqueKey, forMs: 60_000 } }, 1)
  const scheduled = await put({ delayMs: 500 }, 2)
  const waiting = [...(await put()), ...(await put({ priority: 0 }, 2)), ...(await put({ priority: 9 }, 2))]
  // A reaper that was there before knows the server.
  await driver.reap(queue, { leaseMs, crashesMax: 3 })
  return { waiting, scheduled, retried, active, dead, done, unique, kept, uniqueKey, nonces }
}

interface LocalWorker {
  /** From now on. */
  work(queue: string): Promise<void>
  /** Resolves when all of them have run. */
  hasDone(ids: readonly string[]): Promise<void>
  stop(): Promise<void>
}

/** A worker of each queue, in this process. */
function startWorker(driver: QueueDriver): LocalWorker {
  const done = new Set<string>()
  const workers: Service[] = []
  const note = handle(faultTasks.note, async (_, { id }) => void done.add(id))
  return {
    async work(queue) {
      const worker = createWorker({
        ...{ driver, leaseMs, graceMs: 1000, handlers: [note], log: fakeLog(), metrics: fakeMetrics() },
        queues: { [queue]: { concurrency: 8 } },
        heartbeats: { driver },
      })
      workers.push(worker)
      await worker.start()
    },
    hasDone: ids =>
      eventually(
        () => ids.every(id => done.has(id)),
        settleLimitMs,
        () => `these were not run: ${ids.filter(id => !done.has(id))}`,
      ),
    async stop() {
      await Promise.all(workers.map(worker => worker.stop()))
    },
  }
}

/** Of scripts, on the server. */
async function callsPerSecond({ raw }: RedisPlace): Promise<number> {
  const count = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1] ?? 0)
  const before = await count()
  await Bun.sleep(1000)
  return (await count()) - before
}
