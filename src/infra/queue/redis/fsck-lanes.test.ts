import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { lanesAmiss } from '@/testing/redis-lanes'
import { checkAll, finishAs, leaseMs, newNonce, newTask, openSubject, type RedisQueueSubject } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import type { ClaimLimits } from '../driver'

const queue = 'q'
const limits: ClaimLimits = { lanes: { full: { concurrency: 1 }, slow: { rate: { intervalMs: 600_000, burst: 1 } } } }
const lanes = ['full/a', 'slow/a', 'free', 'free/b']

/** Of each lane four tasks, of which one was claimed: one lane is full then, and one waits for its time. */
async function laned({ driver }: RedisQueueSubject) {
  await driver.enqueue(
    queue,
    lanes.flatMap(lane =>
      Array.from({ length: 4 }, (_, i) => newTask({ id: `${lane}${i}`, lane, priority: lane === 'free/b' && i > 1 ? 7 : 5 })),
    ),
  )
  const nonce = newNonce()
  const { claimed } = await driver.exchange(queue, { claim: { worker: 'w', nonce, count: 4, leaseMs, limits } })
  return { tasks: claimed, nonce }
}

/** What is lost, and of what a check tells then. */
const losses: Record<string, string[]> = {
  q5: ['free is a lane in which tasks wait', 'free/b is a lane in which tasks wait'],
  q7: ['free/b is a lane in which tasks wait'],
  lns: [...lanes.map(lane => `${lane} is a lane in which tasks wait`), 'not as many wait in lanes'],
  blk: ['full/a is a lane in which tasks wait', 'slow/a is a lane in which tasks wait'],
  park: [],
  run: lanes.map(lane => `${lane} is a lane of which another number`).concat('full/a is a lane in which tasks wait'),
  tat: [],
  m: ['not as many wait in lanes'],
  'l5:free': ['not as many wait in lanes', ...[1, 2, 3].map(i => `free${i} is in no place`)],
  'e:free1': ['free1 is named'],
}
const beginning = (finding: string) => finding.split(/,| that would| too many| runs than| as were/)[0]?.replace(/^undefined /, '')

describeOnRedis('a key of lanes that is lost', () => {
  for (const [key, expected] of Object.entries(losses)) {
    test(`${key}: what it has done is found, reported, and mended when asked to`, async () => {
      await using server = await startOwn('redis')
      await using subject = await openSubject(server.url)
      const { driver, raw, prefix } = subject
      const held = await laned(subject)
      expect([await checkAll(driver, queue), await lanesAmiss(subject, queue)]).toEqual([[], []])
      expect(await raw.del(`${prefix}:{${queue}}:${key}`)).toBe(1)

      const reported = await checkAll(driver, queue)
      expect([...new Set(reported.map(beginning))].toSorted()).toEqual([...new Set(expected)].toSorted())
      expect((await checkAll(driver, queue)).toSorted()).toEqual(reported.toSorted())
      await checkAll(driver, queue, true)
      expect([await checkAll(driver, queue), key === 'park' ? [] : await lanesAmiss(subject, queue)]).toEqual([[], []])

      // All that waits is claimed once nothing holds it back.
      await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
      const { claimed } = await driver.exchange(queue, { claim: { worker: 'w', nonce: newNonce(), count: 100, leaseMs } })
      expect(claimed).toHaveLength(key.startsWith('e:') ? 11 : 12)
      expect(await lanesAmiss(subject, queue)).toEqual([])
    })
  }

  test('names that lanes have twice, or that are nowhere, are removed, and a lane has one turn', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    await laned(subject)
    const base = `${prefix}:{${queue}}:`
    await raw.lpush(`${base}l5:free`, 'free1', 'gone', 'full/a0')
    await raw.lpush(`${base}q5`, 'free', 'none', 'full/a')
    await raw.hset(`${base}run`, 'full/a', 7, 'none', 2)
    expect((await checkAll(driver, queue, true)).length).toBeGreaterThanOrEqual(7)
    expect([await checkAll(driver, queue), await lanesAmiss(subject, queue)]).toEqual([[], []])
  })

  test('of thousands of lanes, and of a long one, nothing is found, and what is lost of each is', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const tasks = Array.from({ length: 12_000 }, (_, i) => newTask({ id: `t${i}`, lane: i < 4000 ? 'long' : `short/${i % 3000}` }))
    for (let i = 0; i < tasks.length; i += 1000) await driver.enqueue(queue, tasks.slice(i, i + 1000))
    expect(await checkAll(driver, queue)).toEqual([])
    await raw.lrem(`${prefix}:{${queue}}:l5:long`, 1, 't2222')
    await raw.lrem(`${prefix}:{${queue}}:l5:short/2500`, 1, 't8500')
    await raw.del(`${prefix}:{${queue}}:e:t3333`)
    // Far from its other turn.
    await raw.lpush(`${prefix}:{${queue}}:q5`, (await raw.lindex(`${prefix}:{${queue}}:q5`, -1)) ?? '')
    const found = (await checkAll(driver, queue, true)).map(beginning)
    expect(found.shift()).toEndWith('is a lane that has a turn')
    expect(found.toSorted()).toEqual(['not as many wait in lanes', 't2222 is in no place', 't3333 is named', 't8500 is in no place'])
    expect([await checkAll(driver, queue), await lanesAmiss(subject, queue)]).toEqual([[], []])
    expect((await driver.stats(queue)).waiting).toBe(tasks.length - 1)
  }, 30_000)
})
