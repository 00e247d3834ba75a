import { describe, expect, test } from 'bun:test'
import { longMs, shortMs, type TestQueue } from './fixture'

/** What enqueueing says and does. */
export function enqueueSuite(newQueue: () => TestQueue): void {
  test('what is enqueued waits, as it was said', async () => {
    const { newTask, driver, name, show, all } = newQueue()
    const task = newTask({ priority: 3 })
    expect(await driver.enqueue(name, [task])).toEqual([{ id: task.id, status: 'enqueued' }])
    expect(await show(task.id)).toMatchObject({
      ...{ id: task.id, state: 'waiting', priority: 3, envelope: task.envelope },
      ...{ attempt: 0, failures: 0, crashes: 0, isCancelled: false, errors: [] },
    })
    expect(await all()).toEqual({ waiting: [task.id], scheduled: [], active: [], dead: [] })
  })

  test('no tasks at all is no error', async () => {
    const { driver, name, all } = newQueue()
    expect(await driver.enqueue(name, [])).toEqual([])
    expect(await all()).toEqual({ waiting: [], scheduled: [], active: [], dead: [] })
  })

  test('a process sees what another has enqueued', async () => {
    const { rival, name, newTask, claimOne } = newQueue()
    const task = newTask()
    await rival.enqueue(name, [task])
    expect(await claimOne()).toMatchObject({ id: task.id, envelope: task.envelope })
  })

  test('two queues do not see each other', async () => {
    const [one, other] = [newQueue(), newQueue()]
    const unique = { key: 'k'.repeat(22), forMs: longMs }
    const task = one.newTask({ isIdKept: true, unique })
    expect(await one.driver.enqueue(one.name, [task])).toEqual([{ id: task.id, status: 'enqueued' }])
    expect(await other.claim(10)).toEqual([])
    expect(await other.show(task.id)).toBeUndefined()
    expect(await other.driver.cancel(other.name, [task.id])).toEqual(['absent'])
    expect(await other.driver.enqueue(other.name, [{ ...task, envelope: 'other' }])).toEqual([{ id: task.id, status: 'enqueued' }])
    const held = await one.claimOne()
    expect(held.envelope).toBe(task.envelope)
    expect(await other.finish(held, { outcome: 'done' })).toBe('stale')
    expect(await other.ids('waiting')).toEqual([task.id])
  })

  describe('order', () => {
    test('tasks of one priority are claimed in the order in which they were enqueued', async () => {
      const { enqueue, claim, ids } = newQueue()
      const replies = [...(await enqueue({}, {}, {})), ...(await enqueue({})), ...(await enqueue({}, {}))]
      const inOrder = replies.map(({ id }) => id)
      expect(await ids('waiting')).toEqual(inOrder)
      expect((await claim(2)).map(({ id }) => id)).toEqual(inOrder.slice(0, 2))
      expect((await claim(9)).map(({ id }) => id)).toEqual(inOrder.slice(2))
    })

    test('ids say nothing about the order', async () => {
      const { enqueue, claim } = newQueue()
      const inOrder = ['m', 'z', 'a', '~', '!', 'b']
      await enqueue(...inOrder.map(id => ({ id })))
      expect((await claim(9)).map(({ id }) => id)).toEqual(inOrder)
    })

    test('while a task of a lower number waits, none of a higher one is claimed', async () => {
      const { enqueue, claim, ids } = newQueue()
      const priorities = [9, 0, 5, 4, 0, 8, 1, 3, 2, 7, 6, 5]
      await enqueue(...priorities.map(priority => ({ priority })))
      const listed = await ids('waiting')
      const claimed = [...(await claim(1)), ...(await claim(5)), ...(await claim(20))].map(({ id }) => id)
      expect(claimed).toEqual(listed)
      const byId = new Map(listed.toSorted().map((id, i) => [id, priorities[i]]))
      expect(claimed.map(id => byId.get(id))).toEqual(priorities.toSorted())
    })

    test('one that comes later with a lower number is next', async () => {
      const { enqueue, claimOne } = newQueue()
      await enqueue({ priority: 1 }, { priority: 1 })
      await claimOne()
      const [urgent] = await enqueue({ priority: 0 })
      expect((await claimOne()).id).toBe(urgent?.id as string)
    })
  })

  describe('a delay', () => {
    test('ends before the task is claimed, never after, by the clock of the store', async () => {
      const { enqueue, driver, claim, name, show, store, until } = newQueue()
      const [reply] = await enqueue({ delayMs: shortMs })
      const stored = await show(reply?.id as string)
      expect(stored).toMatchObject({ state: 'scheduled', attempt: 0 })
      const dueMs = stored?.atMs as number
      const early = await driver.exchange(name, { claim: { worker: 'host:1', nonce: 'n'.repeat(16), count: 9, leaseMs: longMs } })
      expect(early.claimed).toEqual([])
      expect(early.nextDueMs).toBeGreaterThan(0)
      expect(early.nextDueMs).toBeLessThanOrEqual(shortMs)
      const [held] = await until(async () => {
        const claimed = await claim(9)
        return claimed.length > 0 && claimed
      })
      expect(held?.id).toBe(reply?.id as string)
      expect(await store.nowMs()).toBeGreaterThanOrEqual(dueMs)
    })

    test('is counted from when it was enqueued', async () => {
      const { enqueue, show, store } = newQueue()
      const earliestMs = await store.nowMs()
      const [reply] = await enqueue({ delayMs: 31_536_000_000 })
      const latestMs = await store.nowMs()
      const { atMs = 0 } = (await show(reply?.id as string)) ?? {}
      expect(atMs - 31_536_000_000).toBeGreaterThanOrEqual(earliestMs)
      expect(atMs - 31_536_000_000).toBeLessThanOrEqual(latestMs)
    })

    test('makes who is due first the first, and priorities hold among those that are due', async () => {
      const { enqueue, ids, claim, store } = newQueue()
      await enqueue(
        { id: 'c', delayMs: shortMs },
        { id: 'b', delayMs: 50 },
        { id: 'a', delayMs: 100 },
        { id: 'urgent', delayMs: 150, priority: 0 },
        { id: 'far', delayMs: longMs, priority: 0 },
      )
      expect(await ids('scheduled')).toEqual(['b', 'a', 'urgent', 'c', 'far'])
      await store.advance(shortMs + 1)
      expect((await claim(9)).map(({ id }) => id)).toEqual(['urgent', 'b', 'a', 'c'])
      expect(await ids('scheduled')).toEqual(['far'])
    })

    test('of one does not hold up others', async () => {
      const { enqueue, claim } = newQueue()
      await enqueue({ id: 'later', delayMs: longMs, priority: 0 }, { id: 'now', priority: 9 })
      expect((await claim(9)).map(({ id }) => id)).toEqual(['now'])
    })
  })

  describe('an id', () => {
    test('that is there already, in whatever state, is a duplicate, and nothing is changed', async () => {
      const { newTask, driver, name, enqueue, claimOne, finish, all, show } = newQueue()
      await enqueue({ id: 'dead' }, { id: 'active' })
      await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: true })
      await claimOne()
      await enqueue({ id: 'waiting' }, { id: 'scheduled', delayMs: longMs })
      const before = await all()
      expect(before).toEqual({ waiting: ['waiting'], scheduled: ['scheduled'], active: ['active'], dead: ['dead'] })
      for (const isIdKept of [false, true]) {
        for (const id of ['dead', 'active', 'waiting', 'scheduled']) {
          const was = await show(id)
          const again = newTask({ id, isIdKept, envelope: 'another', priority: 0 })
          expect(await driver.enqueue(name, [again])).toEqual([{ id, status: 'duplicate' }])
          expect([await show(id)]).toEqual([was])
        }
      }
      expect(await all()).toEqual(before)
    })

    test('said twice in one call is enqueued once, as said first', async () => {
      const { enqueue, claim } = newQueue()
      const replies = await enqueue({ id: 'a', envelope: 'first' }, { id: 'b' }, { id: 'a', envelope: 'second' })
      expect(replies.map(({ status }) => status)).toEqual(['enqueued', 'enqueued', 'duplicate'])
      expect(await claim(9)).toMatchObject([{ id: 'a', envelope: 'first' }, { id: 'b' }])
    })

    test('that is not kept may be used again once its task has ended', async () => {
      const { newTask, driver, name, claimOne, finish, enqueue } = newQueue()
      const task = newTask()
      for (const outcome of ['done', 'cancelled', 'done'] as const) {
        expect(await driver.enqueue(name, [task])).toEqual([{ id: task.id, status: 'enqueued' }])
        const held = await claimOne()
        expect(held).toMatchObject({ id: task.id, attempt: 1, failures: 0, crashes: 0 })
        expect(await finish(held, { outcome })).toBe('ok')
      }
      await enqueue({ id: task.id })
      expect(await driver.cancel(name, [task.id])).toEqual(['cancelled'])
      expect(await driver.enqueue(name, [task])).toEqual([{ id: task.id, status: 'enqueued' }])
    })

    const ends: Record<string, (queue: TestQueue, id: string) => Promise<unknown>> = {
      'was done': async ({ claimOne, finish }) => finish(await claimOne(), { outcome: 'done' }),
      'was cancelled before it began': ({ driver, name }, id) => driver.cancel(name, [id]),
      'was cancelled while it ran': async ({ claimOne, finish }) => finish(await claimOne(), { outcome: 'cancelled' }),
      'died and was removed': async ({ claimOne, finish, driver, name }, id) => {
        await finish(await claimOne(), { outcome: 'dead', error: 'no', isFailure: false })
        await driver.remove(name, [id])
      },
    }
    describe('An id is enqueued once, until 24 hours after its task has ended', () => {
      for (const [how, end] of Object.entries(ends)) {
        test(`that ${how}, and then again`, async () => {
          const queue = newQueue()
          const task = queue.newTask({ isIdKept: true })
          const enqueue = () => queue.driver.enqueue(queue.name, [task])
          await enqueue()
          await end(queue, task.id)
          expect(await queue.show(task.id)).toBeUndefined()
          expect(await enqueue()).toEqual([{ id: task.id, status: 'duplicate' }])
          expect(await queue.claim(9)).toEqual([])
          await queue.store.passKeptTime(queue.name, task.id)
          expect(await enqueue()).toEqual([{ id: task.id, status: 'enqueued' }])
          expect((await queue.claimOne()).attempt).toBe(1)
        })
      }
    })

    test('may be of all printable characters, and long', async () => {
      const { enqueue, ids, claim, finish, show } = newQueue()
      const printable = Array.from({ length: 94 }, (_, i) => String.fromCharCode(33 + i)).filter(each => !'{}'.includes(each))
      const long = printable.join('').padEnd(128, 'x')
      const names = [long, ...printable, 'a:b', 'e:a', '*', '%s', '-1', '0', '__proto__', 'constructor']
      const unlike = [...new Set(names)]
      await enqueue(...unlike.map(id => ({ id })))
      expect(await ids('waiting')).toEqual(unlike)
      const held = await claim(1000)
      expect(held.map(({ id }) => id)).toEqual(unlike)
      expect((await show(long))?.state).toBe('active')
      for (const each of held) expect(await finish(each, { outcome: 'done' })).toBe('ok')
    })
  })

  test('replies are in the order of the tasks', async () => {
    const { enqueue, ids } = newQueue()
    const unique = { key: 'u'.repeat(22), forMs: longMs }
    await enqueue({ id: 'there' }, { id: 'holder', unique })
    expect(await enqueue({ id: 'x' }, { id: 'there' }, { id: 'y', unique }, { id: 'z', delayMs: longMs }, { id: 'w' })).toEqual([
      { id: 'x', status: 'enqueued' },
      { id: 'there', status: 'duplicate' },
      { id: 'holder', status: 'unique' },
      { id: 'z', status: 'enqueued' },
      { id: 'w', status: 'enqueued' },
    ])
    expect(await ids('waiting')).toEqual(['there', 'holder', 'x', 'w'])
  })

  test('a call that is made again, since its answer was lost, enqueues nothing more', async () => {
    const { newTask, driver, rival, name, all } = newQueue()
    const unique = { key: 'u'.repeat(22), forMs: longMs }
    const tasks = [newTask(), newTask({ isIdKept: true }), newTask({ delayMs: longMs }), newTask({ unique })]
    await driver.enqueue(name, tasks)
    const before = await all()
    const again = await rival.enqueue(name, tasks)
    expect(again).toEqual(tasks.map(({ id }) => ({ id, status: 'duplicate' })))
    expect(await all()).toEqual(before)
  })

  describe('an envelope', () => {
    const odd = {
      empty: '',
      'like a number': '0',
      'like what a driver may put before it': '1:k:{"a"}|\u001f\t5 ',
      'with every kind of character': 'Grüße, 世界 👩‍👩‍👧 \u0001\u007f\u2028\n\r\t"\\\'%{}[]',
      'of a million characters': `["big",${JSON.stringify('é'.repeat(500_000))}]`,
    }
    for (const [what, envelope] of Object.entries(odd)) {
      test(`that is ${what} comes back as it was`, async () => {
        const { enqueue, claimOne, show, finish } = newQueue()
        await enqueue({ id: 'plain', envelope }, { id: 'unique', envelope, isIdKept: true, unique: { key: 'k'.repeat(22), forMs: longMs } })
        for (const id of ['plain', 'unique']) {
          expect((await show(id))?.envelope).toBe(envelope)
          const held = await claimOne()
          expect(held.envelope).toBe(envelope)
          expect(await finish(held, { outcome: 'done' })).toBe('ok')
        }
      })
    }
  })
}
