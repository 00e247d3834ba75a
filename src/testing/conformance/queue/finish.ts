import { describe, expect, test } from 'bun:test'
import type { TaskState } from '@/core/queue/admin'
import { type HowItEnded, longMs, shortMs, type TestQueue } from './fixture'

const outcomes: readonly { how: HowItEnded; leads: TaskState | undefined; failures?: number }[] = [
  { how: { outcome: 'done' }, leads: undefined },
  { how: { outcome: 'cancelled' }, leads: undefined },
  { how: { outcome: 'release' }, leads: 'waiting' },
  { how: { outcome: 'retry', delayMs: longMs, error: 'no' }, leads: 'scheduled', failures: 1 },
  { how: { outcome: 'retry', delayMs: 0, error: 'no' }, leads: 'waiting', failures: 1 },
  { how: { outcome: 'snooze', delayMs: longMs }, leads: 'scheduled' },
  { how: { outcome: 'snooze', delayMs: 0 }, leads: 'waiting' },
  { how: { outcome: 'dead', error: 'no', isFailure: true }, leads: 'dead', failures: 1 },
  { how: { outcome: 'dead', error: 'no', isFailure: false }, leads: 'dead' },
]

/** What is said of the end of an attempt, and who may say it. */
export function finishSuite(newQueue: () => TestQueue): void {
  for (const { how, leads, failures = 0 } of outcomes) {
    const title = Object.entries(how)
      .map(([key, value]) => (key === 'outcome' ? value : `${key} ${value}`))
      .join(', ')

    describe(title, () => {
      test(leads ? `leads to ${leads}` : 'ends the task, and nothing of it is left', async () => {
        const { enqueue, claimOne, finish, show, all, store, name } = newQueue()
        await enqueue({ id: 'a' })
        expect(await finish(await claimOne(), how)).toBe('ok')
        const none = { waiting: [], scheduled: [], active: [], dead: [] }
        expect(await all()).toEqual(leads ? { ...none, [leads]: ['a'] } : none)
        const stored = await show('a')
        if (leads) expect(stored).toMatchObject({ state: leads, attempt: 1, failures, crashes: 0, isCancelled: false })
        else expect([stored, await store.leftovers(name)]).toEqual([undefined, []])
      })

      test('said twice is said once', async () => {
        const { enqueue, claimOne, finish, show, driver, name } = newQueue()
        await enqueue({ id: 'a' })
        const held = await claimOne()
        await finish(held, how)
        const before = [await show('a'), (await driver.stats(name)).total]
        const again = await finish(held, how)
        if (leads) expect(again).toBe('ok')
        else expect(['ok', 'gone']).toContain(again)
        expect([await show('a'), (await driver.stats(name)).total]).toEqual(before)
      })

      if (leads === 'waiting') {
        test('said again is known, and changes nothing, though the task was given to somebody since', async () => {
          const { enqueue, claimOne, finish, show } = newQueue()
          await enqueue({ id: 'a' })
          const held = await claimOne()
          await finish(held, how)
          await claimOne()
          const before = await show('a')
          expect(await finish(held, how)).toBe('ok')
          expect([await show('a')]).toEqual([before])
        })
      }

      test('said twice in one call is said once', async () => {
        const { enqueue, claimOne, driver, name, show } = newQueue()
        await enqueue({ id: 'a' })
        const { id, attempt, nonce } = await claimOne()
        const said = { id, attempt, nonce, ...how }
        const { finished } = await driver.exchange(name, { finish: [said, said] })
        expect(finished[0]).toBe('ok')
        expect(finished[1]).not.toBe('stale')
        expect((await show('a'))?.failures ?? failures).toBe(failures)
      })

      for (const [who, lie] of Object.entries({
        attempt: { attempt: 2 },
        'earlier attempt': { attempt: 0 },
        nonce: { nonce: 'x'.repeat(16) },
      })) {
        test(`of another ${who} is stale, and changes nothing`, async () => {
          const { enqueue, claimOne, finish, show, all, driver, name } = newQueue()
          await enqueue({ id: 'a', isIdKept: true, unique: { key: 'k'.repeat(22), forMs: longMs } })
          const held = await claimOne()
          const before = [await show('a'), await all(), (await driver.stats(name)).total]
          expect(await finish({ ...held, ...lie }, how)).toBe('stale')
          expect([await show('a'), await all(), (await driver.stats(name)).total]).toEqual(before)
          expect(await finish(held, how)).toBe('ok')
        })
      }

      test('of one whose task was given to another is stale, and changes nothing', async () => {
        const { enqueue, claimOne, finish, show, store, trust, reap } = newQueue()
        await trust()
        await enqueue({ id: 'a' })
        const lost = await claimOne({ leaseMs: 1 })
        await store.advance(5)
        expect((await reap()).again).toEqual(['a'])
        const waiting = await show('a')
        expect(await finish(lost, how)).toBe('stale')
        expect([await show('a')]).toEqual([waiting])
        const held = await claimOne()
        const active = await show('a')
        expect(await finish(lost, how)).toBe('stale')
        expect([await show('a')]).toEqual([active])
        expect(await finish(held, { outcome: 'done' })).toBe('ok')
        expect(await finish(lost, how)).toBe('gone')
      })

      test('of a task that is not there is gone', async () => {
        const { finish, all } = newQueue()
        expect(await finish({ id: 'nobody', attempt: 1, nonce: 'n'.repeat(16) }, how)).toBe('gone')
        expect(await all()).toEqual({ waiting: [], scheduled: [], active: [], dead: [] })
      })

      test('of a task that waits, and was never claimed, is stale', async () => {
        const { enqueue, finish, ids } = newQueue()
        await enqueue({ id: 'a' })
        for (const attempt of [0, 1])
          for (const nonce of ['', 'n'.repeat(16)]) expect(await finish({ id: 'a', attempt, nonce }, how)).toBe('stale')
        expect(await ids('waiting')).toEqual(['a'])
      })

      test('counts when the lease is over, as long as nobody has taken the task', async () => {
        const { enqueue, claimOne, finish, store, show } = newQueue()
        await enqueue({ id: 'a' })
        const held = await claimOne({ leaseMs: 1 })
        await store.advance(10)
        expect(await finish(held, how)).toBe('ok')
        expect((await show('a'))?.state).toBe(leads as TaskState)
      })
    })
  }

  for (const { how: first, leads } of outcomes) {
    if (leads === undefined) continue
    test(`after ${JSON.stringify(first)} another end of the attempt is stale, and changes nothing`, async () => {
      const { enqueue, claimOne, finish, show } = newQueue()
      await enqueue({ id: 'a' })
      const held = await claimOne()
      await finish(held, first)
      const before = await show('a')
      for (const { how } of outcomes) if (how.outcome !== first.outcome) expect(await finish(held, how)).toBe('stale')
      expect([await show('a')]).toEqual([before])
    })
  }

  test('what is released is next, before those that wait already, and waits no more than they', async () => {
    const { enqueue, claim, finish, ids } = newQueue()
    await enqueue({ id: 'a' }, { id: 'b' }, { id: 'c' }, { id: 'urgent', priority: 0 })
    const [, a] = await claim(2)
    if (!a) throw new Error('too few were claimed')
    await enqueue({ id: 'urgent-too', priority: 0 })
    await finish(a, { outcome: 'release' })
    expect(await ids('waiting')).toEqual(['urgent-too', 'a', 'b', 'c'])
  })

  test('what is released, or snoozes, has not failed', async () => {
    const { enqueue, claimOne, finish, show, driver, name } = newQueue()
    await enqueue({ id: 'a' })
    for (let i = 0; i < 5; i++) {
      await finish(await claimOne(), { outcome: 'release' })
      await finish(await claimOne(), { outcome: 'snooze', delayMs: 0 })
    }
    expect(await show('a')).toMatchObject({ failures: 0, crashes: 0, errors: [], attempt: 10 })
    expect((await driver.stats(name)).total).toEqual({ enqueued: 1, done: 0, failed: 0, crashed: 0, dead: 0, cancelled: 0 })
  })

  for (const outcome of ['retry', 'snooze'] as const) {
    test(`${outcome} waits so long as it says`, async () => {
      const { enqueue, claimOne, finish, claim, show, until, store } = newQueue()
      await enqueue({ id: 'a' })
      const how: HowItEnded = outcome === 'retry' ? { outcome, delayMs: shortMs, error: 'no' } : { outcome, delayMs: shortMs }
      const held = await claimOne()
      const earliestMs = await store.nowMs()
      await finish(held, how)
      const { atMs = 0 } = (await show('a')) ?? {}
      expect(atMs).toBeGreaterThanOrEqual(earliestMs + shortMs)
      expect(atMs).toBeLessThanOrEqual((await store.nowMs()) + shortMs)
      expect(await claim()).toEqual([])
      await until(async () => (await claim()).length > 0)
      expect(await store.nowMs()).toBeGreaterThanOrEqual(atMs)
    })
  }

  test('failures are counted, and told to the next attempt', async () => {
    const { enqueue, claimOne, finish } = newQueue()
    await enqueue({ id: 'a' })
    for (let failures = 0; failures < 4; failures++) {
      const held = await claimOne()
      expect(held).toMatchObject({ failures, crashes: 0, attempt: failures + 1 })
      await finish(held, { outcome: 'retry', delayMs: 0, error: 'no' })
    }
  })

  describe('of errors', () => {
    test('the last ten are kept, oldest first, with attempt and time', async () => {
      const { enqueue, claimOne, finish, show, store } = newQueue()
      await enqueue({ id: 'a' })
      const beganMs = await store.nowMs()
      for (let i = 1; i <= 12; i++) await finish(await claimOne(), { outcome: 'retry', delayMs: 0, error: `no ${i}` })
      await finish(await claimOne(), { outcome: 'dead', error: 'never', isFailure: true })
      const { errors = [], failures } = (await show('a')) ?? {}
      expect(failures).toBe(13)
      expect(errors.map(({ attempt, message }) => [attempt, message])).toEqual([
        ...[4, 5, 6, 7, 8, 9, 10, 11, 12].map((i): [number, string] => [i, `no ${i}`]),
        [13, 'never'],
      ])
      const endedMs = await store.nowMs()
      for (const { at } of errors) {
        expect(at).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
        expect(Date.parse(at)).toBeGreaterThanOrEqual(beganMs)
        expect(Date.parse(at)).toBeLessThanOrEqual(endedMs)
      }
    })

    test('a thousand characters are kept of each, whatever they are', async () => {
      const { enqueue, claimOne, finish, show } = newQueue()
      await enqueue({ id: 'a' })
      const odd = ['é'.repeat(1500), '', 'tab\t, "quotes", \\, \n, \u0001, 世界 and {braces}', 'x'.repeat(1000)]
      for (const error of odd) await finish(await claimOne(), { outcome: 'retry', delayMs: 0, error })
      const kept = (await show('a'))?.errors.map(({ message }) => message)
      expect(kept).toEqual(odd.map(error => error.slice(0, 1000)))
    })

    test('half a character and NUL, which not every store takes, are replaced in it', async () => {
      const { enqueue, claimOne, finish, show } = newQueue()
      await enqueue({ id: 'a' })
      await finish(await claimOne(), { outcome: 'dead', error: `a\0b ${'x'.repeat(995)}😀`, isFailure: true })
      expect((await show('a'))?.errors.map(({ message }) => message)).toEqual([`a�b ${'x'.repeat(995)}�`])
    })
  })
}
