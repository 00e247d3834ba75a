import { expect, test } from 'bun:test'
import { describeOnRedis, onEachRedis } from '@/testing/backings'
import { checkAll, claim, finishAs, newId, newKey, newTask, openSubject, type RedisQueueSubject, until } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'

const queue = 'q'

/** One task in each place, with a past, a unique key and an id that is kept. */
async function everywhere({ driver }: RedisQueueSubject) {
  const make = (id: string) => newTask({ id, isIdKept: true, unique: { key: newKey(), forMs: 600_000 } })
  await driver.enqueue(queue, ['dead', 'retried', 'kept', 'active'].map(make))
  const held = await claim(driver, queue)
  const [dead, retried, kept, active] = held.tasks.map(task => ({ ...held, tasks: [task] }))
  if (!dead || !retried || !kept || !active) throw new Error('not all were claimed')
  await driver.report(
    queue,
    finishAs(held, {}).map(each => ({ ...each, progress: '{}' })),
  )
  await driver.exchange(queue, {
    finish: [
      ...finishAs(dead, { outcome: 'dead', isFailure: true, error: 'no' }),
      ...finishAs(kept, { outcome: 'done', keepForMs: 600_000, result: '1' }),
      ...finishAs(retried, { outcome: 'retry', delayMs: 600_000, error: 'later' }),
    ],
  })
  await driver.enqueue(queue, [make('waiting'), { ...make('urgent'), priority: 0 }, { ...make('delayed'), delayMs: 600_000 }])
  return active
}

const places = async ({ driver }: RedisQueueSubject) =>
  Object.fromEntries(
    await Promise.all(
      (['waiting', 'scheduled', 'active', 'done', 'dead'] as const).map(async state => [
        state,
        (await driver.list(queue, state, 100)).tasks.map(({ id }) => id).toSorted(),
      ]),
    ),
  )
const whole = { waiting: ['urgent', 'waiting'], scheduled: ['delayed', 'retried'], active: ['active'], done: ['kept'], dead: ['dead'] }

/** What is lost, what is found of it, and where all is then, when not where it was. */
const losses: Record<string, { found: string[]; after?: Partial<typeof whole> }> = {
  p5: { found: ['waiting is in no place'] },
  p0: { found: ['urgent is in no place'] },
  sch: { found: ['delayed is in no place', 'retried is in no place'] },
  act: { found: ['active is in no place'] },
  dead: { found: ['dead is in no place'] },
  done: { found: ['kept is in no place'] },
  own: { found: ['active is active'], after: { waiting: ['active', 'urgent', 'waiting'], active: [] } },
  'e:waiting': { found: ['waiting has a unique key', 'waiting is named'], after: { waiting: ['urgent'] } },
  'e:active': {
    found: ['active has a unique key', 'active has counters', 'active has counters', 'active is named', 'active is named'],
    after: { active: [] },
  },
  'e:retried': {
    found: ['retried has a unique key', 'retried has counters', 'retried has counters', 'retried has counters', 'retried is named'],
    after: { scheduled: ['delayed'] },
  },
  'e:dead': { found: ['dead has counters', 'dead has counters', 'dead has counters', 'dead is named'], after: { dead: [] } },
  'e:kept': { found: ['kept has counters', 'kept has counters', 'kept has counters', 'kept is named'], after: { done: [] } },
  'r:kept': { found: [] },
  'v:active': { found: [] },
  's:retried': { found: [] },
  'x:dead': { found: [] },
  m: { found: [] },
  w: { found: [] },
}
const beginning = (finding: string) => finding.split(/,| and | errors/)[0]

describeOnRedis('a key that is lost', () => {
  for (const [key, { found, after = {} }] of Object.entries(losses)) {
    test(`${key}: what it has done is found, reported, and mended when asked to`, async () => {
      await using server = await startOwn('redis')
      await using subject = await openSubject(server.url)
      const { driver, raw, prefix } = subject
      const active = await everywhere(subject)
      expect(await checkAll(driver, queue)).toEqual([])
      expect(await places(subject)).toEqual(whole)
      expect(await raw.del(`${prefix}:{${queue}}:${key}`)).toBe(1)

      const reported = await checkAll(driver, queue)
      expect(reported.map(beginning).toSorted()).toEqual(found)
      // Reporting changes nothing.
      expect((await checkAll(driver, queue)).toSorted()).toEqual(reported.toSorted())
      await checkAll(driver, queue, true)
      expect(await checkAll(driver, queue)).toEqual([])
      expect(await places(subject)).toEqual({ ...whole, ...after })
      if (key === 'act') {
        // Its worker has it still.
        expect(await driver.beat(queue, 30_000, finishAs(active, {}))).toEqual({ lost: [], cancelled: [] })
        expect((await driver.exchange(queue, { finish: finishAs(active, { outcome: 'done' }) })).finished).toEqual(['ok'])
      }
    })
  }

  test('act: a beat of its worker brings the task back by itself', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const active = await everywhere(subject)
    await raw.del(`${prefix}:{${queue}}:act`)
    await driver.beat(queue, 30_000, finishAs(active, {}))
    expect(await checkAll(driver, queue)).toEqual([])
    expect(await places(subject)).toEqual(whole)
  })
})

onEachRedis('a check', (open, name) => {
  const subjects = async () => {
    const { url, isCluster } = await open()
    return openSubject(url, { isCluster })
  }

  test('of a queue that is being worked finds nothing', async () => {
    await using subject = await subjects()
    const { driver } = subject
    let isOver = false
    const work = async () => {
      while (!isOver) {
        await driver.enqueue(
          queue,
          Array.from({ length: 20 }, (_, i) => newTask(i % 5 === 0 ? { delayMs: i } : { unique: { key: newKey(), forMs: 1000 } })),
        )
        const held = await claim(driver, queue, 15)
        const finish = held.tasks.flatMap((task, i) =>
          finishAs({ ...held, tasks: [task] }, i % 4 === 0 ? { outcome: 'retry', delayMs: i, error: 'no' } : { outcome: 'done' }),
        )
        await driver.exchange(queue, { finish })
      }
    }
    const working = Promise.all([work(), work()])
    for (let i = 0; i < 10; i++) expect(await checkAll(driver, queue, true)).toEqual([])
    isOver = true
    await working
  }, 30_000)

  if (name === 'redisCluster') return
  test('names what is named twice, and leaves it where it is worked on', async () => {
    await using subject = await subjects()
    const { driver, raw, prefix } = subject
    await everywhere(subject)
    const base = `${prefix}:{${queue}}:`
    await raw.rpush(`${base}p5`, 'active', 'dead', 'kept', 'delayed', 'gone')
    await raw.zadd(`${base}sch`, 1, 'active', 2, 'dead', 3, 'kept')
    await raw.set(`${base}u:${newKey()}`, 'gone')
    await raw.hset(`${base}s:gone`, 'a', 1)
    expect((await checkAll(driver, queue, true)).length).toBeGreaterThanOrEqual(9)
    expect(await checkAll(driver, queue)).toEqual([])
    expect(await places(subject)).toEqual(whole)
  })

  test('finds one lost task among a hundred thousand', async () => {
    await using subject = await subjects()
    const { driver, raw, prefix } = subject
    const ids = Array.from({ length: 100_000 }, newId)
    for (let i = 0; i < ids.length; i += 1000) {
      await driver.enqueue(
        queue,
        ids.slice(i, i + 1000).map(id => newTask({ id, envelope: '[]' })),
      )
    }
    const lost = ids[77_777] as string
    await raw.lrem(`${prefix}:{${queue}}:p5`, 1, lost)
    expect(await checkAll(driver, queue, true)).toEqual([`${lost} is in no place, so nobody would find it`])
    expect(await driver.stats(queue)).toMatchObject({ waiting: ids.length })
    await raw.unlink(...(await subject.keysOf(queue)).map(key => `${prefix}:{${queue}}:${key}`).slice(0, 50_000))
  }, 60_000)
})

describeOnRedis('a queue whose lines name what is gone', () => {
  test('drops the names when their turn comes', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw, prefix } = subject
    const tasks = Array.from({ length: 3000 }, () => newTask())
    for (let i = 0; i < 3000; i += 1000) await driver.enqueue(queue, tasks.slice(i, i + 1000))
    const last = tasks.at(-1)?.id as string
    await raw.del(...tasks.slice(0, -1).map(({ id }) => `${prefix}:{${queue}}:e:${id}`))
    let got: string[] = []
    await until(async () => {
      got = (await claim(driver, queue, 10)).tasks.map(({ id }) => id)
      return got.length > 0
    })
    expect(got).toEqual([last])
    expect(await driver.stats(queue)).toMatchObject({ waiting: 0, active: 1 })
  })
})
