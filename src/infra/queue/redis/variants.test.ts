import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { checkAll, claim, finishAs, newTask, openSubject, type RedisQueueSubject } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import type { NewTask } from '../driver'
import { exchangeRichScript, exchangeScript } from './scripts/exchange'

const queue = 'q'
const key = `bingo:{${queue}}:m`

/** How often the server was told to do this since. */
async function callsOf({ raw }: RedisQueueSubject, act: () => Promise<unknown>): Promise<Record<string, number>> {
  await raw.config('RESETSTAT')
  await act()
  const found = (await raw.info('commandstats')).matchAll(/cmdstat_(\w+):calls=(\d+)/g)
  return Object.fromEntries([...found].map(([, name, calls]) => [name, Number(calls)]))
}

/** What makes a queue need more than the plain variant, each by itself. */
const needs: Record<string, Partial<NewTask>[]> = {
  'has a lane': [{ lane: 'a' }],
  'has a lane, and starts later': [{ lane: 'a', delayMs: 1 }],
  'tells another how it ended': [{ id: 'first', follower: { id: 'second', wantsResult: true } }],
  'waits for another': [{ id: 'second', after: { count: 1, isDoneNeeded: true } }],
}

describeOnRedis('a queue of which one process knows only plain tasks', () => {
  for (const [what, tasks] of Object.entries(needs)) {
    test(`is worked off by it when one comes that ${what}`, async () => {
      await using server = await startOwn('redis', ['--enable-debug-command', 'yes'])
      await using subject = await openSubject(server.url, { prefix: 'bingo' })
      await using other = await openSubject(server.url, { prefix: 'bingo' })
      const { driver, raw } = subject
      await driver.enqueue(queue, [newTask(), newTask()])
      const held = await claim(driver, queue, 1)
      expect(held.tasks).toHaveLength(1)
      await other.driver.enqueue(queue, tasks.map(newTask))
      await Bun.sleep(2)
      const before = await raw.call('DEBUG', 'DIGEST')
      const words = ['1', held.tasks[0]?.id ?? '', `1:${held.nonce}`, 'd', 'w', 'nonce', '9', '9000', '9000', '0', '']
      expect(await raw.evalsha(exchangeScript.sha, 1, key, ...words)).toBe(0)
      // It has done nothing.
      expect(await raw.call('DEBUG', 'DIGEST')).toBe(before)
      const { finished, claimed } = await driver.exchange(queue, {
        finish: finishAs(held, { outcome: 'done' }),
        claim: { worker: 'w', nonce: 'another', count: 9, leaseMs: 9000 },
      })
      const isHeld = tasks.some(({ after }) => after)
      expect([finished, claimed.length]).toEqual([['ok'], isHeld ? 1 : 2])
      await driver.exchange(queue, { finish: finishAs({ tasks: claimed, nonce: 'another' }, { outcome: 'done' }) })
      expect(await driver.stats(queue)).toMatchObject({ waiting: 0, active: 0, held: isHeld ? 1 : 0 })
      expect(await checkAll(driver, queue)).toEqual([])
    })
  }

  test('is told of a pause, of what is next, and of no lanes, by either variant alike', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url, { prefix: 'bingo' })
    const { driver, raw } = subject
    await claim(driver, queue)
    await raw.script('LOAD', exchangeRichScript.lua)
    const dues = async (...words: string[]) => {
      const replies = []
      for (const { sha } of [exchangeScript, exchangeRichScript])
        replies.push(((await raw.evalsha(sha, 1, key, '0', ...words)) as number[])[1])
      return replies
    }
    const claimOfNone = ['w', 'n', '0', '9000', '9000', '0', '']
    expect(await dues(...claimOfNone)).toEqual([-1, -1])
    await driver.enqueue(queue, [newTask({ delayMs: 1_000_000 })])
    for (const due of await dues()) expect(due).toBeWithin(900_000, 1_000_001)
    await driver.enqueue(queue, [newTask()])
    expect(await dues()).toEqual([0, 0])
    await driver.pause(queue)
    expect(await dues()).toEqual([-1, -1])
    expect(await dues('w', 'm', '5', '9000', '9000', '0', '')).toEqual([-1, -1])
  })
})

describeOnRedis('what ends together with one that has failed before', () => {
  test('costs the server no call of its own to each', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url, { prefix: 'bingo' })
    const { driver, raw } = subject
    const tasks = Array.from({ length: 100 }, () => newTask())
    await driver.enqueue(queue, tasks)
    const held = await claim(driver, queue, 100)
    const reporter = { id: tasks[50]?.id ?? '', attempt: 1, nonce: held.nonce, progress: '1' }
    expect(await driver.report(queue, [reporter])).toEqual([true])
    const calls = await callsOf(subject, () => driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) }))
    // One of all owners, one of the queue, and one of the hash.
    expect(calls['hmget']).toBe(3)
    expect(calls['exists']).toBeLessThan(20)
    expect(await driver.stats(queue)).toMatchObject({ active: 0, total: { done: 100 } })
    expect((await raw.keys('*')).filter(name => !/:(m|w|cl:.*)$/.test(name))).toEqual([])
  })
})
