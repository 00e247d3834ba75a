import type { ClaimLimits, Claimed, NewTask, QueueDriver } from '@/infra/queue/driver'
import { finishAs, newTask } from './redis-queue'
import type { TornScene } from './torn-scene'

const queue = 'q'
const limits: ClaimLimits = { concurrency: 9, lanes: { full: { concurrency: 2 }, slow: { rate: { intervalMs: 3, burst: 2 } } } }
const claimOf = (nonce: string, count = 10) => ({ worker: 'w', nonce: nonce.repeat(16), count, leaseMs: 1, limits })

const inLane = (id: string, lane: string, said: Partial<NewTask> = {}) => newTask({ id, lane, ...said })
const lanes = ['full/a', 'slow/a', 'free']
const all = [
  ...lanes.flatMap(lane => [1, 2, 3].map(n => inLane(`${lane}${n}`, lane))),
  inLane('first', 'full/a', { priority: 2 }),
  inLane('last', 'free', { priority: 7, isIdKept: true }),
  newTask({ id: 'plain' }),
]
const runsOf = (tasks: readonly NewTask[], times: [number, number]) =>
  Object.fromEntries(tasks.map(({ id }) => [id, times])) as Record<string, [number, number]>

type Held = { tasks: Claimed[]; nonce: string }
/** Some of each lane run, one lane is full, and one waits for its time. */
async function claimed(driver: QueueDriver): Promise<Held> {
  await driver.enqueue(queue, all)
  const { claimed: tasks } = await driver.exchange(queue, { claim: claimOf('a', 7) })
  return { tasks, nonce: 'a'.repeat(16) }
}

/** Tasks in lanes, of which a call is kept in part. */
export const tornLanes: TornScene[] = [false, true].flatMap(isSaidAgain => {
  const scene = (name: string, said: Omit<TornScene, 'name'>): TornScene => ({
    name: `${name}${isSaidAgain ? ', said again' : ''}`,
    isSaidAgain,
    limits,
    ...said,
  })
  const finishing = (name: string, outcome: object, times: [number, number], mayDie: readonly string[] = []) =>
    scene(`${name} of tasks in lanes, with one that is full`, {
      prepare: claimed,
      act: (driver, held: Held) => driver.exchange(queue, { finish: finishAs(held, outcome) }),
      runs: runsOf(all, times),
      mayDie,
    })
  return [
    scene('enqueue into lanes that are there, and that are not', {
      prepare: driver => driver.enqueue(queue, all.slice(0, 5)),
      act: driver => driver.enqueue(queue, [...all.slice(5), inLane('later', 'full/a', { delayMs: 5 })]),
      runs: { ...runsOf(all.slice(0, 5), [1, 1]), ...runsOf(all.slice(5), [isSaidAgain ? 1 : 0, 1]), later: [isSaidAgain ? 1 : 0, 1] },
    }),
    scene('a claim of some by turns, with what is due', {
      async prepare(driver) {
        await driver.enqueue(queue, [...all, inLane('due', 'slow/b', { delayMs: 1 })])
        await Bun.sleep(5)
      },
      act: driver => driver.exchange(queue, { claim: claimOf('b', 6) }),
      runs: { ...runsOf(all, [1, 1]), due: [1, 1] },
    }),
    scene('a claim of all that may start', {
      prepare: driver => driver.enqueue(queue, all),
      act: driver => driver.exchange(queue, { claim: claimOf('b', 100) }),
      runs: runsOf(all, [1, 1]),
    }),
    scene('a claim under other limits than those by which lanes were put aside', {
      prepare: claimed,
      act: driver => driver.exchange(queue, { claim: { ...claimOf('b'), limits: { lanes: { full: { concurrency: 3 } } } } }),
      runs: runsOf(all, [1, 1]),
    }),
    scene('finish and claim in one of tasks in lanes', {
      prepare: claimed,
      act: (driver, held: Held) =>
        driver.exchange(queue, { finish: finishAs(held, { outcome: 'retry', delayMs: 0, error: 'no' }), claim: claimOf('b', 4) }),
      runs: runsOf(all, [1, 1]),
    }),
    finishing('done', { outcome: 'done' }, [0, 1]),
    finishing('retry at once', { outcome: 'retry', delayMs: 0, error: 'no' }, [1, 1]),
    finishing('retry', { outcome: 'retry', delayMs: 2, error: 'no' }, [1, 1]),
    finishing('release', { outcome: 'release' }, [1, 1]),
    finishing(
      'dead',
      { outcome: 'dead', isFailure: true, error: 'no' },
      [0, 1],
      all.map(({ id }) => id),
    ),
    scene('reap of the first crash in lanes', {
      async prepare(driver) {
        await claimed(driver)
        await Bun.sleep(3)
      },
      act: driver => driver.reap(queue, { leaseMs: 1, crashesMax: 3 }),
      runs: runsOf(all, [1, 1]),
    }),
    scene('cancel of tasks that wait in lanes, one the last of its line', {
      prepare: driver => driver.enqueue(queue, all),
      act: driver => driver.cancel(queue, ['free2', 'last', 'full/a3']),
      runs: { ...runsOf(all, [1, 1]), free2: [0, 1], last: [0, 1], 'full/a3': [0, 1] },
    }),
    scene('retry of dead letters that have lanes', {
      async prepare(driver) {
        const held = await claimed(driver)
        await driver.exchange(queue, { finish: finishAs(held, { outcome: 'dead', isFailure: true, error: 'no' }) })
      },
      act: driver => driver.retry(queue, ['first', 'slow/a1']),
      runs: runsOf(all, [0, 1]),
      mayDie: all.map(({ id }) => id),
    }),
  ]
})
