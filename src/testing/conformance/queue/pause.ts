import { expect, test } from 'bun:test'
import type { Claim } from '@/infra/queue/driver'
import { heldOf, longMs, newNonce, type TestQueue } from './fixture'

/** A queue of which nothing is started. */
export function pauseSuite(newQueue: () => TestQueue): void {
  const newClaim = (over: Partial<Claim> = {}): Claim => ({ worker: 'host:1', nonce: newNonce(), count: 10, leaseMs: longMs, ...over })
  const isPaused = async ({ rival, name }: TestQueue) => (await rival.stats(name)).isPaused

  test('from when it is paused nothing is started in any process, until it is resumed', async () => {
    const queue = newQueue()
    const { driver, rival, name, enqueue, all } = queue
    await enqueue({ id: 'a' }, { id: 'b', lane: 'mail/a' })
    await driver.pause(name)
    expect(await isPaused(queue)).toBe(true)
    for (const each of [driver, rival]) expect(await each.exchange(name, { claim: newClaim() })).toEqual({ finished: [], claimed: [] })
    expect((await all()).waiting).toEqual(['a', 'b'])
    await rival.resume(name)
    expect(await isPaused(queue)).toBe(false)
    expect((await driver.exchange(name, { claim: newClaim() })).claimed.map(({ id }) => id).toSorted()).toEqual(['a', 'b'])
  })

  test('what runs goes on, and ends', async () => {
    const { driver, name, enqueue, claim, all } = newQueue()
    await enqueue({ id: 'a' }, { id: 'b' }, { id: 'c' })
    const held = await claim(3)
    await driver.pause(name)
    expect(await driver.beat(name, longMs, held.map(heldOf))).toEqual({ lost: [], cancelled: [] })
    const [a, b, c] = held.map(heldOf)
    if (!a || !b || !c) throw new Error('too few were claimed')
    const reply = await driver.exchange(name, {
      finish: [
        { ...a, outcome: 'done' },
        { ...b, outcome: 'release' },
        { ...c, outcome: 'retry', delayMs: longMs, error: 'no' },
      ],
      claim: newClaim(),
    })
    expect(reply).toMatchObject({ finished: ['ok', 'ok', 'ok'], claimed: [] })
    expect(await all()).toEqual({ waiting: ['b'], scheduled: ['c'], active: [], dead: [] })
  })

  test('what was enqueued, fell due or was retried meanwhile is there when it is resumed', async () => {
    const { driver, name, enqueue, claim, claimOne, finish, store } = newQueue()
    await enqueue({ id: 'dead' })
    await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
    await driver.pause(name)
    await enqueue({ id: 'new' }, { id: 'due', delayMs: 1 })
    await driver.retry(name, ['dead'])
    await store.advance(5)
    expect(await claim(9)).toEqual([])
    await driver.resume(name)
    expect((await claim(9)).map(({ id }) => id).toSorted()).toEqual(['dead', 'due', 'new'])
  })

  test('a claim that is made again, since its answer was lost, gets what is its own', async () => {
    const { driver, name, enqueue } = newQueue()
    await enqueue({ id: 'a' }, { id: 'b' })
    const said = newClaim({ count: 1 })
    const { claimed } = await driver.exchange(name, { claim: said })
    await driver.pause(name)
    expect((await driver.exchange(name, { claim: said })).claimed).toEqual(claimed)
  })

  test('to pause twice is to pause once, and other queues go on', async () => {
    const [queue, other] = [newQueue(), newQueue()]
    await other.enqueue({})
    await queue.enqueue({})
    await queue.driver.pause(queue.name)
    await queue.rival.pause(queue.name)
    expect([await isPaused(queue), await isPaused(other)]).toEqual([true, false])
    expect(await other.claim(9)).toHaveLength(1)
    await queue.driver.resume(queue.name)
    await queue.driver.resume(queue.name)
    expect(await queue.claim(9)).toHaveLength(1)
  })

  test('a queue in which nothing ever was can be paused', async () => {
    const queue = newQueue()
    await queue.driver.pause(queue.name)
    await queue.enqueue({ id: 'a' })
    expect(await queue.claim(9)).toEqual([])
    expect(await queue.ids('waiting')).toEqual(['a'])
    expect((await queue.driver.stats(queue.name)).waiting).toBe(1)
  })

  for (const where of ['its own', 'another'] as const) {
    test(`a worker is woken when ${where} process resumes the queue`, async () => {
      const queue = newQueue()
      let wakes = 0
      const end = queue.driver.watch(queue.name, { wake: () => wakes++, cancelled: () => {} })
      try {
        await queue.driver.pause(queue.name)
        await queue.enqueue({})
        // A word may get lost before the connection stands, so it is said until it is heard.
        const deadlineMs = performance.now() + 5000
        do {
          await queue.driver.pause(queue.name)
          await queue.driver.exchange(queue.name, { claim: newClaim() })
          await Bun.sleep(50)
          wakes = 0
          await (where === 'another' ? queue.rival : queue.driver).resume(queue.name)
          await Bun.sleep(50)
        } while (wakes === 0 && performance.now() < deadlineMs)
        expect(wakes).toBeGreaterThan(0)
      } finally {
        end()
      }
    })
  }
}
