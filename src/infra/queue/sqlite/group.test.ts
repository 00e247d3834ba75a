import { afterAll, beforeAll, expect, test } from 'bun:test'
import { newClaim, newTask, openQueueFile, type QueueFile } from '@/testing/sqlite-queue'

/** When what is called becomes true for others, and what a transaction of the caller has to do with it. */
let file: QueueFile
beforeAll(async () => {
  file = await openQueueFile()
})
afterAll(() => file.close())

let count = 0
const newQueue = () => `q${++count}`
const idsIn = (queue: string) =>
  file.raw
    .query('select "id" from "queueTask" where "queue" = ? order by "seq"')
    .all(queue)
    .map(row => (row as { id: string }).id)

/** Counts what watchers are told. */
function watched(queue: string) {
  const seen = { woken: 0, cancelled: [] as string[] }
  const stop = file.queue.watch(queue, { wake: () => void seen.woken++, cancelled: id => void seen.cancelled.push(id) })
  return { seen, stop }
}

test('what is called at once shares commits, and each promise resolves when its own is over', async () => {
  const queue = newQueue()
  const tasks = Array.from({ length: 600 }, () => newTask())
  const groups = new Set<number>()
  await Promise.all(
    tasks.map(async task => {
      await file.queue.enqueue(queue, [task])
      const there = idsIn(queue)
      expect(there).toContain(task.id)
      groups.add(there.length)
    }),
  )
  // 256 at most in one.
  expect([...groups]).toEqual([256, 512, 600])
  expect(idsIn(queue)).toEqual(tasks.map(({ id }) => id))
})

test('calls that were not awaited are carried out in their order', async () => {
  const queue = newQueue()
  const claim = newClaim(2)
  const [, first, second] = await Promise.all([
    file.queue.enqueue(queue, [newTask({ id: 'a' }), newTask({ id: 'b' })]),
    file.queue.exchange(queue, { claim }),
    file.queue.exchange(queue, { finish: [{ id: 'a', attempt: 1, nonce: claim.nonce, outcome: 'done' }], claim: newClaim(1) }),
    file.queue.enqueue(queue, [newTask({ id: 'c' })]),
  ])
  expect(first.claimed.map(({ id }) => id)).toEqual(['a', 'b'])
  expect(second).toEqual({ finished: ['ok'], claimed: [] })
  expect(idsIn(queue)).toEqual(['b', 'c'])
})

test('a call that fails by its own fault fails alone', async () => {
  const queue = newQueue()
  const calls = [newTask({ id: 'a' }), newTask({ id: 'wrong', priority: 12 }), newTask({ id: 'b' })]
  const settled = await Promise.allSettled(calls.map(task => file.queue.enqueue(queue, [task])))
  expect(settled.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled'])
  expect(idsIn(queue)).toEqual(['a', 'b'])
  expect(await file.queue.stats(queue)).toMatchObject({ waiting: 2, total: { enqueued: 2 } })
})

test('a task that is enqueued in a transaction is there when that has committed, and not before', async () => {
  const queue = newQueue()
  const { seen, stop } = watched(queue)
  await file.db.tx(async tx => {
    expect(await file.queue.enqueue(queue, [newTask({ id: 'a' })], { tx: tx })).toEqual([{ id: 'a', status: 'enqueued' }])
    expect(await file.queue.enqueue(queue, [newTask({ id: 'a' })], { tx: tx })).toEqual([{ id: 'a', status: 'duplicate' }])
    expect([idsIn(queue), seen.woken]).toEqual([[], 0])
  })
  expect([idsIn(queue), seen.woken]).toEqual([['a'], 1])
  stop()
})

test('a transaction that is undone leaves no task, and wakes nobody', async () => {
  const queue = newQueue()
  const { seen, stop } = watched(queue)
  const undone = file.db.tx(async tx => {
    await file.queue.enqueue(queue, [newTask(), newTask({ delayMs: 1000 })], { tx: tx })
    throw new Error('no')
  })
  await expect(undone).rejects.toThrow('no')
  await file.db.tx(async tx => {
    await tx
      .tx(async inner => {
        await file.queue.enqueue(queue, [newTask()], { tx: inner })
        throw new Error('not this')
      })
      .catch(() => {})
    expect(seen.woken).toBe(0)
  })
  expect([idsIn(queue), seen.woken]).toEqual([[], 0])
  expect(await file.queue.stats(queue)).toMatchObject({ waiting: 0, scheduled: 0, total: { enqueued: 0 } })
  stop()
})

test('what is enqueued at the same time in one transaction is all there, in order', async () => {
  const queue = newQueue()
  const ids = ['a', 'b', 'c', 'd', 'e']
  await file.db.tx(tx => Promise.all(ids.map(id => file.queue.enqueue(queue, [newTask({ id })], { tx: tx }))))
  expect((await file.queue.exchange(queue, { claim: newClaim(9) })).claimed.map(({ id }) => id)).toEqual(ids)
  expect(await file.queue.stats(queue)).toMatchObject({ waiting: 0, active: 5, total: { enqueued: 5 } })
})

test('who forgets to hand the transaction on is told, and others do not suffer', async () => {
  const queue = newQueue()
  const outside = newTask({ id: 'outside' })
  const begun = Promise.withResolvers<void>()
  const inside = file.db.tx(async () => {
    begun.resolve()
    await file.queue.enqueue(queue, [newTask({ id: 'inside' })])
  })
  await begun.promise
  const other = file.queue.enqueue(queue, [outside])
  await expect(inside).rejects.toThrow('the outer database was used inside a transaction')
  await other
  expect(idsIn(queue)).toEqual(['outside'])
})

test('a queue that is closed finishes what is under way, and refuses the rest', async () => {
  const own = await openQueueFile(file.path)
  const queue = newQueue()
  const underWay = own.queue.enqueue(queue, [newTask({ id: 'a' })])
  const closing = own.queue.close()
  await expect(own.queue.enqueue(queue, [newTask()])).rejects.toMatchObject({ code: 'Unavailable.QueueUnavailable' })
  await expect(own.queue.show(queue, 'a')).rejects.toMatchObject({ code: 'Unavailable.QueueUnavailable' })
  await expect(own.queue.ping()).rejects.toMatchObject({ code: 'Unavailable.QueueUnavailable' })
  expect(await underWay).toEqual([{ id: 'a', status: 'enqueued' }])
  await closing
  await own.close()
})

test('a transaction of another database is refused, and nothing is enqueued in either', async () => {
  const queue = newQueue()
  const [own, other] = [await openQueueFile(), await openQueueFile()]
  const inside = other.db.tx(tx => own.queue.enqueue(queue, [newTask()], { tx: tx }))
  await expect(inside).rejects.toThrow('of another database than the queue')
  for (const each of [own, other]) {
    expect((await each.queue.stats(queue)).total.enqueued).toBe(0)
    await each.close()
  }
})

test('watchers are told of what another process does, and whoever else asks for changes is told, too', async () => {
  const queue = newQueue()
  const own = await openQueueFile(file.path)
  const { seen, stop } = watched(queue)
  file.db.changedElsewhere?.()
  const until = async (isSo: () => boolean) => {
    const endsMs = performance.now() + 5000
    while (!isSo()) {
      if (performance.now() > endsMs) throw new Error(`it was not so: ${JSON.stringify(seen)}`)
      await Bun.sleep(5)
    }
  }
  await own.queue.enqueue(queue, [newTask({ id: 'a' })])
  await until(() => seen.woken > 0)
  await own.queue.exchange(queue, { claim: newClaim(1) })
  expect(await own.queue.cancel(queue, ['a'])).toEqual(['cancelling'])
  await until(() => seen.cancelled.length > 0)
  expect(file.db.changedElsewhere?.()).toBe(true)
  expect(seen.cancelled).toEqual(['a'])
  stop()
  await own.close()
})
