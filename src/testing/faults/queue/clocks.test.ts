import { expect, test } from 'bun:test'
import { writeFileSync } from 'node:fs'
import { temporaryFolder } from '../../bingo'
import { isAvailable } from '../../servers'
import { isFull } from '../scene'
import { openRedisPlace } from './redis-place'
import { openQueueScene } from './scene'
import { canShiftClocks, inSeconds, jumpingClock } from './shifted-clock'

/** Processes that disagree on the time, and a server whose clock is set while leases run. */
const hourMs = 3_600_000
const settleLimitMs = 30_000
const isPossible = canShiftClocks && isAvailable('redis')
if (!isPossible) {
  if (process.env['CI'] === 'true') throw new Error('libfaketime or Redis is not on this machine, and CI skips nothing')
  console.warn('SKIPPED: clocks that jump: libfaketime or Redis is not on this machine')
}

test.skipIf(!isPossible)(
  'A task does not start before its time, whatever the clocks of workers say',
  async () => {
    await using place = await openRedisPlace()
    await using scene = openQueueScene(place, { leaseMs: 2000 })
    const [ahead, behind] = await Promise.all([scene.work({ clockOffsetMs: hourMs }), scene.work({ clockOffsetMs: -hourMs })])
    const due = new Map<string, number>()
    const tasks = Array.from({ length: isFull ? 500 : 100 }, (_, n) => {
      const delayMs = 300 + Math.floor(Math.random() * (isFull ? 5000 : 1000))
      return scene.newTask('note', { n, ms: isFull && n % 20 === 0 ? 2500 : 0 }, { delayMs })
    })
    const saidMs = Date.now()
    await place.driver.enqueue(scene.queue, tasks)
    for (const { id, delayMs } of tasks) due.set(id, saidMs + delayMs)
    await scene.settled(settleLimitMs)
    const begun = scene.ledger().filter(({ step }) => step === 'begin')
    const lateMs = begun.map(({ id, atMs }) => atMs - (due.get(id) ?? 0)).toSorted((a, b) => a - b)
    const count = (pid: number) => begun.filter(entry => entry.pid === pid).length
    console.log(
      `workers' clocks ±1 h: ${count(ahead.pid)} tasks begun 1 h ahead, ${count(behind.pid)} 1 h behind, ` +
        `earliest ${lateMs[0]} ms and latest ${lateMs.at(-1)} ms after their time`,
    )
    expect(begun).toHaveLength(tasks.length)
    expect(Math.min(count(ahead.pid), count(behind.pid))).toBeGreaterThan(0)
    expect(lateMs[0]).toBeGreaterThanOrEqual(0)
    const { total } = await place.driver.stats(scene.queue)
    expect(total).toMatchObject({ done: tasks.length, crashed: 0, failed: 0 })
  },
  60_000,
)

test.skipIf(!isPossible)(
  'When the clock of Redis jumps by an hour, living workers keep their tasks, and those of a dead one are run again',
  async () => {
    using folder = temporaryFolder()
    const clock = `${folder.path}/clock`
    const say = (offsetMs: number) => writeFileSync(clock, inSeconds(offsetMs))
    say(0)
    const leaseMs = isFull ? 3000 : 2000
    await using place = await openRedisPlace({ env: jumpingClock(clock) })
    await using scene = openQueueScene(place, { leaseMs })
    const { driver } = place
    const [doomed] = await Promise.all([scene.work({ concurrency: 4 }), scene.work({ concurrency: 4 })])
    const figures: string[] = []
    const jumps = isFull ? [1, -1, 0, -1, 1] : [1, -1]
    let hours = 0
    for (const to of jumps) {
      const taskMs = leaseMs * 2.5
      const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => scene.enqueue('note', { n, ms: taskMs })))
      for (const id of ids) await scene.noted(entry => entry.step === 'begin' && entry.id === id)
      const crashedBefore = (await driver.stats(scene.queue)).total.crashed
      // Between two beats.
      await Bun.sleep(leaseMs / 2)
      say(to * hourMs)
      await scene.settled(settleLimitMs)
      const { total } = await driver.stats(scene.queue)
      expect(total.crashed).toBe(crashedBefore)
      const runs = scene.ledger().filter(entry => entry.step === 'begin' && ids.includes(entry.id))
      expect(runs).toHaveLength(ids.length)
      figures.push(`${hours} h → ${to} h: ${total.crashed - crashedBefore} of ${ids.length} reaped`)
      hours = to
    }

    // With a clock that was set back its leases end in an hour, unless somebody sees to it.
    const ids = await Promise.all(Array.from({ length: 8 }, (_, n) => scene.enqueue('note', { n, ms: 300 })))
    await scene.noted(entry => entry.step === 'begin' && entry.pid === doomed.pid && ids.includes(entry.id))
    await doomed.kill()
    say((hours - 1) * hourMs)
    const tookMs = await scene.settled(settleLimitMs)
    figures.push(`set back 1 h after a kill: settled after ${Math.round(tookMs)} ms`)
    for (const id of ids) expect(scene.ledger().some(entry => entry.step === 'end' && entry.id === id)).toBe(true)
    // A jump is not told from silence at once: two leases, and what a reaper takes.
    expect(tookMs).toBeLessThan(2 * leaseMs * 1.25 + 3000)
    expect(await place.leftovers(scene.queue)).toEqual([])
    console.log(`Redis' clock: ${figures.join('; ')}`)
  },
  120_000,
)
