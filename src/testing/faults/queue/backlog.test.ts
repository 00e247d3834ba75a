import { expect } from 'bun:test'
import type { Finish, QueueDriver } from '@/infra/queue/driver'
import { testOn } from '../../backings'
import { isFull } from '../scene'
import { openRedisPlace } from './redis-place'
import { openQueueScene, type QueueScene } from './scene'

/** A queue with everything that can be behind: a long line, much that is due at once, and many leases that end. */
const counts = isFull ? { waiting: 1_000_000, due: 200_000, held: 20_000 } : { waiting: 50_000, due: 10_000, held: 1000 }
/** So many that something is left of everything. */
const claims = isFull ? 10_000 : 500
const claimed = 50
const batch = 1000
const inParallel = 4
const fillLimitMs = isFull ? 30_000 : 2000
const leaseMs = 30_000
/** The reaper rests before the leases end: not for long enough to take that for a jump of the clock. */
const quietMs = 500
/** Of a machine with other work; the figure to hold on one of its own is 5 ms. */
const claimP99LimitMs = 25
const scriptLimitUs = 10_000
/** So many scripts of a thousand may be slower, since the server is not alone on its processor. */
const slowMax = 5

testOn(
  'redis',
  'A long line, much that is due at once and many leases that end hold up neither claims nor Redis',
  async () => {
    // Nobody is killed here, and what is measured is not the disk.
    await using place = await openRedisPlace({ options: ['--appendfsync', 'everysec'] })
    await using scene = openQueueScene(place, { leaseMs })
    const { driver, rival, raw } = place
    const { queue } = scene
    // A reaper that is there all the time takes the time that passes for no jump of the clock.
    let isFilled = false
    const reaping = reap(driver, queue, () => isFilled)
    const beganMs = performance.now()
    await fill(scene, rival, counts.held, 0)
    const leftMs = () => Math.max(1, Math.round(beganMs + fillLimitMs - performance.now()))
    await hold(rival, queue, leftMs)
    await fill(scene, rival, counts.due, leftMs)
    await fill(scene, rival, counts.waiting, 0)
    const filledMs = performance.now() - beganMs
    expect(filledMs).toBeLessThan(fillLimitMs)
    await Bun.sleep(Math.max(0, leftMs() - quietMs))
    isFilled = true
    await reaping
    const full = await driver.stats(queue)
    expect(full).toMatchObject({ waiting: counts.waiting, scheduled: counts.due, active: counts.held })

    await Bun.sleep(leftMs())

    await raw.config('SET', 'slowlog-log-slower-than', String(scriptLimitUs / 10))
    await raw.config('SET', 'slowlog-max-len', '10000')
    await raw.call('SLOWLOG', 'RESET')
    const working = work(driver, queue)
    let isOver = false
    void working.finally(() => {
      isOver = true
    })
    const [claimMs, reapMs] = await Promise.all([working, reap(rival, queue, () => isOver)])
    const slow = ((await raw.call('SLOWLOG', 'GET', '-1')) as [number, number, number, string[]][])
      .filter(([, , , words]) => /^eval/i.test(words[0] ?? ''))
      .map(([, , us]) => us)
    const left = await driver.stats(queue)

    const figure = (times: readonly number[]) =>
      `p50 ${quantile(times, 0.5).toFixed(2)}, p99 ${quantile(times, 0.99).toFixed(2)}, most ${quantile(times, 1).toFixed(2)} ms of ${times.length}`
    console.log(
      `${counts.waiting} waiting, ${counts.due} due, ${counts.held} leases that ended (filled in ${Math.round(filledMs)} ms): ` +
        `claim and finish ${claimed}: ${figure(claimMs)}; reap: ${figure(reapMs)}; ` +
        `slowest script ${(Math.max(0, ...slow) / 1000).toFixed(1)} ms, ${slow.filter(us => us > scriptLimitUs).length} over 10 ms; ` +
        `${full.scheduled - left.scheduled} promoted, ${left.total.crashed} reaped, ${left.total.done} done`,
    )
    expect(left.total.done).toBe(claims * claimed)
    // Neither waits for the other's backlog.
    expect(left.scheduled).toBeLessThan(full.scheduled)
    expect(left.total.crashed).toBe(counts.held)
    if (isFull) {
      expect(quantile(claimMs, 0.99)).toBeLessThan(claimP99LimitMs)
      expect(slow.filter(us => us > scriptLimitUs).length).toBeLessThan(((claimMs.length + reapMs.length) / 1000) * slowMax)
    }
  },
  isFull ? 240_000 : 60_000,
)

/** @param delayMs of each */
async function fill(scene: QueueScene, driver: QueueDriver, count: number, delayMs: number | (() => number)): Promise<void> {
  const text = 'x'.repeat(170)
  const template = scene.newTask('quit', {})
  const envelope = JSON.stringify(['fault.note', Date.now(), { text }])
  let left = count
  const enqueue = async () => {
    while (left > 0) {
      const some = Math.min(batch, left)
      left -= some
      const delay = typeof delayMs === 'number' ? delayMs : delayMs()
      await driver.enqueue(
        scene.queue,
        Array.from({ length: some }, () => ({ ...template, id: Bun.randomUUIDv7('base64url'), delayMs: delay, envelope })),
      )
    }
  }
  await Promise.all(Array.from({ length: inParallel }, enqueue))
}

/** Claims them until all is filled, and does nothing with them. */
async function hold(driver: QueueDriver, queue: string, leftMs: () => number): Promise<void> {
  for (let held = 0; held < counts.held; held += batch) {
    const claim = { worker: 'host:1', nonce: newNonce(), count: batch, leaseMs: leftMs() }
    expect((await driver.exchange(queue, { claim })).claimed).toHaveLength(batch)
  }
}

/** One worker that finishes what it has while it claims more. @returns how long each call took */
async function work(driver: QueueDriver, queue: string): Promise<number[]> {
  const times: number[] = []
  let finish: Finish[] = []
  while (times.length < claims) {
    const nonce = newNonce()
    const sinceMs = performance.now()
    const reply = await driver.exchange(queue, { finish, claim: { worker: 'host:2', nonce, count: claimed, leaseMs } })
    times.push(performance.now() - sinceMs)
    finish = reply.claimed.map(({ id, attempt }) => ({ id, attempt, nonce, outcome: 'done' }))
    expect(finish).toHaveLength(claimed)
  }
  await driver.exchange(queue, { finish })
  return times
}

async function reap(driver: QueueDriver, queue: string, isOver: () => boolean): Promise<number[]> {
  const times: number[] = []
  while (!isOver()) {
    const sinceMs = performance.now()
    const { more } = await driver.reap(queue, { leaseMs, crashesMax: 3 })
    times.push(performance.now() - sinceMs)
    if (!more) await Bun.sleep(50)
  }
  return times
}

const quantile = (times: readonly number[], part: number): number =>
  times.toSorted((a, b) => a - b)[Math.min(times.length - 1, Math.floor(times.length * part))] ?? Number.NaN

const newNonce = () => crypto.randomUUID().slice(0, 16)
