import { expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import type { Claimed, QueueDriver } from '@/infra/queue/driver'
import { type Holding, type HowItEnded, heldOf, longMs, newNonce, type TestQueue } from './fixture'
import type { QueueStoreName } from './stores'

const tasksMax = 200
const workers = 8
const roundsMax = 2000

/** What holds when many do different things at once, in two processes. */
export function togetherSuite(newQueue: () => TestQueue, on: QueueStoreName): void {
  const driverOf = ({ driver, rival }: TestQueue, worker: number) => (worker % 2 === 0 ? driver : rival)

  test('of many that work, fail, give back, reap and come too late at once none loses a task, and each task is done once', async () => {
    const queue = newQueue()
    const { name, store, newTask, claim } = queue
    await queue.trust()
    const tasks = Array.from({ length: tasksMax }, (_, i) => newTask({ isIdKept: i % 3 === 0, priority: i % 4 }))
    const done = new Map<string, number>()
    const given = new Set<string>()

    async function end(driver: QueueDriver, held: Holding, how: HowItEnded) {
      const { finished } = await driver.exchange(name, { finish: [{ ...heldOf(held), ...how }] })
      if (how.outcome === 'done' && finished[0] === 'ok') done.set(held.id, (done.get(held.id) ?? 0) + 1)
    }
    function take(claimed: readonly Claimed[]) {
      for (const { id, attempt } of claimed) {
        expect(given).not.toContain(`${id} ${attempt}`)
        given.add(`${id} ${attempt}`)
      }
    }
    async function work(worker: number) {
      const driver = driverOf(queue, worker)
      for (let round = 0; done.size < tasksMax && round < roundsMax; round++) {
        const said = { worker: `host:${worker}`, nonce: newNonce(), count: 1 + (round % 5), leaseMs: longMs }
        const { claimed } = await driver.exchange(name, { claim: said })
        take(claimed)
        await Promise.all(claimed.map(task => end(driver, { ...task, nonce: said.nonce }, anyEnd())))
        await store.advance(2)
        await driver.reap(name, { leaseMs: 1, crashesMax: 3 })
      }
    }

    await queue.driver.enqueue(name, tasks.slice(0, 50))
    const late = await claim(50, { leaseMs: 1 })
    take(late)
    await Promise.all([
      ...Array.from({ length: workers }, (_, worker) => work(worker)),
      ...late.map(async (held, i) => {
        await Bun.sleep(i % 10)
        await end(driverOf(queue, i), held, { outcome: 'done' })
      }),
      ...tasks.slice(50).map((task, i) => driverOf(queue, i).enqueue(name, [task])),
    ])
    expect([...done.values()].filter(times => times !== 1)).toEqual([])
    expect(done.size).toBe(tasksMax)
    expect((await queue.driver.stats(name)).total).toMatchObject({ enqueued: tasksMax, done: tasksMax, dead: 0, cancelled: 0 })
    expect(await store.leftovers(name)).toEqual([])
  }, 30_000)

  test('of many that enqueue the same ids at once one wins each', async () => {
    const queue = newQueue()
    const tasks = Array.from({ length: 20 }, () => queue.newTask({ isIdKept: true }))
    const calls = Array.from({ length: workers }, (_, worker) => driverOf(queue, worker).enqueue(queue.name, tasks))
    const replies = (await Promise.all(calls)).flat()
    expect(replies.filter(({ status }) => status === 'enqueued').map(({ id }) => id)).toHaveLength(20)
    expect((await queue.ids('waiting')).toSorted()).toEqual(tasks.map(({ id }) => id).toSorted())
  })

  test('what is cancelled while others claim is either never given to anybody, or its worker is told', async () => {
    const queue = newQueue()
    const { name } = queue
    const tasks = Array.from({ length: 100 }, () => queue.newTask())
    await queue.driver.enqueue(name, tasks)
    const held: Holding[] = []
    const claims = Array.from({ length: 10 }, async (_, worker) => {
      const claim = { worker: `host:${worker}`, nonce: newNonce(), count: 5, leaseMs: longMs }
      const { claimed } = await driverOf(queue, worker).exchange(name, { claim })
      held.push(...claimed.map(task => ({ ...task, nonce: claim.nonce })))
    })
    const cancels = tasks.map(async ({ id }, i) => [id, (await driverOf(queue, i).cancel(name, [id]))[0]] as const)
    await Promise.all(claims)
    const outcomes = await Promise.all(cancels)
    const idsOf = (outcome: string) => outcomes.flatMap(([id, said]) => (said === outcome ? [id] : [])).toSorted()
    expect(idsOf('cancelling')).toEqual(held.map(({ id }) => id).toSorted())
    expect([...idsOf('cancelling'), ...idsOf('cancelled')]).toHaveLength(100)
    expect((await queue.driver.beat(name, longMs, held.map(heldOf))).cancelled.toSorted()).toEqual(idsOf('cancelling'))
  })

  if (on !== 'sqlite') {
    test('a driver that cannot be part of a transaction refuses to be', async () => {
      const { driver, name, newTask, all } = newQueue()
      const refused = driver.enqueue(name, [newTask()], { tx: { inTransaction: true } as Database })
      expect(
        await refused.then(
          () => 'enqueued',
          () => 'refused',
        ),
      ).toBe('refused')
      expect((await all()).waiting).toEqual([])
    })
  }
}

function anyEnd(): HowItEnded {
  const chance = Math.random()
  if (chance < 0.5) return { outcome: 'done' }
  if (chance < 0.7) return { outcome: 'retry', delayMs: 0, error: 'no' }
  return chance < 0.85 ? { outcome: 'release' } : { outcome: 'snooze', delayMs: 1 }
}
