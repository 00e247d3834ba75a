import { describe, expect, test } from 'bun:test'
import type { NewTask } from '@/infra/queue/driver'
import { findingsOf, longMs, shortMs, type TestQueue } from './fixture'
import type { QueueStoreName } from './stores'

/** Many small tasks that are collected into one. */
export function groupSuite(newQueue: () => TestQueue, _: QueueStoreName): void {
  const rule = { key: 'k'.repeat(22), countMax: 3, bytesMax: 1000, delayMs: longMs, delayMaxMs: 2 * longMs }
  /** A queue, and a way to enqueue members of a group one by one, by their envelopes. */
  function scene(over: Partial<typeof rule> = {}) {
    const queue = newQueue()
    const group = { ...rule, ...over }
    const add = async (envelope: string, more: Partial<NewTask> = {}) =>
      (await queue.enqueue({ envelope, group, ...more }))[0] as Awaited<ReturnType<TestQueue['enqueue']>>[number]
    return { ...queue, group, add }
  }
  const envelopeOf = async ({ show }: TestQueue, id: string) => (await show(id))?.envelope

  test('the first opens a task that starts after the delay, and those that come are added to it', async () => {
    const queue = scene()
    const first = await queue.add('one')
    expect(first.status).toBe('enqueued')
    for (const text of ['two', 'three']) expect(await queue.add(text)).toEqual({ id: first.id, status: 'joined' })
    expect(await envelopeOf(queue, first.id)).toBe('one\ntwo\nthree')
    expect((await queue.driver.stats(queue.name)).total.enqueued).toBe(1)
  })

  describe('a group is due at once', () => {
    test('when so many are in it, and the next opens another', async () => {
      const queue = scene()
      const { id } = await queue.add('a')
      await queue.add('b')
      expect(await queue.ids('scheduled')).toEqual([id])
      expect(await queue.claim()).toEqual([])
      await queue.add('c')
      expect(await queue.ids('waiting')).toEqual([id])
      const other = await queue.add('d')
      expect([other.status, other.id === id]).toEqual(['enqueued', false])
      expect((await queue.claimOne()).envelope).toBe('a\nb\nc')
      expect(await queue.ids('scheduled')).toEqual([other.id])
    })

    test('when it is as large as it may be, counted in bytes', async () => {
      const queue = scene({ bytesMax: 6, countMax: 100 })
      const { id } = await queue.add('é')
      await queue.add('é')
      expect(await queue.ids('waiting')).toEqual([])
      await queue.add('é')
      expect(await queue.ids('waiting')).toEqual([id])
    })

    test('when the next would make it larger than it may be, and that one opens another', async () => {
      const queue = scene({ bytesMax: 6, countMax: 100 })
      const { id } = await queue.add('aaaa')
      const other = await queue.add('bbb')
      expect(other).toEqual({ id: other.id, status: 'enqueued' })
      expect(await queue.ids('waiting')).toEqual([id])
      expect(await queue.ids('scheduled')).toEqual([other.id])
      expect(await queue.add('cc')).toEqual({ id: other.id, status: 'joined' })
    })

    test('when one alone is as many or as large as it may be', async () => {
      const queue = scene({ bytesMax: 6 })
      const large = await queue.add('aaaaaaaa')
      const single = await queue.add('b', { group: { ...rule, countMax: 1 } })
      expect([large.status, single.status]).toEqual(['enqueued', 'enqueued'])
      expect(await queue.ids('waiting')).toEqual([large.id, single.id])
    })
  })

  test('each that comes moves the start, but not beyond the longest time after the first', async () => {
    const { add, show, store, driver, name } = scene({ delayMs: 60_000, delayMaxMs: 60_050, countMax: 100 })
    const beganMs = await store.nowMs()
    const { id } = await add('a')
    const openedMs = await store.nowMs()
    const startMs = async () => (await show(id))?.atMs ?? 0
    const firstMs = await startMs()
    expect(firstMs).toBeGreaterThanOrEqual(beganMs + 60_000)
    expect(firstMs).toBeLessThanOrEqual(openedMs + 60_000)
    await store.advance(20)
    await add('b')
    const secondMs = await startMs()
    expect(secondMs).toBeGreaterThanOrEqual(firstMs + 20)
    await store.advance(100)
    await add('c')
    expect(await startMs()).toBe(firstMs + 50)
    const { nextDueMs } = await driver.exchange(name, { claim: { worker: 'w:1', nonce: 'n'.repeat(16), count: 1, leaseMs: longMs } })
    expect(nextDueMs).toBeLessThanOrEqual(60_050)
  })

  test('it starts when nothing new has come for so long; what comes when it is due opens another', async () => {
    const queue = scene({ delayMs: shortMs, delayMaxMs: longMs })
    const { id } = await queue.add('a')
    await queue.add('b')
    const held = await queue.until(async () => (await queue.claim())[0])
    expect(held).toMatchObject({ id, envelope: 'a\nb', attempt: 1 })
    const late = scene({ delayMs: 5, delayMaxMs: longMs })
    const due = await late.add('a')
    await late.store.advance(10)
    expect((await late.add('b')).status).toBe('enqueued')
    expect(await late.show(due.id)).toMatchObject({ envelope: 'a' })
  })

  test('of one call each is added or opens another, with replies in their order', async () => {
    const { enqueue, group, ids, show } = scene()
    const replies = await enqueue(...Array.from('abcdefgh', envelope => ({ id: `call-${envelope}`, envelope, group })))
    expect(replies).toEqual(
      [...'abcdefgh'].map(letter => {
        const opener = letter < 'd' ? 'a' : letter < 'g' ? 'd' : 'g'
        return { id: `call-${opener}`, status: letter === opener ? 'enqueued' : 'joined' }
      }),
    )
    expect(await ids('waiting')).toEqual(['call-a', 'call-d'])
    expect((await show('call-d'))?.envelope).toBe('d\ne\nf')
    expect((await show('call-g'))?.envelope).toBe('g\nh')
  })

  test('keys are apart, and what belongs to no group is', async () => {
    const { add, enqueue, ids, show } = scene()
    const [one, other] = [await add('a'), await add('b', { group: { ...rule, key: 'l'.repeat(22) } })]
    await enqueue({ envelope: 'plain' }, { envelope: 'later', delayMs: longMs })
    await add('c')
    expect([(await show(one.id))?.envelope, (await show(other.id))?.envelope]).toEqual(['a\nc', 'b'])
    expect(await ids('waiting')).toHaveLength(1)
    expect(await ids('scheduled')).toHaveLength(3)
  })

  test('priorities hold among groups that are due', async () => {
    const { add, claim } = scene({ countMax: 1 })
    await add('late', { priority: 7 })
    await add('soon', { priority: 1 })
    expect((await claim(2)).map(({ envelope }) => envelope)).toEqual(['soon', 'late'])
  })

  test('a group waits in the lane of its first, in the order in which it was full, under the limit of the lane', async () => {
    const { driver, name, add, enqueue, group } = scene({ countMax: 2 })
    const lane = 'mail/acme'
    await enqueue({ id: 'plain', priority: 9 })
    await add('a', { id: 'one', lane })
    await enqueue(
      { id: 'two', envelope: 'x', lane, group: { ...group, key: 'l'.repeat(22) } },
      { envelope: 'b', lane, group },
      { id: 'after', lane },
      { envelope: 'y', lane, group: { ...group, key: 'l'.repeat(22) } },
    )
    const claim = async (nonce: string) =>
      (
        await driver.exchange(name, {
          claim: { worker: 'w:1', nonce, count: 9, leaseMs: longMs, limits: { lanes: { mail: { concurrency: 2 } } } },
        })
      ).claimed
    const first = await claim('a'.repeat(16))
    expect(first.map(({ id, envelope }) => [id, id === 'one' ? envelope : ''])).toEqual([
      ['one', 'a\nb'],
      ['after', ''],
      ['plain', ''],
    ])
    const held = first.map(({ id, attempt }) => ({ id, attempt, nonce: 'a'.repeat(16), outcome: 'done' as const }))
    await driver.exchange(name, { finish: held })
    expect(await claim('b'.repeat(16))).toMatchObject([{ id: 'two', envelope: 'x\ny' }])
    expect(await findingsOf(driver, name, false)).toEqual([])
  })

  describe('an id that is kept', () => {
    test('is remembered when it joins: it is in one group, however often it is said', async () => {
      const queue = scene()
      const { id } = await queue.add('a', { id: 'opens', isIdKept: true })
      const kept = { id: 'joins', isIdKept: true }
      expect(await queue.add('b', kept)).toEqual({ id, status: 'joined' })
      expect(await queue.add('b', kept)).toEqual({ id: 'joins', status: 'duplicate' })
      expect(await queue.add('a', { id: 'opens', isIdKept: true })).toEqual({ id: 'opens', status: 'duplicate' })
      await queue.add('c')
      await queue.finish(await queue.claimOne(), { outcome: 'done' })
      for (const each of ['opens', 'joins'])
        expect(await queue.add('d', { id: each, isIdKept: true })).toEqual({ id: each, status: 'duplicate' })
      expect(await queue.driver.enqueue(queue.name, [queue.newTask(kept)])).toEqual([{ id: 'joins', status: 'duplicate' }])
      expect(await queue.store.leftovers(queue.name)).toEqual([])
    })

    test('that is said twice in one call joins once', async () => {
      const { enqueue, group, show } = scene()
      const kept = { id: 'joins', isIdKept: true, envelope: 'b', group }
      const replies = await enqueue({ id: 'opens', envelope: 'a', group }, kept, kept)
      expect(replies.map(({ status }) => status)).toEqual(['enqueued', 'joined', 'duplicate'])
      expect((await show('opens'))?.envelope).toBe('a\nb')
    })

    test('of a task that waits does not join', async () => {
      const { enqueue, group } = scene()
      await enqueue({ id: 'there', isIdKept: true }, { id: 'opens', envelope: 'a', group })
      expect(await enqueue({ id: 'there', isIdKept: true, envelope: 'b', group })).toEqual([{ id: 'there', status: 'duplicate' }])
    })

    test('is forgotten a day after it has joined', async () => {
      const { add, name, store } = scene()
      await add('a')
      await add('b', { id: 'joins', isIdKept: true })
      await store.passKeptTime(name, 'joins')
      expect((await add('b', { id: 'joins', isIdKept: true })).status).not.toBe('duplicate')
    })
  })

  describe('nothing is added any more to a group that', () => {
    test('has been started, also when it is to be tried again later', async () => {
      const queue = scene({ countMax: 2 })
      const { id } = await queue.add('a')
      await queue.add('b')
      const held = await queue.claimOne()
      const second = await queue.add('c')
      expect(second.status).toBe('enqueued')
      await queue.finish(held, { outcome: 'retry', delayMs: longMs, error: 'no' })
      expect(await queue.add('d')).toEqual({ id: second.id, status: 'joined' })
      expect(await envelopeOf(queue, id)).toBe('a\nb')
    })

    test('was cancelled or removed', async () => {
      const { add, driver, name } = scene()
      for (const end of ['cancel', 'remove'] as const) {
        const { id } = await add('a')
        await driver[end](name, [id])
        expect((await add('b')).status).toBe('enqueued')
        expect(await driver.show(name, id)).toBeUndefined()
      }
    })

    test('is a dead letter, which is retried as it was', async () => {
      const { add, driver, name, claimOne, finish } = scene({ countMax: 2 })
      const { id } = await add('a')
      await add('b')
      await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
      expect((await add('c')).status).toBe('enqueued')
      await driver.retry(name, [id])
      expect((await claimOne()).envelope).toBe('a\nb')
    })
  })

  test('a group whose worker was lost is given again, whole', async () => {
    const queue = scene({ countMax: 2 })
    await queue.trust()
    const { id } = await queue.add('a')
    await queue.add('b')
    await queue.claimOne({ leaseMs: 1 })
    await queue.store.advance(5)
    expect((await queue.reap()).again).toEqual([id])
    expect(await queue.claimOne()).toMatchObject({ id, attempt: 2, crashes: 1, envelope: 'a\nb' })
  })

  test('who is idle is woken when a group is full, and is told of one that is opened', async () => {
    const { add, driver, name, until } = scene({ countMax: 2 })
    let words = 0
    const unwatch = driver.watch(name, { wake: () => void words++, cancelled() {} })
    const claim = (nonce: string) => driver.exchange(name, { claim: { worker: 'w:1', nonce, count: 1, leaseMs: longMs } })
    expect((await claim('a'.repeat(16))).nextDueMs).toBeUndefined()
    const seen = words
    await add('a')
    await until(async () => words > seen)
    expect((await claim('b'.repeat(16))).nextDueMs).toBeGreaterThan(0)
    const idle = words
    await add('b')
    await until(async () => words > idle)
    unwatch()
  })

  test('of many in two processes at once each joins one group, and no group is larger than it may be', async () => {
    const { driver, rival, name, newTask, group } = scene({ countMax: 7 })
    const calls = Array.from({ length: 100 }, (_, call) =>
      (call % 2 === 0 ? driver : rival).enqueue(
        name,
        Array.from({ length: 1 + (call % 3) }, (_, i) => newTask({ envelope: `${call}.${i}`, group, isIdKept: call % 4 === 0 })),
      ),
    )
    const replies = (await Promise.all(calls)).flat()
    const { waiting, scheduled } = await driver.stats(name)
    expect(replies.filter(({ status }) => status === 'enqueued')).toHaveLength(waiting + scheduled)
    const tasks = [...(await driver.list(name, 'waiting', 1000)).tasks, ...(await driver.list(name, 'scheduled', 1000)).tasks]
    const groups = tasks.map(({ envelope = '' }) => envelope.split('\n'))
    expect(groups.filter(lines => lines.length > 7)).toEqual([])
    expect(groups.filter(lines => lines.length < 7).length).toBeLessThanOrEqual(1)
    const all = Array.from({ length: 100 }, (_, call) => Array.from({ length: 1 + (call % 3) }, (_, i) => `${call}.${i}`)).flat()
    expect(groups.flat().toSorted()).toEqual(all.toSorted())
    expect(await findingsOf(driver, name, false)).toEqual([])
  })
}
