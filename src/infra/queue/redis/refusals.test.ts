import { expect, test } from 'bun:test'
import { AppError } from '@/core/error'
import { describeOnRedis } from '@/testing/backings'
import { lossyProxy } from '@/testing/lossy-proxy'
import { claim, finishAs, isUnavailable, newKey, newNonce, newTask, openSubject } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import { exchangeScript } from './scripts/exchange'

const queue = 'q'
const prefix = 'bingo'
const thrownBy = (call: Promise<unknown>) =>
  call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  )

describeOnRedis('what Redis refuses', () => {
  /** A task that a server refuses, and no other: something else has the name of its unique key. */
  async function withRefused() {
    const server = await startOwn('redis')
    const subject = await openSubject(server.url, { prefix })
    const unique = { key: newKey(), forMs: 9000 }
    await subject.raw.hset(`${prefix}:{${queue}}:u:${unique.key}`, 'a', 1)
    return {
      ...subject,
      refused: newTask({ unique, envelope: '["test.task",1,{"secret":"hidden"}]' }),
      async [Symbol.asyncDispose]() {
        await subject[Symbol.asyncDispose]()
        await server[Symbol.asyncDispose]()
      },
    }
  }

  test('for what it is, is a fault and no absence: another time it would be refused too', async () => {
    await using subject = await withRefused()
    const thrown = await thrownBy(subject.driver.enqueue(queue, [subject.refused]))
    expect(thrown).toBeInstanceOf(Error)
    expect(thrown).not.toBeInstanceOf(AppError)
    expect((thrown as Error).message).toContain('WRONGTYPE')
    expect(Bun.inspect(thrown)).not.toContain('hidden')
    await subject.driver.ping()
  })

  test('of one caller, is no matter of those who enqueue in the same moment', async () => {
    await using subject = await withRefused()
    const { driver, refused } = subject
    const tasks = Array.from({ length: 4 }, () => newTask())
    const [first, mixed, last] = await Promise.allSettled([
      driver.enqueue(queue, tasks.slice(0, 2)),
      driver.enqueue(queue, [newTask(), refused]),
      driver.enqueue(queue, tasks.slice(2)),
    ])
    expect([first?.status, mixed?.status, last?.status]).toEqual(['fulfilled', 'rejected', 'fulfilled'])
    const held = await claim(driver, queue)
    expect(held.tasks.map(({ id }) => id)).toEqual(tasks.map(({ id }) => id))
    await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
    expect(await driver.stats(queue)).toMatchObject({ waiting: 0, active: 0, total: { enqueued: 4, done: 4 } })
  })

  test('what would be refused half-way is not sent', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url, { prefix })
    const { driver } = subject
    const key = newKey()
    const wrong = [
      { id: 'a b' },
      { priority: 12 },
      { priority: Number.NaN },
      { delayMs: Number.NaN },
      { delayMs: 1e13 },
      { unique: { key: 'short', forMs: 9 } },
      { unique: { key, forMs: 0 } },
      { unique: { key, forMs: 1.5 } },
    ]
    for (const said of wrong) {
      const neighbor = driver.enqueue(queue, [newTask()])
      expect(await thrownBy(driver.enqueue(queue, [newTask(said)]))).toBeInstanceOf(Error)
      expect((await neighbor)[0]?.status).toBe('enqueued')
    }
    const held = await claim(driver, queue)
    expect(held.tasks).toHaveLength(wrong.length)
    expect(await thrownBy(driver.exchange(queue, { finish: finishAs(held, { outcome: 'snooze', delayMs: Number.NaN }) }))).toBeInstanceOf(
      Error,
    )
    await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
    expect((await subject.keysOf(queue)).filter(name => !name.startsWith('cl:'))).toEqual(['m'])
  })
})

describeOnRedis('a Redis that does not answer', () => {
  test('does not hold up who closes', async () => {
    await using server = await startOwn('redis')
    const subject = await openSubject(server.url, { timeoutMs: 8000 })
    await server.kill()
    const calls = [subject.driver.enqueue(queue, [newTask()]), claim(subject.driver, queue)].map(isUnavailable)
    await Bun.sleep(50)
    const beganMs = performance.now()
    await subject[Symbol.asyncDispose]()
    expect(await Promise.all(calls)).toEqual([true, true])
    expect(performance.now() - beganMs).toBeLessThan(3000)
  }, 20_000)

  test('has what a claim has taken when it is asked again, however many others were asked for meanwhile', async () => {
    await using server = await startOwn('redis')
    const proxy = lossyProxy(server.port)
    await using subject = await openSubject(`redis://127.0.0.1:${proxy.port}`, { timeoutMs: 500, prefix })
    const { driver } = subject
    const tasks = Array.from({ length: 3 }, () => newTask())
    await driver.enqueue(queue, tasks)
    await claim(driver, 'other')
    const said = { claim: { worker: 'w', nonce: newNonce(), count: 2, leaseMs: 30_000 } }
    proxy.loseAnswers(1000, exchangeScript.sha)
    expect(await isUnavailable(driver.exchange(queue, said))).toBe(true)
    proxy.loseAnswers(0, exchangeScript.sha)
    while (await isUnavailable(driver.ping()));
    for (let i = 0; i < 200; i++) await claim(driver, queue, 1)
    expect((await driver.exchange(queue, said)).claimed.map(({ id }) => id)).toEqual(tasks.slice(0, 2).map(({ id }) => id))
    proxy[Symbol.dispose]()
  }, 20_000)
})
