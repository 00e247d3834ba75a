import { expect, test } from 'bun:test'
import { heldOf, type Holding, longMs, type TestQueue } from './fixture'

const text = (n: number) => JSON.stringify({ done: n, message: '世 "é"' })

/** What attempts say of how far they are. */
export function progressSuite(newQueue: () => TestQueue): void {
  const report = ({ driver, name }: TestQueue, held: Holding, progress: string) =>
    driver.report(name, [{ ...heldOf(held), progress }]).then(([own]) => own)

  test('the last is shown, while the task is there', async () => {
    const queue = newQueue()
    await queue.enqueue({ id: 'a' })
    expect(await queue.show('a')).not.toHaveProperty('progress')
    const held = await queue.claimOne()
    expect(await report(queue, held, text(1))).toBe(true)
    expect(await report(queue, held, text(2))).toBe(true)
    expect(await queue.show('a')).toMatchObject({ state: 'active', attempt: 1, progress: text(2) })
    expect((await queue.driver.list(queue.name, 'active', 9)).tasks).toMatchObject([{ id: 'a', progress: text(2) }])
    expect(await queue.driver.peek(queue.name, ['a'])).toEqual([{ progress: text(2) }])
  })

  test('is gone with the task, however it ends', async () => {
    for (const outcome of ['done', 'cancelled'] as const) {
      const queue = newQueue()
      await queue.enqueue({ id: 'a' })
      const held = await queue.claimOne()
      await report(queue, held, text(1))
      expect(await queue.finish(held, { outcome })).toBe('ok')
      expect([await queue.show('a'), await queue.store.leftovers(queue.name)]).toEqual([undefined, []])
    }
    const queue = newQueue()
    await queue.enqueue({ id: 'a' })
    const held = await queue.claimOne()
    await report(queue, held, text(1))
    await queue.finish(held, { outcome: 'release' })
    await queue.driver.remove(queue.name, ['a'])
    expect(await queue.store.leftovers(queue.name)).toEqual([])
  })

  test('stays over attempts, over death and over another try', async () => {
    const queue = newQueue()
    const { enqueue, claimOne, finish, show, driver, name } = queue
    await enqueue({ id: 'a' })
    const first = await claimOne()
    await report(queue, first, text(1))
    await finish(first, { outcome: 'retry', delayMs: 0, error: 'no' })
    expect(await show('a')).toMatchObject({ state: 'waiting', attempt: 1, progress: text(1) })
    const second = await claimOne()
    expect(second).toMatchObject({ attempt: 2, failures: 1 })
    await finish(second, { outcome: 'dead', error: 'no', isFailure: true })
    expect(await show('a')).toMatchObject({ state: 'dead', progress: text(1) })
    expect(await driver.retry(name, ['a'])).toEqual(['retried'])
    const third = await claimOne()
    expect(await driver.peek(name, ['a'])).toEqual([{ progress: text(1) }])
    await report(queue, third, text(3))
    await finish(third, { outcome: 'done', keepForMs: longMs })
    expect(await show('a')).toMatchObject({ state: 'done', progress: text(3) })
    await driver.remove(name, ['a'])
    expect(await queue.store.leftovers(name)).toEqual([])
  })

  test('stays when its worker dies', async () => {
    const queue = newQueue()
    const { enqueue, claimOne, show, store, trust, reap } = queue
    await trust()
    await enqueue({ id: 'a' })
    await report(queue, await claimOne({ leaseMs: 1 }), text(1))
    await store.advance(5)
    expect((await reap()).again).toEqual(['a'])
    expect(await show('a')).toMatchObject({ state: 'waiting', attempt: 1, crashes: 1, progress: text(1) })
    expect(await claimOne()).toMatchObject({ attempt: 2, crashes: 1 })
  })

  test('of an attempt that is not its own any more is not kept', async () => {
    const queue = newQueue()
    const { enqueue, claimOne, finish, show, driver, name } = queue
    await enqueue({ id: 'a' })
    const first = await claimOne()
    await report(queue, first, text(1))
    for (const lie of [{ attempt: 2 }, { attempt: 0 }, { nonce: 'x'.repeat(16) }, { id: 'nobody' }])
      expect(await report(queue, { ...first, ...lie }, text(9))).toBe(false)
    await finish(first, { outcome: 'release' })
    expect(await report(queue, first, text(9))).toBe(false)
    const second = await claimOne()
    expect(
      await driver.report(
        name,
        [first, second].map((held, i) => ({ ...heldOf(held), progress: text(i + 5) })),
      ),
    ).toEqual([false, true])
    expect(await show('a')).toMatchObject({ attempt: 2, progress: text(6) })
    await finish(second, { outcome: 'done', keepForMs: longMs })
    expect(await report(queue, second, text(9))).toBe(false)
    expect(await show('a')).toMatchObject({ state: 'done', progress: text(6) })
    await driver.remove(name, ['a'])
    expect(await report(queue, second, text(9))).toBe(false)
    expect(await queue.store.leftovers(name)).toEqual([])
  })

  test('of a hundred at once goes in one call, also when each is as long as it may be', async () => {
    const { enqueue, claim, driver, name, show } = newQueue()
    await enqueue(...Array.from({ length: 100 }, () => ({})))
    const held = await claim(100)
    const progress = 'x'.repeat(4096)
    expect(
      await driver.report(
        name,
        held.map(one => ({ ...heldOf(one), progress })),
      ),
    ).toEqual(held.map(() => true))
    for (const { id } of [held[0], held[99]] as Holding[]) expect((await show(id))?.progress).toBe(progress)
    expect(await driver.report(name, [])).toEqual([])
  })

  test('changes nothing else of a task', async () => {
    const queue = newQueue()
    await queue.enqueue({ id: 'a', isIdKept: true, unique: { key: 'k'.repeat(22), forMs: longMs } })
    const held = await queue.claimOne()
    const { progress: _, ...before } = (await queue.show('a')) ?? {}
    await report(queue, held, text(1))
    const { progress, ...after } = (await queue.show('a')) ?? {}
    expect([after, progress]).toEqual([before, text(1)])
    expect(await queue.driver.beat(queue.name, longMs, [heldOf(held)])).toEqual({ lost: [], cancelled: [] })
    expect(await queue.enqueue({ id: 'b', unique: { key: 'k'.repeat(22), forMs: longMs } })).toEqual([{ id: 'a', status: 'unique' }])
  })
}
