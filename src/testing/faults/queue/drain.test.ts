import { expect } from 'bun:test'
import { enqueueMax, type NewTask } from '@/infra/queue/driver'
import { isFull } from '../scene'
import { onEachPlace } from './places'
import { openQueueScene } from './scene'

/** Workers that are told to stop while there is more to do than they can, as when a new version is rolled out. */
const deadlineMs = isFull ? 15_000 : 2600
/** Longer than anybody waits for it. */
const longMs = deadlineMs
/** A machine with other work is slow to end a process. */
const marginMs = 1500
const rounds = isFull ? 10 : 1
/** In each round so many of them at most are stopped at once, and others take their place. */
const workers = 3
const together = 2
const notes = isFull ? 5000 : 300

onEachPlace(
  'On SIGTERM what runs is finished or given back, and nothing is counted as a failure',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs: 30_000 })
    const { driver, queue } = scene
    const env = { BINGO_SHUTDOWN_DEADLINE_MS: String(deadlineMs), BINGO_LOG_LEVEL: 'info' }
    const work = () => scene.work({ concurrency: 16, env })
    const enqueue = async (tasks: NewTask[]) => {
      for (let i = 0; i < tasks.length; i += enqueueMax) await driver.enqueue(queue, tasks.slice(i, i + enqueueMax))
    }
    const many = <T>(count: number, make: (i: number) => T) => Array.from({ length: count }, (_, i) => make(i))
    await Promise.all(many(workers, work))
    const tookMs: number[] = []
    for (let i = 0; i < rounds; i++) {
      // Some that end in time, some that are told to end, and some that do not listen either.
      const over = { priority: 0 } as const
      const long = many(together, () => [
        scene.newTask('note', { n: 0, ms: longMs }, over),
        scene.newTask('deaf', { ms: longMs }, over),
      ]).flat()
      await enqueue([...long, ...many(notes / rounds, n => scene.newTask('note', { n, ms: n % 50 }))])
      const begun = await Promise.all(long.map(({ id: own }) => scene.noted(({ step, id }) => step === 'begin' && id === own)))
      const busy = scene.workers.filter(({ pid }) => begun.some(entry => entry.pid === pid)).slice(0, together)
      await Promise.all(
        busy.map(async worker => {
          const beganMs = performance.now()
          const [code] = await Promise.all([worker.stop(), work()])
          tookMs.push(performance.now() - beganMs)
          expect(code).toBe(0)
          expect(worker.log.filter(({ level }) => level === 'error')).toEqual([])
        }),
      )
    }
    await scene.settled(2 * deadlineMs + 60_000)
    const ends = Map.groupBy(
      scene.ledger().filter(({ step }) => step === 'end'),
      ({ id }) => id,
    )
    const begins = scene.ledger().filter(({ step }) => step === 'begin').length
    const { total } = await driver.stats(queue)
    const slowestMs = Math.round(Math.max(...tookMs))
    const line = `${name}, SIGTERM under load: ${tookMs.length} stops, slowest ${slowestMs} ms of ${deadlineMs}, ${total.done} tasks, ${begins - total.done} given back, ${total.failed} failed, ${total.crashed} crashed`
    if (isFull) console.log(line)
    expect(total).toMatchObject({ failed: 0, crashed: 0, dead: 0, cancelled: 0 })
    expect(total.done).toBe(total.enqueued)
    // Of each one attempt has come to its end, and the queue knows.
    expect(ends.size).toBe(total.enqueued)
    expect([...ends.values()].filter(own => own.length > 1)).toEqual([])
    expect(begins).toBeGreaterThan(total.done)
    expect(slowestMs).toBeLessThan(deadlineMs + marginMs)
    expect(await place.leftovers(queue)).toEqual([])
  },
  600_000,
)
