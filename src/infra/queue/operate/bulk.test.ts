import { describe, expect, test } from 'bun:test'
import type { Bulk, BulkProgress } from '@/core/queue/bulk'
import { findingsOf, longMs, onEachQueueStore, type TestQueue, testQueue } from '@/testing/conformance/queue/fixture'
import { enqueueMax, exchangeMax, type NewTask } from '../driver'
import { type BulkPlace, bulkFaults, runBulk } from './bulk'

const envelope = (task: string) => JSON.stringify([task, 1, { of: task }])

/** So many of each of these tasks in turn. */
const mixed = (count: number, over: Partial<NewTask> = {}) =>
  Array.from({ length: count }, (_, i) => ({ ...over, id: `t${String(i).padStart(5, '0')}`, envelope: envelope(`kind.${i % 3}`) }))

async function run({ driver, store, name }: TestQueue, bulk: Bulk): Promise<BulkProgress[]> {
  const nowMs = await store.nowMs()
  return Array.fromAsync(runBulk({ driver, clock: { nowMs: () => nowMs } }, name, bulk))
}
const end = async (queue: TestQueue, bulk: Bulk) => (await run(queue, bulk)).at(-1)

async function add(queue: TestQueue, tasks: readonly Partial<NewTask>[]): Promise<void> {
  for (let i = 0; i < tasks.length; i += enqueueMax) await queue.enqueue(...tasks.slice(i, i + enqueueMax))
}

async function die(queue: TestQueue, count: number, error = (i: number) => `no ${i % 2}`): Promise<void> {
  for (let left = count; left > 0; ) {
    const held = await queue.claim(Math.min(left, exchangeMax))
    left -= held.length
    const finish = held.map(({ id, attempt, nonce }, i) => ({
      id,
      attempt,
      nonce,
      outcome: 'dead' as const,
      isFailure: true,
      error: error(i),
    }))
    await queue.driver.exchange(queue.name, { finish })
  }
}

async function everyId({ driver, name }: TestQueue, state: 'waiting' | 'dead' | 'scheduled'): Promise<string[]> {
  const ids: string[] = []
  let cursor: string | undefined
  do {
    const page: Awaited<ReturnType<typeof driver.list>> = await driver.list(name, state, 1000, cursor)
    ids.push(...page.tasks.map(({ id }) => id))
    cursor = page.cursor
  } while (cursor !== undefined)
  return ids.toSorted()
}

onEachQueueStore('the same done with many tasks', store => {
  const newQueue = () => testQueue(store())
  const idsOf = (count: number, kinds: readonly number[]) =>
    mixed(count)
      .map(({ id }) => id)
      .filter((_, i) => kinds.includes(i % 3))

  test('each that fits is retried once, none is passed over, and the others stay', async () => {
    const queue = newQueue()
    await add(queue, mixed(1000))
    await die(queue, 1000)
    const told = await run(queue, { action: 'retry', filter: { task: 'kind.1' } })
    expect(told.at(-1)).toEqual({ total: 1000, seen: 1000, matched: 333, done: 333, skipped: 0, isOver: true })
    expect(told.length).toBeGreaterThan(5)
    expect(told.map(({ done }) => done)).toEqual(told.map(({ done }) => done).toSorted((a, b) => a - b))
    expect(await everyId(queue, 'waiting')).toEqual(idsOf(1000, [1]))
    expect(await everyId(queue, 'dead')).toEqual(idsOf(1000, [0, 2]))
    expect(await end(queue, { action: 'retry' })).toMatchObject({ seen: 667, done: 667 })
    expect(await everyId(queue, 'waiting')).toEqual(idsOf(1000, [0, 1, 2]))
  })

  test('done a part at a time, each that fits is done once, and none is passed over', async () => {
    const queue = newQueue()
    await add(queue, mixed(700))
    await add(
      queue,
      mixed(300).map(task => ({ ...task, id: `later-${task.id}`, delayMs: longMs })),
    )
    await queue.claim(150)
    /** One page of it, as often as there is one. */
    async function inParts(bulk: Bulk): Promise<{ parts: number; matched: number; done: number; skipped: number }> {
      const sum = { parts: 0, matched: 0, done: 0, skipped: 0 }
      for (let from: BulkPlace | undefined, isOver = false; !isOver; ) {
        for await (const step of runBulk({ driver: queue.driver, clock: { nowMs: () => 0 } }, queue.name, bulk, from)) {
          if (!step.next && !step.isOver) continue
          // What is handed to whoever goes on is text.
          from = step.next && (JSON.parse(JSON.stringify(step.next)) as BulkPlace)
          isOver = step.isOver
          sum.matched += step.matched
          sum.done += step.done
          sum.skipped += step.skipped
          break
        }
        sum.parts++
      }
      return sum
    }
    const counted = await inParts({ action: 'cancel', isDryRun: true })
    expect(counted).toEqual({ parts: counted.parts, matched: 1000, done: 0, skipped: 0 })
    expect(counted.parts).toBeGreaterThan(10)
    // What runs is told to end, and stays where it is: whoever goes on comes behind it.
    expect(await inParts({ action: 'cancel', filter: { task: 'kind.1' } })).toMatchObject({ matched: 333, done: 333, skipped: 0 })
    expect(await inParts({ action: 'delete' })).toMatchObject({ matched: 567, done: 567, skipped: 0 })
    expect(await queue.driver.stats(queue.name)).toMatchObject({ waiting: 0, scheduled: 0, active: 150 })
    expect(await findingsOf(queue.driver, queue.name, false)).toEqual([])
  })

  test('what waits and what is scheduled is deleted from the midst of its line, and what runs is not', async () => {
    const queue = newQueue()
    const { claim, driver, name } = queue
    await add(queue, mixed(900))
    await add(queue, [
      { id: 'later', delayMs: longMs, envelope: envelope('kind.1') },
      { id: 'other', delayMs: longMs },
    ])
    const [held] = await claim(2)
    expect(held?.id).toBe('t00000')
    expect(await end(queue, { action: 'delete', filter: { task: 'kind.1' } })).toEqual({
      ...{ total: 900, seen: 900, matched: 300, done: 300, skipped: 0, isOver: true },
    })
    expect(await everyId(queue, 'waiting')).toEqual(idsOf(900, [0, 2]).filter(id => id !== 't00000'))
    expect(await everyId(queue, 'scheduled')).toEqual(['other'])
    expect(await driver.stats(name)).toMatchObject({ waiting: 599, scheduled: 1, active: 2 })
  })

  test('what waits in lanes is found there, and its lane is left as it is to be', async () => {
    const queue = newQueue()
    const { claim, driver, name } = queue
    const laned = mixed(600).map((task, i) => ({ ...task, priority: i % 2 ? 5 : 3, ...(i % 4 > 0 && { lane: `tenant/${i % 4}` }) }))
    await add(queue, laned)
    expect(await end(queue, { action: 'delete', filter: { task: 'kind.1' } })).toMatchObject({ seen: 600, done: 200, skipped: 0 })
    expect(await driver.stats(name)).toMatchObject({ waiting: 400 })
    expect(await everyId(queue, 'waiting')).toEqual(idsOf(600, [0, 2]))
    expect((await claim(400)).map(({ id }) => id).toSorted()).toEqual(idsOf(600, [0, 2]))
    expect(await findingsOf(driver, name, false)).toEqual([])
  })

  test('what is cancelled is told to end where it runs', async () => {
    const queue = newQueue()
    await add(queue, mixed(5))
    await queue.claim(2)
    expect(await end(queue, { action: 'cancel' })).toMatchObject({ seen: 5, done: 5 })
    expect(await queue.driver.stats(queue.name)).toMatchObject({ waiting: 0, active: 2, total: { cancelled: 3 } })
    expect((await queue.show('t00001'))?.isCancelled).toBe(true)
  })

  describe('a filter', () => {
    test('says which states, which age and which last error', async () => {
      const queue = newQueue()
      const { store, ids } = queue
      await add(queue, mixed(4))
      await die(queue, 4, i => (i < 2 ? 'timeout of 5 s' : 'refused'))
      await store.advance(1500)
      await add(queue, [{ id: 'late' }])
      await die(queue, 1, () => 'timeout of 9 s')
      await add(queue, [{ id: 'waits' }])
      const matching = async (bulk: Bulk) => (await end(queue, { ...bulk, isDryRun: true }))?.matched
      expect(await matching({ action: 'retry' })).toBe(5)
      expect(await matching({ action: 'retry', filter: { error: 'timeout' } })).toBe(3)
      expect(await matching({ action: 'retry', filter: { error: 'Timeout' } })).toBe(0)
      expect(await matching({ action: 'retry', filter: { error: 'timeout', olderThanMs: 1000 } })).toBe(2)
      expect(await matching({ action: 'retry', filter: { olderThanMs: 0 } })).toBe(5)
      expect(await matching({ action: 'delete', filter: { states: ['waiting'] } })).toBe(1)
      // Enqueued, as its envelope says, in 1970.
      expect(await matching({ action: 'delete', filter: { states: ['waiting'], olderThanMs: longMs } })).toBe(1)
      expect(await matching({ action: 'delete', filter: { states: ['waiting'], error: 'timeout' } })).toBe(0)
      expect([(await ids('dead')).length, (await ids('waiting')).length]).toEqual([5, 1])
    })

    test('that makes no sense is refused', () => {
      const faults = (bulk: Bulk) => bulkFaults('default', bulk).map(({ pointer }) => pointer)
      expect(faults({ action: 'retry', filter: { states: ['dead', 'waiting', 'active'] } })).toEqual(['/filter/states', '/filter/states'])
      expect(faults({ action: 'delete', filter: { states: ['active'] } })).toEqual(['/filter/states'])
      expect(faults({ action: 'move', to: 'default', limit: 0 })).toEqual(['/to', '/limit'])
      expect(faults({ action: 'cancel', limit: 1.5, filter: { olderThanMs: -1 } })).toEqual(['/limit', '/filter/olderThanMs'])
      expect(faults({ action: 'move', to: 'mail', limit: 1, filter: { states: ['waiting'], olderThanMs: 0 } })).toEqual([])
    })
  })

  test('a dry run changes nothing, and a limit is a limit', async () => {
    const queue = newQueue()
    await add(queue, mixed(450))
    await die(queue, 450)
    const { driver, name, ids } = queue
    const before = await driver.stats(name)
    expect(await end(queue, { action: 'delete', isDryRun: true })).toMatchObject({ seen: 450, matched: 450, done: 0, skipped: 0 })
    expect(await driver.stats(name)).toEqual(before)
    expect(await end(queue, { action: 'retry', limit: 250 })).toMatchObject({ matched: 250, done: 250, isOver: true })
    expect((await ids('waiting')).length).toBe(250)
  })

  test('broken off, it is run again and does the rest', async () => {
    const queue = newQueue()
    const { driver, name } = queue
    await add(queue, mixed(700))
    await die(queue, 700)
    for await (const { done } of runBulk({ driver, clock: { nowMs: () => 0 } }, name, { action: 'retry' })) if (done >= 300) break
    const { waiting, dead } = await driver.stats(name)
    expect([waiting >= 300, dead > 200, waiting + dead]).toEqual([true, true, 700])
    expect(await end(queue, { action: 'retry' })).toMatchObject({ seen: dead, done: dead })
    expect(await everyId(queue, 'waiting')).toEqual(idsOf(700, [0, 1, 2]))
  })
})
