import { expect, test } from 'bun:test'
import { temporaryFolder } from '@/testing/bingo'
import { createTable, failure, newThing, openAgain, things, thingStore } from '@/testing/conformance/fixture'

/** Far more than fit into the time of the test's timers. */
const callsMax = 1_000_000

async function open() {
  const folder = temporaryFolder()
  const db = await openAgain({ url: `sqlite:${folder.path}/busy.db` })
  await createTable(db, things)
  return { db, close: () => db.close().then(() => folder[Symbol.dispose]()) }
}

test('callers that read without end let timers fire, and other callers in', async () => {
  const { db, close } = await open()
  const store = thingStore(db)
  const { id } = await store.create(newThing())
  let isOver = false
  setTimeout(() => {
    isOver = true
  }, 50)
  let calls = 0
  const reader = async () => {
    while (!isOver && calls++ < callsMax) await store.get(id)
  }
  await Promise.all(Array.from({ length: 4 }, reader))
  expect(isOver).toBe(true)
  expect(calls).toBeLessThan(callsMax)
  await close()
})

test('a transaction that asks without end is ended by its time, and nothing is written after it', async () => {
  const { db, close } = await open()
  let calls = 0
  const endless = db.tx(
    async tx => {
      const { id } = await thingStore(tx).create(newThing())
      while (calls++ < callsMax) await thingStore(tx).update(id, { amount: calls })
    },
    { timeoutMs: 50 },
  )
  await expect(endless).rejects.toMatchObject({ code: 'Timeout.TxTimeout' })
  expect(calls).toBeLessThan(callsMax)
  expect(await thingStore(db).count()).toBe(0)
  await close()
})

test('a statement that waits for its turn while its transaction is undone does not run after it', async () => {
  const { db, close } = await open()
  const { id } = await thingStore(db).create(newThing({ amount: 1 }))
  const strays: Promise<string>[] = []
  const undone = db.tx(async tx => {
    // Where the first waits for its turn, the second begins one.
    for (const _ of 'ab') await tx.first('select 1 from "thing"')
    outstay()
    strays.push(failure(tx.run('update "thing" set "amount" = 2')))
    throw new Error('no')
  })
  expect(await failure(undone)).toBe('no')
  expect(await Promise.all(strays)).toEqual(['Unavailable.Busy'])
  expect((await thingStore(db).get(id))?.amount).toBe(1)
  await close()
})

for (const sql of ['select "amount" from "thing"', 'delete from "thing"']) {
  test(`closing lets a call that waits for its turn finish: ${sql}`, async () => {
    const { db, close } = await open()
    await thingStore(db).create(newThing())
    outstay()
    const waiting = failure(sql.startsWith('select') ? db.all(sql) : db.run(sql))
    const closed = close()
    expect(await waiting).toBe('resolved')
    await closed
  })
}

/** Keeps the turn of the event loop until calls have to wait for the next. */
function outstay(): void {
  const sinceMs = performance.now()
  while (performance.now() < sinceMs + 30);
}
