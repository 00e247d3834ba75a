import { expect, test } from 'bun:test'
import { describeOnRedis, onEachRedis } from '@/testing/backings'
import { claim, finishAs, newTask, openSubject, type RedisQueueSubject, until } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'

const queue = 'q'
const rule = { leaseMs: 300, crashesMax: 3 }
const metaOf = ({ prefix }: RedisQueueSubject) => `${prefix}:{${queue}}:m`
const hourMs = 3_600_000

/** Three tasks whose leases have ended. */
async function abandoned({ driver }: RedisQueueSubject): Promise<string[]> {
  const tasks = [newTask(), newTask(), newTask()]
  await driver.enqueue(queue, tasks)
  await driver.reap(queue, rule)
  await claim(driver, queue, 3, 5)
  await Bun.sleep(10)
  return tasks.map(({ id }) => id).toSorted()
}
const reaped = async ({ driver }: RedisQueueSubject) => (await driver.reap(queue, rule)).again.toSorted()

onEachRedis('a reaper', (open, name) => {
  const subjectOf = async () => {
    const { url, isCluster } = await open()
    return openSubject(url, { isCluster })
  }

  test('takes what has expired, once', async () => {
    await using subject = await subjectOf()
    const ids = await abandoned(subject)
    expect(await reaped(subject)).toEqual(ids)
    expect(await reaped(subject)).toEqual([])
  })

  if (name === 'redisCluster') return
  test('and whoever removes one that is kept leave its id remembered for as long as it was to be', async () => {
    await using subject = await subjectOf()
    const { driver, raw, prefix } = subject
    const ids = ['expires', 'removed']
    await driver.enqueue(
      queue,
      ids.map(id => newTask({ id, isIdKept: true })),
    )
    await driver.reap(queue, rule)
    await driver.exchange(queue, { finish: finishAs(await claim(driver, queue), { outcome: 'done', keepForMs: 1 }) })
    const halfMs = 12 * hourMs
    for (const id of ids) await raw.pexpire(`${prefix}:{${queue}}:d:${id}`, halfMs)
    await Bun.sleep(5)
    expect(await driver.remove(queue, ['removed'])).toEqual(['removed'])
    expect((await driver.reap(queue, rule)).expired).toEqual({ done: 1, dead: 0 })
    for (const id of ids) {
      const leftMs = await raw.pttl(`${prefix}:{${queue}}:d:${id}`)
      expect([id, leftMs > 0 && leftMs < halfMs]).toEqual([id, true])
    }
  })

  test('removes those whose time is over though a hundred before them are worked on', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    await driver.enqueue(
      queue,
      Array.from({ length: 101 }, (_, i) => newTask({ id: `t${i}` })),
    )
    const one = await claim(driver, queue, 1)
    await driver.exchange(queue, { finish: finishAs(one, { outcome: 'dead', isFailure: true, error: 'no' }) })
    const others = await claim(driver, queue, 100)
    for (const { id } of others.tasks) await raw.zadd(`${prefix}:{${queue}}:dead`, 1, id)
    for (let i = 0; i < 3; i++) await driver.reap(queue, { ...rule, keepDeadMs: 0 })
    expect(await driver.stats(queue)).toMatchObject({ dead: 0, active: 100 })
  })

  test('that comes upon a server that was started anew waits one lease first', async () => {
    await using subject = await subjectOf()
    const ids = await abandoned(subject)
    await subject.raw.hset(metaOf(subject), 'run', 'another')
    const beganMs = performance.now()
    expect(await reaped(subject)).toEqual([])
    let again: string[] = []
    await until(async () => {
      again = await reaped(subject)
      return again.length > 0
    })
    expect(again).toEqual(ids)
    expect(performance.now() - beganMs).toBeGreaterThanOrEqual(rule.leaseMs - 20)
  })
})

describeOnRedis('the clock of a server', () => {
  test('that was set an hour ahead costs nobody a lease who still beats', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw } = subject
    const ids = await abandoned(subject)
    // As the last reaper saw it before.
    await raw.hincrby(metaOf(subject), 'clock', -hourMs)
    expect(await reaped(subject)).toEqual([])
    expect(await reaped(subject)).toEqual([])
    const [mine] = ids
    const nonce = (await raw.hget(`${subject.prefix}:{${queue}}:own`, mine ?? ''))?.split(/[: ]/)[1] ?? ''
    await driver.beat(queue, 2000, [{ id: mine ?? '', attempt: 1, nonce }])
    let again: string[] = []
    await until(async () => {
      again = await reaped(subject)
      return again.length > 0
    })
    expect(again).toEqual(ids.slice(1))
  })

  test('that was set an hour back leaves no lease an hour long', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw } = subject
    await driver.enqueue(
      queue,
      Array.from({ length: 150 }, () => newTask()),
    )
    await claim(driver, queue, 150, hourMs)
    await driver.reap(queue, rule)
    await raw.hincrby(metaOf(subject), 'clock', hourMs)
    await raw.hset(metaOf(subject), 'reapAfter', Date.now() + hourMs)
    const again: string[] = []
    await until(async () => {
      again.push(...(await reaped(subject)))
      return again.length === 150
    }, 3000)
    expect(await driver.stats(queue)).toMatchObject({ active: 0, waiting: 150 })
    // Only where the clock was set back: a long lease is no fault.
    const held = await claim(driver, queue, 1, hourMs)
    await driver.reap(queue, rule)
    expect((await driver.show(queue, held.tasks[0]?.id ?? ''))?.atMs).toBeGreaterThan(Date.now() + hourMs / 2)
  })

  test('that was set back lets each lane be looked at anew that waits for its time, some with each call', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const parked = `${prefix}:{${queue}}:park`
    await driver.reap(queue, rule)
    const members = Array.from({ length: 1000 }, (_, i) => [Date.now() + hourMs, `a/${i}`] as const).flat()
    await raw.zadd(parked, ...members)
    await raw.hincrby(metaOf(subject), 'clock', hourMs)
    await driver.reap(queue, rule)
    const first = await raw.zcount(parked, 0, 0)
    expect([first > 0, first < 500]).toEqual([true, true])
    for (let i = 0; i < 20; i++) await driver.reap(queue, rule)
    expect(await raw.zcount(parked, 0, 0)).toBe(1000)
    expect(await raw.hget(metaOf(subject), 'parkFrom')).toBeNull()
  })

  test('a real restart: what is held is not taken before its owner could say that it is there', async () => {
    await using server = await startOwn('redis', ['--appendonly', 'yes', '--appendfsync', 'always'])
    await using subject = await openSubject(server.url)
    const { driver } = subject
    await driver.enqueue(queue, [newTask()])
    await driver.reap(queue, rule)
    const held = await claim(driver, queue, 1, 50)
    await server.kill()
    await server.start()
    await Bun.sleep(60)
    expect(await reaped(subject)).toEqual([])
    expect(await driver.beat(queue, 60_000, finishAs(held, {}))).toEqual({ lost: [], cancelled: [] })
    await Bun.sleep(rule.leaseMs + 20)
    expect(await reaped(subject)).toEqual([])
    expect((await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })).finished).toEqual(['ok'])
  }, 20_000)
})
