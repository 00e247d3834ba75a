import { expect, test } from 'bun:test'
import { longMs, onEachQueueStore, type TestQueue, testQueue } from '@/testing/conformance/queue/fixture'
import type { QueueDriver } from '../driver'
import { runBulk } from './bulk'

const unique = { key: 'm'.repeat(22), forMs: longMs }

async function move(from: TestQueue, to: TestQueue, driver: QueueDriver = from.driver) {
  const nowMs = await from.store.nowMs()
  return (await Array.fromAsync(runBulk({ driver, clock: { nowMs: () => nowMs } }, from.name, { action: 'move', to: to.name }))).at(-1)
}

/** Dies with the so-manieth call that changes something: before it is made, or after, when its answer is lost. */
function dying(driver: QueueDriver, at: number, isDone: boolean): QueueDriver {
  let calls = 0
  const mortal =
    <A extends unknown[], R>(call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const isLast = ++calls === at
      if (isLast && !isDone) throw new Error('killed')
      const reply = await call(...args)
      if (isLast) throw new Error('killed')
      return reply
    }
  return { ...driver, bury: mortal(driver.bury), enqueue: mortal(driver.enqueue), remove: mortal(driver.remove) }
}

onEachQueueStore('tasks that move to another queue', store => {
  const newQueue = () => testQueue(store())

  async function filled(): Promise<TestQueue> {
    const queue = newQueue()
    await queue.enqueue({ id: 'died', envelope: '["d",1,0]' })
    await queue.finish(await queue.claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    await queue.enqueue({ id: 'runs' })
    await queue.claimOne()
    await queue.enqueue(
      { id: 'waits', priority: 2, envelope: '["w",1,0]', unique, lane: 'tenant/1' },
      { id: 'later', delayMs: longMs, envelope: '["l",1,0]', isIdKept: true },
    )
    return queue
  }

  async function expectMoved(from: TestQueue, to: TestQueue): Promise<void> {
    expect(await from.all()).toEqual({ waiting: [], scheduled: [], active: ['runs'], dead: [] })
    const { waiting, ...others } = await to.all()
    expect([waiting.toSorted(), others]).toEqual([['died', 'waits'], { scheduled: ['later'], active: [], dead: [] }])
    expect(await to.show('waits')).toMatchObject({ priority: 2, envelope: '["w",1,0]', attempt: 0, unique, lane: 'tenant/1' })
    expect(await to.show('died')).toMatchObject({ priority: 5, envelope: '["d",1,0]', attempt: 0, failures: 0 })
    const startMs = (await to.show('later'))?.atMs ?? 0
    const nowMs = await to.store.nowMs()
    expect(startMs).toBeGreaterThan(nowMs + longMs - 60_000)
    expect(startMs).toBeLessThan(nowMs + longMs + 60_000)
    expect((await to.driver.stats(to.name)).total.enqueued).toBe(3)
  }

  test('are there what they were here, with their ids, their turn, their time and their unique key', async () => {
    const [from, to] = [await filled(), newQueue()]
    expect(await move(from, to)).toMatchObject({ seen: 3, matched: 3, done: 3, skipped: 0, isOver: true })
    await expectMoved(from, to)
    expect(await to.enqueue({ id: 'waits', isIdKept: true })).toEqual([{ id: 'waits', status: 'duplicate' }])
    expect(await to.enqueue({ id: 'next', unique })).toEqual([{ id: 'waits', status: 'unique' }])
  })

  // Of each of three states there are three calls.
  for (const isDone of [false, true]) {
    test(`are each there once when the mover is killed ${isDone ? 'after' : 'before'} any of its calls and it is done again`, async () => {
      for (let at = 1; at <= 9; at++) {
        const [from, to] = [await filled(), newQueue()]
        const said = await move(from, to, dying(from.driver, at, isDone)).catch(thrown => (thrown as Error).message)
        expect([at, said]).toEqual([at, 'killed'])
        const [here, there] = [await from.all(), await to.all()]
        const ids = [...Object.values(here), ...Object.values(there)].flat().filter(id => id !== 'runs')
        expect([at, new Set(ids).size]).toEqual([at, 3])
        // What may run here does not wait there, too.
        const alive = [...here.waiting, ...here.scheduled, ...there.waiting, ...there.scheduled]
        expect([at, alive.length]).toEqual([at, new Set(alive).size])
        await move(from, to)
        await expectMoved(from, to)
      }
    }, 60_000)
  }

  test('take with them what was added to a group', async () => {
    const [from, to] = [newQueue(), newQueue()]
    const group = { key: 'g'.repeat(22), countMax: 10, bytesMax: 1000, delayMs: longMs, delayMaxMs: longMs }
    for (const id of ['a', 'b']) await from.enqueue({ id, group, envelope: JSON.stringify(['g.do', 1, { id }, 0, 0, id]) })
    const both = (await from.show('a'))?.envelope ?? ''
    expect(both.split('\n')).toHaveLength(2)
    expect(await move(from, to)).toMatchObject({ done: 1 })
    expect(await to.show('a')).toMatchObject({ state: 'scheduled', envelope: both })
    // The next of the group begins another one.
    expect(await from.enqueue({ id: 'c', group })).toEqual([{ id: 'c', status: 'enqueued' }])
  })

  test('stay as dead letters that say so when nobody can tell whether they were there before', async () => {
    const [from, to] = [newQueue(), newQueue()]
    await to.enqueue({ id: 'back', isIdKept: true })
    await to.finish(await to.claimOne(), { outcome: 'done' })
    await from.enqueue({ id: 'back' }, { id: 'taken', unique })
    await to.enqueue({ id: 'holder', unique })
    expect(await move(from, to)).toMatchObject({ matched: 2, done: 0, skipped: 2 })
    expect((await from.all()).dead.toSorted()).toEqual(['back', 'taken'])
    expect((await from.show('back'))?.errors.at(-1)?.message).toStartWith(`is on its way to the queue ${to.name}`)
    expect((await to.all()).waiting).toEqual(['holder'])
    // Once the key is free there, it goes on.
    await to.driver.remove(to.name, ['holder'])
    expect(await move(from, to)).toMatchObject({ matched: 2, done: 1, skipped: 1 })
    expect([(await from.all()).dead, (await to.all()).waiting]).toEqual([['back'], ['taken']])
  })
})
