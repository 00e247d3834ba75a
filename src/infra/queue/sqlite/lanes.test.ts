import { afterEach, beforeEach, expect, test } from 'bun:test'
import { migrateDown, migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { newClaim, newTask, openQueueFile, type QueueFile } from '@/testing/sqlite-queue'
import { type Claim, enqueueMax } from '../driver'

/** What is particular to lanes in tables: that those held back cost nothing, and what is wrong with them can be mended. */
let file: QueueFile
beforeEach(async () => {
  file = await openQueueFile()
})
afterEach(() => file.close())

const limits = { lanes: { one: { concurrency: 1 }, slow: { rate: { intervalMs: 3_600_000, burst: 1 } } } }
const claim = async (count: number, over: Partial<Claim> = {}) =>
  (await file.queue.exchange('default', { claim: { ...newClaim(count), limits, ...over } })).claimed

async function enqueue(lanes: readonly string[], each: number): Promise<void> {
  const tasks = lanes.flatMap(lane => Array.from({ length: each }, () => newTask({ lane })))
  for (let i = 0; i < tasks.length; i += enqueueMax) await file.queue.enqueue('default', tasks.slice(i, i + enqueueMax))
}

/** The time of a claim without its commit, which waits for the disk. The best of several, since others use the machine, too. */
async function claimMs(): Promise<number> {
  let bestMs = Number.POSITIVE_INFINITY
  for (let i = 0; i < 20; i++) {
    const sinceMs = performance.now()
    expect(await claim(1)).toHaveLength(1)
    bestMs = Math.min(bestMs, performance.now() - sinceMs)
  }
  return bestMs
}

const limitMs = 5

for (const kind of ['one', 'slow'] as const) {
  test(`many lanes that are held back, with many tasks, do not make a claim slower (${kind})`, async () => {
    const lanes = Array.from({ length: 100 }, (_, i) => `${kind}/${i}`)
    await enqueue(lanes, 100)
    await enqueue(['free'], 100)
    expect(await claim(120)).toHaveLength(120)
    expect(await claimMs()).toBeLessThan(limitMs)
  }, 60_000)

  test(`nor do very many, of which each has one (${kind})`, async () => {
    const lanes = Array.from({ length: 3000 }, (_, i) => `${kind}/${i}`)
    await enqueue(lanes, 2)
    let claimed = 0
    for (let round = 0; round < 100 && claimed < 3000; round++) claimed += (await claim(1000)).length
    expect([claimed, await claim(9)]).toEqual([3000, []])
    await enqueue(['free'], 100)
    expect(await claimMs()).toBeLessThan(limitMs)
    // What comes for them is not looked at one by one, either.
    await enqueue(lanes, 1)
    expect(await claimMs()).toBeLessThan(limitMs)
  }, 60_000)
}

test('each claim looks at some that are held back, and says that it is to be asked again, until it has seen all', async () => {
  const lanes = Array.from({ length: 500 }, (_, i) => `one/${i}`)
  await enqueue(lanes, 2)
  // Without limits nobody knows that they will be full.
  expect(await claim(500, { limits: { lanes: {} } })).toHaveLength(500)
  let claims = 0
  let dueMs: number | undefined = 0
  for (; dueMs === 0 && claims < 10; claims++) {
    const reply = await file.queue.exchange('default', { claim: { ...newClaim(9), limits } })
    expect(reply.claimed).toEqual([])
    dueMs = reply.nextDueMs
  }
  expect([dueMs, claims > 1]).toEqual([undefined, true])
})

test('a queue without lanes has no rows of any, and one whose lanes have ended has none left', async () => {
  const rows = () => file.raw.query('select "lane" from "queueLane"').all()
  await file.queue.enqueue('default', [newTask(), newTask()])
  const plain = newClaim(1)
  await file.queue.exchange('default', { claim: plain })
  expect(rows()).toEqual([])
  await enqueue(['one/a', 'free'], 2)
  for (let i = 0; i < 4; i++) {
    const said = { ...newClaim(9), limits }
    const { claimed } = await file.queue.exchange('default', { claim: said })
    if (claimed.length === 0) break
    expect(rows()).not.toEqual([])
    const finish = claimed.map(({ id, attempt }) => ({ id, attempt, nonce: said.nonce, outcome: 'done' as const }))
    await file.queue.exchange('default', { finish })
  }
  expect(rows()).toEqual([])
  expect(file.raw.query('select "lanes" from "queueSummary"').all()).toEqual([{ lanes: 0 }])
})

test('a rate that is as good as unused is forgotten by reapers', async () => {
  const soon = { lanes: { slow: { rate: { intervalMs: 1, burst: 1 } } } }
  await enqueue(['slow/a', 'slow/b'], 1)
  const said = { ...newClaim(9), limits: soon }
  const { claimed } = await file.queue.exchange('default', { claim: said })
  const finish = claimed.map(({ id, attempt }) => ({ id, attempt, nonce: said.nonce, outcome: 'done' as const }))
  await file.queue.exchange('default', { finish })
  await Bun.sleep(5)
  await file.queue.reap('default', { leaseMs: 60_000, crashesMax: 3 })
  expect(file.raw.query('select "lane" from "queueLane"').all()).toEqual([])
})

/** All that a check finds. */
async function check(fix: boolean): Promise<string[]> {
  const found: string[] = []
  let cursor: string | undefined
  do {
    const step = await file.queue.fsck('default', { fix, leaseMs: 60_000, ...(cursor === undefined ? {} : { cursor }) })
    for (const { what, fixed } of step.findings) {
      found.push(what)
      expect(fixed).toBe(fix)
    }
    cursor = step.cursor
  } while (cursor !== undefined)
  return found
}

const damages: Record<string, { by: string; what: string[] }> = {
  'a number that run which is too large': {
    by: `update "queueLane" set "active" = 3 where "lane" = 'one/a'`,
    what: ['lane one/a: 3 active tasks were counted, and 1 are there'],
  },
  'a lane that is lost': {
    by: `delete from "queueLane" where "lane" = 'one/a'`,
    what: ['lane one/a: 0 active tasks were counted, and 1 are there', '3 lanes were counted, and 2 are there'],
  },
  'a lane that has lost its turn': {
    by: `update "queueLane" set "turn" = null where "lane" = 'free'`,
    what: ['lane free: tasks wait in it, and it has no turn'],
  },
  'a lane that waits for the end of nothing': {
    by: `update "queueTask" set "state" = 0, "nonce" = null, "worker" = null where "lane" = 'one/a' and "state" = 2;
      update "queueLane" set "active" = 0 where "lane" = 'one/a';
      update "queueSummary" set "waiting" = "waiting" + 1, "active" = "active" - 1`,
    what: ['lane one/a: tasks wait in it, and it has no turn'],
  },
  'a lane whose next is of another priority': {
    by: `update "queueLane" set "priority" = 9 where "lane" = 'free'`,
    what: ['lane free: what is next in it is not what it is said to be'],
  },
  'a lane that nothing waits in': {
    by: `insert into "queueLane" ("queue", "lane", "active", "priority", "turn") values ('default', 'nobody', 0, 5, 1);
      update "queueSummary" set "lanes" = "lanes" + 1`,
    what: ['lane nobody: what is next in it is not what it is said to be'],
  },
}

for (const [title, { by, what }] of Object.entries(damages))
  test(`${title} is found, and mended when that is asked for`, async () => {
    await enqueue(['one/a', 'free', 'one/b'], 3)
    expect(await claim(2)).toHaveLength(2)
    expect(await check(false)).toEqual([])
    file.raw.exec(by)
    expect(await check(false)).toEqual(what)
    expect((await check(true)).slice(0, 1)).toEqual(what.slice(0, 1))
    expect(await check(false)).toEqual([])
    const tasks = await file.queue.stats('default')
    const running = (await file.queue.list('default', 'active', 9)).tasks.map(({ lane }) => lane)
    const claimed = await claim(99)
    // One of each that had none running, and all of the one without a limit.
    const lanes = new Set(running)
    expect(claimed).toHaveLength(
      ['one/a', 'one/b'].filter(lane => !lanes.has(lane)).length + 3 - running.filter(lane => lane === 'free').length,
    )
    expect(tasks.waiting + tasks.active).toBe(9)
  })

test('what is held and what is in lanes waits when the tables are put back as they were, and what is done is gone', async () => {
  const { queue, db, raw } = file
  await queue.enqueue('default', [
    newTask({ id: 'laned', lane: 'one/a' }),
    newTask({ id: 'held', after: { count: 1, isDoneNeeded: false } }),
    newTask({ id: 'done', priority: 0, isIdKept: true }),
  ])
  const said = newClaim(1)
  await queue.exchange('default', { claim: said })
  await queue.exchange('default', { finish: [{ id: 'done', attempt: 1, nonce: said.nonce, outcome: 'done', keepForMs: 60_000 }] })
  await queue.pause('default')
  while ((await migrateDown(db, migrations)) !== '0004_queue') {}
  expect(raw.query('select "id", "state" from "queueTask" order by "priority", "line"').all()).toEqual([
    { id: 'laned', state: 0 },
    { id: 'held', state: 0 },
  ])
  expect(raw.query('select "waiting" from "queueSummary"').all()).toEqual([{ waiting: 2 }])
  expect(raw.query('select "id" from "queueTombstone"').all()).toEqual([{ id: 'done' }])
  await migrateUp(db, migrations)
  expect((await claim(9)).map(({ id }) => id)).toEqual(['laned', 'held'])
})
