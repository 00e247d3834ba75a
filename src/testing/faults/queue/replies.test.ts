import { expect } from 'bun:test'
import type { Claim, QueueDriver } from '@/infra/queue/driver'
import { enqueueRichScript, enqueueScript } from '@/infra/queue/redis/scripts/enqueue'
import { exchangeRichScript, exchangeScript } from '@/infra/queue/redis/scripts/exchange'
import type { RedisScript } from '@/infra/redis'
import { testOn } from '../../backings'
import { isFull } from '../scene'
import { auditTasks } from './audit'
import { startProducer, tenantLimits } from './producer'
import { openRedisPlace, type RedisPlace } from './redis-place'
import { openQueueScene } from './scene'

/** What becomes of calls that Redis has done, and whose replies are lost with their connections. */
const claimOf = (nonce: string, count = 10): Claim => ({ worker: 'host:1', nonce, count, leaseMs: 30_000 })
const settleLimitMs = 30_000

/** Loses one reply, keeps Redis away until `meanwhile` is over, and then lets the driver say it again. */
async function losing<R>(
  { proxy }: RedisPlace,
  script: RedisScript,
  call: () => Promise<R>,
  meanwhile: () => Promise<unknown>,
): Promise<R> {
  const lost = proxy.loseReplies(script.sha, 1)
  const calling = call()
  await lost
  proxy.refuse(true)
  await meanwhile()
  proxy.refuse(false)
  return calling
}

/** Once is enough that a script is known there: a script that is sent whole has no digest in it. */
async function warmUp(driver: QueueDriver): Promise<void> {
  await driver.enqueue('warm', [{ id: 'warm', isIdKept: false, priority: 5, delayMs: 0, envelope: '' }])
  await driver.exchange('warm', {})
}

testOn('redis', 'An enqueue whose reply is lost enqueues each task once, though it has run by then, and says what it said', async () => {
  await using place = await openRedisPlace()
  await using scene = openQueueScene(place)
  const { driver, rival } = place
  const { queue } = scene
  await warmUp(driver)
  const key = 'k'.repeat(22)
  await rival.enqueue(queue, [scene.newTask('quit', {}, { id: '1', unique: { key, forMs: 60_000 }, delayMs: 60_000 })])
  const tasks = [
    scene.newTask('quit', {}, { id: 'quick' }),
    scene.newTask('quit', {}, { id: 'kept', isIdKept: true }),
    scene.newTask('quit', {}, { id: '1', isIdKept: true }),
    scene.newTask('quit', {}, { id: 'other', unique: { key, forMs: 60_000 } }),
  ]
  const replies = await losing(
    place,
    enqueueScript,
    () => driver.enqueue(queue, tasks),
    async () => {
      const { claimed } = await rival.exchange(queue, { claim: claimOf('nonce-of-a-rival') })
      expect(claimed.map(({ id }) => id)).toEqual(['quick', 'kept'])
      await rival.exchange(queue, {
        finish: claimed.map(({ id, attempt }) => ({ id, attempt, nonce: 'nonce-of-a-rival', outcome: 'done' })),
      })
    },
  )
  expect(replies.map(({ status }) => status)).toEqual(['enqueued', 'enqueued', 'duplicate', 'unique'])
  expect(replies[3]?.id).toBe('1')
  expect(await driver.stats(queue)).toMatchObject({ waiting: 0, active: 0, scheduled: 1, total: { enqueued: 3, done: 2 } })
})

testOn('redis', 'A claim whose reply is lost gets the same tasks again, and not others', async () => {
  await using place = await openRedisPlace()
  await using scene = openQueueScene(place)
  const { driver, rival } = place
  const { queue } = scene
  await warmUp(driver)
  await driver.enqueue(
    queue,
    ['a', 'b', 'c', 'd'].map(id => scene.newTask('quit', {}, { id })),
  )
  const { claimed } = await losing(
    place,
    exchangeScript,
    () => driver.exchange(queue, { claim: claimOf('nonce-that-is-lost', 2) }),
    async () => {
      expect(await rival.stats(queue)).toMatchObject({ waiting: 2, active: 2 })
      const other = await rival.exchange(queue, { claim: claimOf('nonce-of-a-rival', 1) })
      expect(other.claimed.map(({ id }) => id)).toEqual(['c'])
    },
  )
  expect(claimed.map(({ id, attempt }) => ({ id, attempt }))).toEqual(['a', 'b'].map(id => ({ id, attempt: 1 })))
  expect(await driver.stats(queue)).toMatchObject({ waiting: 1, active: 3 })
})

testOn('redis', 'The end of an attempt whose reply is lost is counted once, and is no error', async () => {
  await using place = await openRedisPlace()
  await using scene = openQueueScene(place)
  const { driver, rival } = place
  const { queue } = scene
  await warmUp(driver)
  const nonce = 'nonce-of-a-claim'
  await driver.enqueue(
    queue,
    ['done', 'retry', 'snooze', 'release', 'dead'].map(id => scene.newTask('quit', {}, { id })),
  )
  await driver.exchange(queue, { claim: claimOf(nonce) })
  const attempt = { attempt: 1, nonce }
  const { finished } = await losing(
    place,
    exchangeScript,
    () =>
      driver.exchange(queue, {
        finish: [
          { id: 'done', ...attempt, outcome: 'done' },
          { id: 'retry', ...attempt, outcome: 'retry', delayMs: 60_000, error: 'it failed' },
          { id: 'snooze', ...attempt, outcome: 'snooze', delayMs: 60_000 },
          { id: 'release', ...attempt, outcome: 'release' },
          { id: 'dead', ...attempt, outcome: 'dead', error: 'it failed', isFailure: true },
        ],
      }),
    async () => expect(await rival.stats(queue)).toMatchObject({ active: 0 }),
  )
  expect(finished).toEqual(['ok', 'ok', 'ok', 'ok', 'ok'])
  expect(await driver.stats(queue)).toMatchObject({
    ...{ waiting: 1, scheduled: 2, active: 0, dead: 1 },
    total: { done: 1, failed: 2, dead: 1, crashed: 0 },
  })
  expect(await driver.show(queue, 'retry')).toMatchObject({ failures: 1, errors: [{ attempt: 1, message: 'it failed' }] })
})

testOn(
  'redis',
  'Replies of claims, ends and enqueues are lost under load: nothing is lost, and nothing runs twice',
  async () => {
    // The same call may lose its reply many times, which takes more time than it usually has.
    await using place = await openRedisPlace({ timeoutMs: 10_000 })
    // No task is held for long, so no lease is lost to a connection that comes back late.
    await using scene = openQueueScene(place, { leaseMs: 10_000 })
    await warmUp(place.driver)
    await Promise.all([scene.work({ claimLimits: tenantLimits }), scene.work({ claimLimits: tenantLimits })])
    const lost = { exchanges: isFull ? 300 : 30, enqueues: isFull ? 150 : 15 }
    const producer = startProducer(scene, { callers: 8, least: 200, pauseMs: 20, taskMsMax: 20, delayMsMax: 200 })
    for (let i = 0; i < lost.enqueues; i++) {
      await place.proxy.loseReplies(exchangeRichScript.sha, lost.exchanges / lost.enqueues)
      await place.proxy.loseReplies(enqueueRichScript.sha, 1)
    }
    await producer.stop()
    await scene.settled(settleLimitMs)
    const tally = await auditTasks(scene, producer)
    console.log(
      `${lost.exchanges} lost replies of claims and ends, ${lost.enqueues} of enqueues: ${tally.accepted} tasks, ` +
        `${tally.lost.length} lost, ${tally.again} run again, ${producer.refused} calls refused`,
    )
    expect(tally.again).toBe(0)
    // A claim that was not heard of is claimed once.
    expect((await place.driver.stats(scene.queue)).total.crashed).toBe(0)
    expect(producer.refused).toBe(0)
    expect(await place.leftovers(scene.queue)).toEqual([])
  },
  120_000,
)
