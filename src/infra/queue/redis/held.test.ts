import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { checkAll, claim, finishAs, newTask, openSubject, type RedisQueueSubject, until } from '@/testing/redis-queue'
import { sharedServer, startOwn } from '@/testing/servers'

const queue = 'q'

async function scene(): Promise<RedisQueueSubject> {
  return openSubject((await sharedServer('redis'))?.url ?? '')
}

/** One of two that `last` waits for has ended. @returns the attempt of the other */
async function halfWay({ driver }: RedisQueueSubject) {
  const follower = { id: 'last', wantsResult: true }
  await driver.enqueue(queue, [
    newTask({ id: 'last', after: { count: 2, isDoneNeeded: false }, follower: { id: 'beyond', wantsResult: false } }),
    newTask({ id: 'beyond', after: { count: 1, isDoneNeeded: false } }),
    ...['one', 'two'].map(id => newTask({ id, follower })),
  ])
  const one = await claim(driver, queue, 1)
  await driver.exchange(queue, { finish: finishAs(one, { outcome: 'done', result: '1' }) })
  return claim(driver, queue, 1)
}

describeOnRedis('the check of tasks that wait for others', () => {
  test('a healthy queue has no findings, and nothing stays of it', async () => {
    await using subject = await scene()
    const { driver, keysOf } = subject
    const two = await halfWay(subject)
    expect(await checkAll(driver, queue, true)).toEqual([])
    await driver.exchange(queue, { finish: finishAs(two, { outcome: 'done' }) })
    for (const id of ['last', 'beyond']) {
      const held = await claim(driver, queue, 1)
      expect(held.tasks.map(task => task.id)).toEqual([id])
      expect(await checkAll(driver, queue)).toEqual([])
      await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
    }
    expect((await keysOf(queue)).filter(key => !/^(m|w|cl:.*)$/.test(key))).toEqual([])
  })

  test('one that is in no place is held again, and starts when the last has ended', async () => {
    await using subject = await scene()
    const { driver, raw, prefix } = subject
    const two = await halfWay(subject)
    await raw.del(`${prefix}:{${queue}}:hld`)
    expect((await checkAll(driver, queue, true)).map(text => text.split(' ')[0]).toSorted()).toEqual(['beyond', 'last'])
    expect(await checkAll(driver, queue)).toEqual([])
    expect(await driver.show(queue, 'last')).toMatchObject({ state: 'held', heldFor: 1 })
    await driver.exchange(queue, { finish: finishAs(two, { outcome: 'done' }) })
    expect((await claim(driver, queue)).tasks.map(({ id }) => id)).toEqual(['last'])
  })

  test('one that was in no place when the last ended is started by the check', async () => {
    await using subject = await scene()
    const { driver, raw, prefix } = subject
    const two = await halfWay(subject)
    await raw.zrem(`${prefix}:{${queue}}:hld`, 'last')
    await driver.exchange(queue, { finish: finishAs(two, { outcome: 'done' }) })
    expect((await claim(driver, queue)).tasks).toEqual([])
    await checkAll(driver, queue, true)
    await checkAll(driver, queue, true)
    expect(await checkAll(driver, queue)).toEqual([])
    expect((await claim(driver, queue)).tasks.map(({ id }) => id)).toEqual(['last'])
  })

  test('one of which nobody knows for what it is held is left to an operator', async () => {
    await using subject = await scene()
    const { driver, raw, prefix } = subject
    await halfWay(subject)
    await raw.del(`${prefix}:{${queue}}:s:last`)
    expect(await checkAll(driver, queue)).toEqual([expect.stringContaining('last is held, and nobody knows for what')])
    await checkAll(driver, queue, true)
    expect(await checkAll(driver, queue)).toEqual([])
    expect(await driver.show(queue, 'last')).toMatchObject({
      state: 'dead',
      errors: [{ message: 'lost: nobody knows for what it was held' }],
    })
    // Who waits for it is told that it is dead.
    expect((await claim(driver, queue)).tasks.map(({ id }) => id)).toContain('beyond')
    expect(await driver.retry(queue, ['last'])).toEqual(['retried'])
  })

  test('names without a task, of an earlier life and in two places are put right', async () => {
    await using subject = await scene()
    const { driver, raw, prefix } = subject
    await halfWay(subject)
    const base = `${prefix}:{${queue}}:`
    await raw.zadd(`${base}hld`, 1, 'nobody', 2, 'two')
    await raw.lpush(`${base}p5`, 'last')
    await raw.hset(`${base}b:gone`, 'one', 'd')
    expect((await checkAll(driver, queue)).map(text => text.split(/,/)[0]).toSorted()).toEqual([
      'gone has counters',
      'last is in two places',
      'nobody is named',
      'two is in two places',
    ])
    await checkAll(driver, queue, true)
    expect(await checkAll(driver, queue)).toEqual([])
    expect((await claim(driver, queue)).tasks).toEqual([])
    expect(await driver.show(queue, 'last')).toMatchObject({ state: 'held', heldFor: 1 })
  })

  test('a name in a line from an earlier life does not start one that is held', async () => {
    await using subject = await scene()
    const { driver, raw, prefix } = subject
    const two = await halfWay(subject)
    await raw.lpush(`${prefix}:{${queue}}:p5`, 'last')
    expect((await claim(driver, queue)).tasks).toEqual([])
    expect(await driver.show(queue, 'last')).toMatchObject({ state: 'held', heldFor: 1 })
    await driver.exchange(queue, { finish: finishAs(two, { outcome: 'done' }) })
    expect((await claim(driver, queue)).tasks.map(({ id }) => id)).toEqual(['last'])
  })
})

describeOnRedis('ends of which nobody has heard', () => {
  test('are cancelled in chains, some with each script, and all of them', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw } = subject
    const chains = 30
    const length = 40
    const chain = (prefix: string) =>
      Array.from({ length }, (_, i) =>
        newTask({
          id: `${prefix}-${i}`,
          ...(i > 0 && { after: { count: 1, isDoneNeeded: true } }),
          ...(i < length - 1 && { follower: { id: `${prefix}-${i + 1}`, wantsResult: false } }),
        }),
      )
    const heads = Array.from({ length: chains }, (_, i) => `c${i}-0`)
    for (let i = 0; i < chains; i++) await driver.enqueue(queue, chain(`c${i}`))
    const scripts = async () => Number(/cmdstat_evalsha:calls=(\d+)/.exec(await raw.info('commandstats'))?.[1])
    const before = await scripts()
    expect(await driver.cancel(queue, heads)).toEqual(heads.map(() => 'cancelled'))
    expect((await scripts()) - before).toBe(chains / 3)
    expect(await driver.stats(queue)).toMatchObject({ waiting: 0, held: 0 })

    for (let i = 0; i < chains; i++) await driver.enqueue(queue, chain(`d${i}`))
    const dead = await claim(driver, queue)
    await driver.exchange(queue, { finish: finishAs(dead, { outcome: 'dead', isFailure: true, error: 'no' }) })
    await Bun.sleep(2)
    let reaps = 0
    while ((await driver.reap(queue, { leaseMs: 1000, crashesMax: 1, keepDeadMs: 1 })).more) reaps++
    expect(reaps).toBe(chains / 3 - 1)
    expect(await driver.stats(queue)).toMatchObject({ dead: 0, held: 0 })
  })

  test('are kept for a day, and for as long as the one that they are for is there', async () => {
    await using subject = await scene()
    const { driver, raw, prefix } = subject
    const key = `${prefix}:{${queue}}:b:last`
    await driver.enqueue(queue, [newTask({ id: 'one', follower: { id: 'last', wantsResult: true } })])
    await driver.exchange(queue, { finish: finishAs(await claim(driver, queue), { outcome: 'done', result: '1' }) })
    const leftMs = await raw.pttl(key)
    expect(leftMs).toBeGreaterThan(86_000_000)
    expect(leftMs).toBeLessThanOrEqual(86_400_000)
    await driver.enqueue(queue, [newTask({ id: 'last', after: { count: 2, isDoneNeeded: false } })])
    expect(await raw.pttl(key)).toBe(-1)
    await driver.cancel(queue, ['last'])
    await until(async () => (await raw.exists(key)) === 0)
  })

  test('what a task costs that tells nobody is what it has cost', async () => {
    await using subject = await scene()
    const { driver, raw } = subject
    const commandsOf = async (work: () => Promise<unknown>) => {
      const monitor = await raw.monitor()
      const seen: string[] = []
      monitor.on('monitor', (_: string, words: string[], source: string) => source === 'lua' && seen.push(words.join(' ')))
      await work()
      const mark = crypto.randomUUID()
      const ended = new Promise<void>(resolve => monitor.on('monitor', (_: string, words: string[]) => words[1] === mark && resolve()))
      await raw.echo(mark)
      await ended
      monitor.disconnect()
      return seen
    }
    await driver.enqueue(queue, [newTask({ id: 'warm' })])
    await driver.exchange(queue, { finish: finishAs(await claim(driver, queue), { outcome: 'done' }) })
    const enqueued = await commandsOf(() => driver.enqueue(queue, [newTask({ id: 'plain' })]))
    const held = await claim(driver, queue)
    const ended = await commandsOf(() => driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) }))
    expect([...enqueued, ...ended].filter(text => /:b:|:hld/.test(text))).toEqual([])
  })
})
