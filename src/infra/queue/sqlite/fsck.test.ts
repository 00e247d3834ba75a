import { afterEach, beforeEach, expect, test } from 'bun:test'
import type { QueueDriver } from '../driver'
import { newClaim, newTask, openQueueFile, type QueueFile } from '@/testing/sqlite-queue'

/** What is found, and mended, when somebody has laid hands on the tables. */
let file: QueueFile
beforeEach(async () => {
  file = await openQueueFile()
  await fill(file.queue)
})
afterEach(() => file.close())

/** A task in each state, and one that was done. */
async function fill(queue: QueueDriver) {
  const unique = { key: 'k'.repeat(22), forMs: 60_000 }
  const ids = ['done', 'kept', 'dead', 'active', 'waiting']
  await queue.enqueue(
    'default',
    ids.map(id => newTask({ id })),
  )
  const claim = newClaim(4)
  const { claimed } = await queue.exchange('default', { claim })
  const held = (id: string) => ({ id, attempt: claimed.find(each => each.id === id)?.attempt ?? 0, nonce: claim.nonce })
  await queue.exchange('default', {
    finish: [
      { ...held('done'), outcome: 'done' },
      { ...held('kept'), outcome: 'done', keepForMs: 60_000, result: '1' },
      { ...held('dead'), outcome: 'dead', error: 'no', isFailure: true },
    ],
  })
  await queue.enqueue('default', [newTask({ id: 'scheduled', delayMs: 60_000, unique }), newTask({ id: 'urgent', priority: 0 })])
  await queue.enqueue('other', [newTask({ id: 'active' })])
}

async function check(fix: boolean) {
  const findings: [id: string | undefined, what: string, fixed: boolean][] = []
  let cursor: string | undefined
  do {
    const step = await file.queue.fsck('default', { fix, leaseMs: 60_000, ...(cursor === undefined ? {} : { cursor }) })
    for (const { id, what, fixed } of step.findings) findings.push([id, what, fixed])
    cursor = step.cursor
  } while (cursor !== undefined)
  return findings
}

test('a healthy queue has no findings', async () => {
  expect(await check(false)).toEqual([])
  expect(await check(true)).toEqual([])
})

const damages: Record<string, { by: string; id?: string; what: string; after?: () => Promise<unknown> }> = {
  'an active task without who has it': {
    by: `update "queueTask" set "nonce" = null where "id" = 'active' and "queue" = 'default'`,
    id: 'active',
    what: 'it is active, but nobody has it',
    after: async () =>
      expect((await file.queue.list('default', 'waiting', 9)).tasks.map(({ id }) => id)).toEqual(['urgent', 'active', 'waiting']),
  },
  'a waiting task that somebody has': {
    by: `update "queueTask" set "nonce" = 'n', "worker" = 'w' where "id" = 'waiting'`,
    id: 'waiting',
    what: 'it is not active, but somebody has it',
  },
  'a dead task with a unique key': {
    by: `update "queueTask" set "uniqueUntil" = 1 where "id" = 'dead'`,
    id: 'dead',
    what: 'it has ended, but holds a unique key',
  },
  'one that is kept, with a unique key': {
    by: `update "queueTask" set "uniqueUntil" = 1 where "id" = 'kept'`,
    id: 'kept',
    what: 'it has ended, but holds a unique key',
  },
  'one that was kept, and was deleted by hand': {
    by: `delete from "queueTask" where "id" = 'kept'`,
    what: '1 kept tasks were counted, and 0 are there',
    after: async () => expect(await file.queue.stats('default')).toMatchObject({ done: 0 }),
  },
  'errors that are no list': {
    by: `update "queueTask" set "errors" = '{' where "id" = 'dead'`,
    id: 'dead',
    what: 'its errors cannot be read',
    after: async () => expect(await file.queue.show('default', 'dead')).toMatchObject({ errors: [] }),
  },
  'a task that was deleted by hand': {
    by: `delete from "queueTask" where "id" = 'waiting'`,
    what: '2 waiting tasks were counted, and 1 are there',
    after: async () => expect(await file.queue.stats('default')).toMatchObject({ waiting: 1, scheduled: 1, active: 1, dead: 1 }),
  },
  'an end of the line that was forgotten': {
    by: `update "queueSummary" set "tail" = 0`,
    what: 'the ends of the line are not where tasks wait',
    async after() {
      await file.queue.enqueue('default', [newTask({ id: 'last' })])
      const { claimed } = await file.queue.exchange('default', { claim: newClaim(9) })
      expect(claimed.map(({ id }) => id)).toEqual(['urgent', 'waiting', 'last'])
    },
  },
}

for (const [title, { by, id, what, after }] of Object.entries(damages))
  test(`${title} is found, and mended when that is asked for`, async () => {
    file.raw.run(by)
    expect(await check(false)).toEqual([[id, what, false]])
    expect(await check(false)).toEqual([[id, what, false]])
    expect(await check(true)).toEqual([[id, what, true]])
    expect(await check(false)).toEqual([])
    await after?.()
  })

test('an index that has lost a row is found, and made again', async () => {
  const root = file.raw.query('select "rootpage" from "sqlite_master" where "name" = \'queueTask_line\'').get() as { rootpage: number }
  // A page of an index without entries, as a lost write leaves it.
  const pageBytes = (file.raw.query('pragma page_size').get() as { page_size: number }).page_size
  file.raw.run('pragma wal_checkpoint(truncate)')
  await file.queue.close()
  await file.db.close()
  file.raw.close()
  const bytes = new Uint8Array(await Bun.file(file.path).arrayBuffer())
  bytes.set([10, 0, 0, 0, 0, (pageBytes >> 8) & 0xff, pageBytes & 0xff, 0], (root.rootpage - 1) * pageBytes)
  await Bun.write(file.path, bytes)
  file = await openQueueFile(file.path)
  const found = await check(false)
  expect(found.map(([, what]) => what)).toContainEqual(expect.stringContaining('missing from index queueTask_line'))
  expect(found.some(([, , fixed]) => fixed)).toBe(false)
  // And not what was counted with the help of that index.
  const ofFile = found.filter(([, what]) => what.startsWith('the file is damaged'))
  expect(await check(true)).toEqual(ofFile.map(([id, what]) => [id, what, true]))
  expect(await check(false)).toEqual([])
  const { claimed } = await file.queue.exchange('default', { claim: newClaim(9) })
  expect(claimed.map(({ id }) => id)).toEqual(['urgent', 'waiting'])
})

test('a summary that is lost is made again from the tasks, in their order', async () => {
  file.raw.run('delete from "queueSummary"')
  await file.queue.enqueue('default', [newTask({ id: 'last' })])
  expect(await file.queue.stats('default')).toMatchObject({ waiting: 3, scheduled: 1, active: 1, dead: 1, done: 1 })
  expect(await check(false)).toEqual([])
  const { claimed } = await file.queue.exchange('default', { claim: newClaim(9) })
  expect(claimed.map(({ id }) => id)).toEqual(['urgent', 'waiting', 'last'])
})

test('a counter that says too much does not let workers claim without end', async () => {
  file.raw.run('update "queueSummary" set "waiting" = 100')
  let claims = 0
  for (let dueMs: number | undefined = 0; dueMs === 0; claims++)
    dueMs = (await file.queue.exchange('default', { claim: newClaim(1) })).nextDueMs
  expect(claims).toBe(3)
})

test('many tasks are checked a page at a time', async () => {
  for (let i = 0; i < 3; i++)
    await file.queue.enqueue(
      'other',
      Array.from({ length: 400 }, () => newTask()),
    )
  file.raw.run(`update "queueTask" set "worker" = 'w' where "queue" = 'other' and "state" = 0`)
  let steps = 0
  let found = 0
  for (let cursor: string | undefined = 'tasks 0'; cursor !== undefined; steps++) {
    const step = await file.queue.fsck('other', { fix: true, leaseMs: 1, cursor })
    found += step.findings.length
    cursor = step.cursor
  }
  expect([steps, found]).toEqual([5, 1201])
  await expect(file.queue.fsck('other', { fix: false, leaseMs: 1, cursor: 'nonsense' })).rejects.toMatchObject({
    code: 'InvalidArgument.CursorInvalid',
  })
})
