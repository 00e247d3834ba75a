import { afterEach, beforeEach, expect, test } from 'bun:test'
import { newClaim, newTask, openQueueFile, type QueueFile } from '@/testing/sqlite-queue'

/** Tasks that wait for others, in the tables. */
let file: QueueFile
beforeEach(async () => {
  file = await openQueueFile()
})
afterEach(() => file.close())

const follower = { id: 'last', wantsResult: true }
const last = newTask({ id: 'last', after: { count: 2, isDoneNeeded: false } })
const members = ['one', 'two'].map(id => newTask({ id, follower }))

async function end(count: number) {
  const claim = newClaim(count)
  const { claimed } = await file.queue.exchange('default', { claim })
  await file.queue.exchange('default', {
    finish: claimed.map(({ id, attempt }) => ({ id, attempt, nonce: claim.nonce, outcome: 'done' as const })),
  })
  return claimed.map(({ id }) => id)
}

async function check(fix: boolean) {
  const findings: (string | undefined)[][] = []
  let cursor: string | undefined
  do {
    const step = await file.queue.fsck('default', { fix, leaseMs: 60_000, ...(cursor === undefined ? {} : { cursor }) })
    for (const { id, what } of step.findings) findings.push([id, what])
    cursor = step.cursor
  } while (cursor !== undefined)
  return findings
}

test('a whole batch commits with a transaction, or is undone with it', async () => {
  const undone = file.db.tx(async tx => {
    await file.queue.enqueue('default', [last, ...members], { tx })
    throw new Error('undo')
  })
  await expect(undone).rejects.toThrow('undo')
  expect(await file.queue.stats('default')).toMatchObject({ held: 0, waiting: 0 })
  await file.db.tx(async tx => {
    await file.queue.enqueue('default', [last], { tx })
    await file.queue.enqueue('default', members, { tx })
  })
  expect(await file.queue.stats('default')).toMatchObject({ held: 1, waiting: 2, total: { enqueued: 3 } })
  expect(await end(5)).toEqual(['one', 'two'])
  expect(await end(5)).toEqual(['last'])
  expect(file.raw.query('select count(*) as "n" from "queueEnded"').get()).toEqual({ n: 0 })
})

test('one that waits for nobody any more is found, and started when that is asked for', async () => {
  await file.queue.enqueue('default', [last, ...members])
  expect(await check(true)).toEqual([])
  file.raw.run(`update "queueTask" set "needCount" = 0 where "id" = 'last'`)
  const found = [['last', 'it is held, and there is nobody left that it waits for']]
  expect(await check(false)).toEqual(found)
  expect(await check(true)).toEqual(found)
  expect(await check(false)).toEqual([])
  expect(await file.queue.stats('default')).toMatchObject({ held: 0, waiting: 3 })
})

test('a held task that was deleted by hand is not counted any more', async () => {
  await file.queue.enqueue('default', [last, ...members])
  file.raw.run(`delete from "queueTask" where "id" = 'last'`)
  expect(await check(true)).toEqual([[undefined, '1 held tasks were counted, and 0 are there']])
  expect(await file.queue.stats('default')).toMatchObject({ held: 0 })
})

test('ends of which nobody has heard are forgotten after a day, and not before', async () => {
  const count = () => (file.raw.query('select count(*) as "n" from "queueEnded"').get() as { n: number }).n
  await file.queue.enqueue('default', members)
  await end(2)
  const rows = file.raw.query('select "until" from "queueEnded"').all() as { until: number }[]
  expect(rows).toHaveLength(2)
  for (const { until } of rows) expect(Math.abs(until - Date.now() - 86_400_000)).toBeLessThan(60_000)
  const rule = { leaseMs: 1, crashesMax: 3 }
  await file.queue.reap('default', rule)
  expect(count()).toBe(2)
  file.raw.run('update "queueEnded" set "until" = 1')
  await Bun.sleep(5)
  await file.queue.reap('default', rule)
  await Bun.sleep(5)
  await file.queue.reap('default', rule)
  expect(count()).toBe(0)
  // What is forgotten does not count.
  await file.queue.enqueue('default', [last])
  expect(await file.queue.show('default', 'last')).toMatchObject({ state: 'held', heldFor: 2 })
})
