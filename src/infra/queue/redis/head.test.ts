import { expect, test } from 'bun:test'
import { onEachRedis } from '@/testing/backings'
import { checkAll, claim, finishAs, newKey, newTask, openSubject } from '@/testing/redis-queue'

const queue = 'q'
const longest = 'l'.repeat(128)

/** Every combination of what the head of an entry may say, with names of one character and of as many as they may have. */
const tasks = Array.from({ length: 32 }, (_, bits) => {
  const name = bits & 16 ? longest : 'n'
  return newTask({
    id: `t${bits}`,
    isIdKept: Boolean(bits & 1),
    ...(bits & 2 && { unique: { key: newKey(), forMs: 60_000 } }),
    ...(bits & 4 && { lane: name }),
    ...(bits & 8 && { follower: { id: name, wantsResult: Boolean(bits & 16) } }),
    envelope: `["test.task",${bits},{}]`,
  })
})
const byId = (a: { id: string }, b: { id: string }) => (a.id < b.id ? -1 : 1)

onEachRedis('what an entry says besides its envelope', open => {
  test('is read where it is asked for, given with each attempt, and what it names is left as it should be', async () => {
    const { url, isCluster } = await open()
    await using subject = await openSubject(url, { isCluster })
    const { driver, raw, prefix } = subject
    await driver.enqueue(queue, tasks)
    for (const { id, lane, envelope } of tasks) {
      const shown = await driver.show(queue, id)
      expect({ lane: shown?.lane, envelope: shown?.envelope }).toEqual({ lane, envelope })
    }
    // Once with no past, then with one.
    for (const outcome of [
      { outcome: 'retry', delayMs: 0, error: 'no' },
      { outcome: 'dead', isFailure: true, error: 'no' },
    ]) {
      const held = await claim(driver, queue)
      expect(held.tasks.toSorted(byId).map(({ id, envelope }) => ({ id, envelope }))).toEqual(
        tasks.toSorted(byId).map(({ id, envelope }) => ({ id, envelope })),
      )
      await driver.exchange(queue, { finish: finishAs(held, outcome) })
    }
    const ids = tasks.map(({ id }) => id)
    expect(await driver.retry(queue, ids)).toEqual(ids.map(() => 'retried'))
    const held = await claim(driver, queue)
    await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
    expect(await checkAll(driver, queue)).toEqual([])
    const of = (letter: string, id: string) => raw.exists(`${prefix}:{${queue}}:${letter}:${id}`).catch(() => undefined)
    for (const { id, isIdKept, unique } of isCluster ? [] : tasks) {
      expect([id, await of('d', id)]).toEqual([id, isIdKept ? 1 : 0])
      if (unique) expect([id, await of('u', unique.key)]).toEqual([id, 0])
      expect([id, await of('e', id)]).toEqual([id, 0])
    }
  })
})
