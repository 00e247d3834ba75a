import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { lossyProxy } from '@/testing/lossy-proxy'
import { claim, finishAs, newId, newKey, newNonce, newTask, openSubject, until } from '@/testing/redis-queue'
import { type OwnServer, startOwn } from '@/testing/servers'
import { isUnavailable } from '@/testing/redis-queue'
import { redisScript } from '../../redis'
import { beatScript } from './scripts/beat'
import { enqueueScript } from './scripts/enqueue'
import { exchangeScript } from './scripts/exchange'
import { cancelScript, removeScript, retryScript } from './scripts/operate'
import { reapScript } from './scripts/reap'

const queue = 'q'

async function behindProxy(server: OwnServer, timeoutMs = 3000) {
  const proxy = lossyProxy(server.port)
  const subject = await openSubject(`redis://127.0.0.1:${proxy.port}`, { timeoutMs, prefix: 'bingo' })
  return {
    ...subject,
    proxy,
    async [Symbol.asyncDispose]() {
      await subject[Symbol.asyncDispose]()
      proxy[Symbol.dispose]()
    },
  }
}

describeOnRedis('an answer that is lost after Redis has done what was asked', () => {
  test('enqueue: each is there once, and the caller is told so', async () => {
    await using server = await startOwn('redis')
    await using subject = await behindProxy(server)
    const { driver, proxy } = subject
    // The server knows the script then.
    await driver.enqueue('other', [newTask()])
    proxy.loseAnswers(2, enqueueScript.sha)
    const tasks = [newTask(), newTask({ isIdKept: true }), newTask({ unique: { key: newKey(), forMs: 9000 } })]
    const replies = await driver.enqueue(queue, tasks)
    expect(proxy.lost).toBe(2)
    expect(replies.map(({ id, status }) => [id, status])).toEqual(tasks.map(({ id }) => [id, 'enqueued']))
    expect((await driver.stats(queue)).waiting).toBe(3)
    expect((await claim(driver, queue)).tasks.map(({ id }) => id)).toEqual(tasks.map(({ id }) => id))
  })

  test('claim: the same tasks come, and no others', async () => {
    await using server = await startOwn('redis')
    await using subject = await behindProxy(server)
    const { driver, proxy } = subject
    const tasks = Array.from({ length: 5 }, () => newTask())
    await driver.enqueue(queue, tasks)
    await claim(driver, 'other')
    proxy.loseAnswers(2, exchangeScript.sha)
    const held = await claim(driver, queue, 2)
    expect(proxy.lost).toBe(2)
    expect(held.tasks.map(({ id, attempt }) => [id, attempt])).toEqual(tasks.slice(0, 2).map(({ id }) => [id, 1]))
    expect(await driver.stats(queue)).toMatchObject({ waiting: 3, active: 2 })
  })

  test('a claim that found nothing and is said again takes nothing later than that', async () => {
    await using server = await startOwn('redis')
    await using subject = await behindProxy(server)
    const { driver, proxy, raw } = subject
    const nonce = newNonce()
    await claim(driver, 'other')
    proxy.loseAnswers(1, exchangeScript.sha)
    const said = { claim: { worker: 'w', nonce, count: 5, leaseMs: 9000 } }
    expect((await driver.exchange(queue, said)).claimed).toEqual([])
    await driver.enqueue(queue, [newTask()])
    // As a first attempt does that was long on its way.
    const [, , late] = (await raw.evalsha(exchangeScript.sha, 1, `bingo:{${queue}}:m`, 0, 'w', nonce, 5, 9000, 9000, 0, '')) as [
      string,
      number,
      [],
    ]
    expect(late).toEqual([])
  })

  test('finish: each ends once, whatever it ends as', async () => {
    await using server = await startOwn('redis')
    await using subject = await behindProxy(server)
    const { driver, proxy } = subject
    const outcomes = [
      { outcome: 'done' },
      { outcome: 'retry', delayMs: 60_000, error: 'no' },
      { outcome: 'snooze', delayMs: 60_000 },
      { outcome: 'release' },
      { outcome: 'dead', isFailure: true, error: 'never' },
      { outcome: 'cancelled' },
    ]
    await driver.enqueue(
      queue,
      outcomes.map((_, i) => newTask({ isIdKept: i % 2 === 0 })),
    )
    const held = await claim(driver, queue)
    const finish = held.tasks.flatMap((task, i) => finishAs({ ...held, tasks: [task] }, outcomes[i] as object))
    proxy.loseAnswers(2, exchangeScript.sha)
    const { finished, claimed } = await driver.exchange(queue, {
      finish,
      claim: { worker: 'w', nonce: newNonce(), count: 1, leaseMs: 9000 },
    })
    expect(proxy.lost).toBe(2)
    expect(finished).toEqual(outcomes.map(() => 'ok'))
    // The one that was released is the first in line.
    expect(claimed.map(({ id }) => id)).toEqual([held.tasks[3]?.id as string])
    const { total, ...now } = await driver.stats(queue)
    expect(now).toMatchObject({ waiting: 0, scheduled: 2, active: 1, dead: 1 })
    expect(total).toMatchObject({ enqueued: 6, done: 1, failed: 2, dead: 1, cancelled: 1 })
    expect((await driver.show(queue, held.tasks[1]?.id ?? ''))?.errors).toHaveLength(1)
  })

  test('beat, reap and what operators do', async () => {
    await using server = await startOwn('redis')
    await using subject = await behindProxy(server)
    const { driver, proxy } = subject
    const ids = Array.from({ length: 4 }, newId)
    await driver.enqueue(
      queue,
      ids.map(id => newTask({ id })),
    )
    const held = await claim(driver, queue, 3, 5)
    await driver.beat('other', 20, [])
    await driver.reap('other', { leaseMs: 20, crashesMax: 3 })
    for (const operate of [driver.cancel, driver.retry, driver.remove]) await operate('other', ['none'])
    proxy.loseAnswers(1, beatScript.sha)
    expect(await driver.beat(queue, 20, finishAs(held, {}))).toEqual({ lost: [], cancelled: [] })
    await Bun.sleep(30)
    proxy.loseAnswers(1, reapScript.sha)
    // What the first time has taken the second does not tell, but it is done once.
    await driver.reap(queue, { leaseMs: 20, crashesMax: 3 })
    expect(await driver.stats(queue)).toMatchObject({ waiting: 4, active: 0, total: { crashed: 3 } })
    proxy.loseAnswers(1, cancelScript.sha)
    await driver.cancel(queue, [ids[0] as string])
    const again = await claim(driver, queue, 2)
    await driver.exchange(queue, { finish: finishAs(again, { outcome: 'dead', isFailure: false, error: 'no' }) })
    proxy.loseAnswers(1, retryScript.sha)
    await driver.retry(queue, [again.tasks[0]?.id ?? ''])
    proxy.loseAnswers(1, removeScript.sha)
    await driver.remove(queue, [again.tasks[1]?.id ?? ''])
    expect(proxy.lost).toBe(5)
    expect(await driver.stats(queue)).toMatchObject({ waiting: 2, active: 0, dead: 0, total: { cancelled: 1, dead: 2 } })
  })

  test('a server that forgot the scripts is told them again', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url)
    const { driver, raw } = subject
    await driver.enqueue(queue, [newTask()])
    await raw.script('FLUSH')
    expect((await driver.enqueue(queue, [newTask()]))[0]?.status).toBe('enqueued')
    await raw.script('FLUSH')
    expect((await claim(driver, queue)).tasks).toHaveLength(2)
    expect(redisScript('return 1').sha).toHaveLength(40)
  })
})

describeOnRedis('a Redis that is away', () => {
  test('opening warns and goes on; when it comes, the queue works', async () => {
    await using server = await startOwn('redis')
    await server.kill()
    await using subject = await openSubject(server.url, { timeoutMs: 500 })
    const { driver, log } = subject
    expect(log.lines.filter(({ level }) => level === 'warn').map(({ message }) => message)).toContain(
      'Redis does not answer; the task queue works as soon as it does',
    )
    expect(await isUnavailable(driver.enqueue(queue, [newTask()]))).toBe(true)
    expect(await isUnavailable(driver.ping())).toBe(true)
    await server.start()
    await until(() =>
      driver.ping().then(
        () => true,
        () => false,
      ),
    )
    expect((await driver.enqueue(queue, [newTask()]))[0]?.status).toBe('enqueued')
  }, 20_000)

  test('a restart within the time of a call is not noticed by its caller', async () => {
    await using server = await startOwn('redis', ['--appendonly', 'yes', '--appendfsync', 'always'])
    await using subject = await openSubject(server.url, { timeoutMs: 8000 })
    const { driver } = subject
    await driver.enqueue(queue, [newTask()])
    await server.kill()
    const enqueued = driver.enqueue(queue, [newTask()])
    await server.start()
    expect((await enqueued)[0]?.status).toBe('enqueued')
    expect((await claim(driver, queue)).tasks).toHaveLength(2)
  }, 20_000)

  test('SIGSTOP: each call ends in its time, and who comes later is refused at once', async () => {
    await using server = await startOwn('redis')
    await using subject = await openSubject(server.url, { timeoutMs: 600 })
    const { driver } = subject
    await driver.enqueue(queue, [newTask()])
    server.pause()
    const beganMs = performance.now()
    const calls = [driver.enqueue(queue, [newTask()]), claim(driver, queue), driver.stats(queue)]
    expect(await Promise.all(calls.map(isUnavailable))).toEqual([true, true, true])
    expect(performance.now() - beganMs).toBeLessThan(600 + 500)
    await Bun.sleep(600)
    const laterMs = performance.now()
    expect(await isUnavailable(driver.enqueue(queue, [newTask()]))).toBe(true)
    expect(performance.now() - laterMs).toBeLessThan(100)
    server.resume()
    await until(() =>
      driver.ping().then(
        () => true,
        () => false,
      ),
    )
    expect((await driver.stats(queue)).waiting).toBeGreaterThan(0)
  }, 20_000)

  test('connections are killed all the time: nothing is lost, and nothing is worked on twice at once', async () => {
    await using server = await startOwn('redis')
    await using enqueuer = await openSubject(server.url, { prefix: 'bingo', timeoutMs: 5000 })
    await using worker = await openSubject(server.url, { prefix: 'bingo', timeoutMs: 5000 })
    const { raw } = enqueuer
    let isOver = false
    let kills = 0
    const storm = (async () => {
      while (!isOver) {
        await raw.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
        kills++
        await Bun.sleep(25)
      }
    })()
    const ids = Array.from({ length: 2000 }, newId)
    const enqueuing = Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        for (let at = i * 100; at < (i + 1) * 100; at += 4)
          await enqueuer.driver.enqueue(
            queue,
            ids.slice(at, at + 4).map(id => newTask({ id })),
          )
      }),
    )
    const runs = new Map<string, number>()
    const work = async () => {
      while (!(isOver && (await worker.driver.stats(queue)).waiting === 0)) {
        const held = await claim(worker.driver, queue, 20)
        for (const { id } of held.tasks) runs.set(id, (runs.get(id) ?? 0) + 1)
        const { finished } = await worker.driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
        expect(finished.every(status => status === 'ok')).toBe(true)
      }
    }
    const working = Promise.all([work(), work(), work()])
    await enqueuing
    await until(() => runs.size === ids.length, 20_000)
    isOver = true
    await Promise.all([storm, working])
    expect(kills).toBeGreaterThan(4)
    expect(ids.filter(id => !runs.has(id))).toEqual([])
    const doubled = [...runs.values()].filter(times => times > 1).length
    // One whose enqueueing was said again after it had been worked off.
    expect(doubled).toBeLessThan(kills * 4)
    expect(await worker.driver.stats(queue)).toMatchObject({ waiting: 0, active: 0 })
    expect((await enqueuer.keysOf(queue)).filter(key => !/^(m|w|cl:.*)$/.test(key))).toEqual([])
  }, 40_000)
})
