import { afterAll, beforeAll, expect, test } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import { systemClock } from '@/core/clock'
import type { QueueAdmin } from '@/core/queue/admin'
import { defineTask } from '@/core/queue/task'
import { Type } from '@/core/schema'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase, openConfiguredRedis } from '@/infra/ports'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { type OpenQueue, openQueue } from './open'

const note = defineTask('note.write', Type.Object({ n: Type.Integer() }))
const sum = defineTask('note.sum', Type.Object({ n: Type.Integer() }), { group: { countMax: 1000, delayMs: 600_000 } })

onEachBacking('what operators do with tasks', (open, name) => {
  let backing: Backing
  let db: OpenDatabase
  let opened: OpenQueue
  let admin: QueueAdmin
  let close: () => Promise<void>
  beforeAll(async () => {
    backing = await open()
    const { config } = loadConfig({ env: backing.options.env ?? {}, flags: {}, readFile: () => '' })
    const tools = { log: fakeLog(), metrics: fakeMetrics() }
    db = await openConfiguredDatabase(config, tools)
    await migrateUp(db, migrations)
    const redis = await openConfiguredRedis(config, tools.log)
    opened = await openQueue(config, { db, redis, ...tools, clock: systemClock, tasks: [note, sum], queues: ['default', 'mail'] })
    admin = opened.admin
    close = async () => {
      await opened.close()
      await db.close()
      await redis?.close()
      await backing.dispose()
    }
  })
  afterAll(() => close())
  const enqueue = (id: string, queue = 'mail', delayMs = 0) => opened.queue.enqueue(note, { n: 1 }, { id, queue, delayMs })
  const code = (work: Promise<unknown>) =>
    work.then(
      () => 'done',
      thrown => (thrown as { code: string }).code,
    )
  let nonces = 0
  const claim = async (queue: string) => {
    const nonce = `nonce-${String(++nonces).padStart(10, '0')}`
    const { claimed } = await opened.driver.exchange(queue, { claim: { worker: 'test:1', nonce, count: 1, leaseMs: 60_000 } })
    return { id: claimed[0]?.id ?? '', attempt: claimed[0]?.attempt ?? 0, nonce }
  }

  test('a task is found in whichever queue it is, unless one is named', async () => {
    await enqueue('a', 'default')
    await enqueue('b', 'mail')
    expect((await admin.show('a')).queue).toBe('default')
    expect(await admin.show('b')).toMatchObject({ queue: 'mail', state: 'waiting', task: 'note.write', payload: { n: 1 }, errors: [] })
    expect(await code(admin.show('b', 'default'))).toBe('NotFound.TaskNotFound')
    expect(await code(admin.show('b', 'nobody'))).toBe('InvalidArgument.UnknownQueue')
    expect([await admin.cancel('a'), await admin.cancel('b', 'mail')]).toEqual(['cancelled', 'cancelled'])
    expect(await code(admin.cancel('a'))).toBe('NotFound.TaskNotFound')
  })

  test('whoever enqueues inside a transaction without it is told to hand it over', async () => {
    const forgotten = db.tx(() => enqueue('forgotten'))
    await expect(forgotten).rejects.toThrow('pass its tx to enqueue: queue.enqueue(task, payload, { tx })')
    expect(await code(admin.show('forgotten'))).toBe('NotFound.TaskNotFound')
  })

  test('a list is read a page at a time; a token of another list is refused', async () => {
    for (let i = 0; i < 25; i++) await enqueue(`page-${i}`)
    const seen: string[] = []
    const tokens: string[] = []
    let pageToken: string | undefined
    do {
      const page = await admin.list('mail', 'waiting', { pageSize: 10, ...(pageToken !== undefined && { pageToken }) })
      seen.push(...page.items.map(({ id }) => id))
      pageToken = page.nextPageToken
      if (pageToken !== undefined) tokens.push(pageToken)
    } while (pageToken !== undefined)
    expect(seen).toEqual(Array.from({ length: 25 }, (_, i) => `page-${i}`))
    const [token = ''] = tokens
    for (const [queue, state, bad] of [
      ['mail', 'dead', token],
      ['default', 'waiting', token],
      ['mail', 'waiting', `${token}x`],
      ['mail', 'waiting', 'nothing'],
    ] as const)
      expect(await code(admin.list(queue, state, { pageToken: bad }))).toBe('InvalidArgument.PageToken')
    for (const pageSize of [0, -1, 1.5]) expect(await code(admin.list('mail', 'waiting', { pageSize }))).toBe('InvalidArgument.PageSize')
    expect((await admin.list('mail', 'waiting', { pageSize: 5000 })).items).toHaveLength(25)
    expect(await code(admin.list('mail', 'lost' as 'dead'))).toBe('InvalidArgument.State')
    expect(await code(admin.list('nobody', 'dead'))).toBe('InvalidArgument.UnknownQueue')
    for (const id of seen) await admin.remove(id)
    expect(await admin.stats('mail')).toMatchObject({ queue: 'mail', waiting: 0 })
  })

  test('each state says its own time, and is left as it may be', async () => {
    await enqueue('later', 'mail', 60_000)
    const runAt = Date.parse((await admin.show('later')).runAt ?? '')
    expect(Math.abs(runAt - Date.now() - 60_000)).toBeLessThan(10_000)

    await enqueue('now', 'default')
    const held = await claim('default')
    expect(await admin.show('now')).toMatchObject({
      state: 'active',
      worker: 'test:1',
      leaseUntil: expect.stringMatching(/Z$/),
      attempt: 1,
    })
    expect(await code(admin.remove('now'))).toBe('FailedPrecondition.TaskActive')
    expect(await code(admin.retry('now'))).toBe('FailedPrecondition.TaskNotDead')
    expect(await code(admin.retry('later'))).toBe('FailedPrecondition.TaskNotDead')
    expect(await admin.cancel('now')).toBe('cancelling')
    expect((await admin.show('now')).isCancelled).toBe(true)
    await opened.driver.exchange('default', { finish: [{ ...held, outcome: 'cancelled' }] })

    await enqueue('fails', 'default')
    await opened.driver.exchange('default', { finish: [{ ...(await claim('default')), outcome: 'dead', error: 'why', isFailure: true }] })
    expect(await admin.show('fails')).toMatchObject({
      state: 'dead',
      deadAt: expect.stringMatching(/Z$/),
      failures: 1,
      errors: [{ message: 'why' }],
    })
    await admin.retry('fails')
    expect(await admin.show('fails')).toMatchObject({ state: 'waiting', failures: 0, errors: [{ message: 'why' }] })
    await admin.remove('fails')
    await admin.cancel('later')
  })

  test('of a group the first hundred payloads are shown, and how many there are', async () => {
    const [first] = await opened.queue.enqueueMany(
      sum,
      Array.from({ length: 120 }, (_, n) => ({ payload: { n }, group: 'g', queue: 'mail' })),
    )
    const shown = await admin.show(first?.id ?? '')
    expect(shown).toMatchObject({ state: 'scheduled', task: 'note.sum', groupSize: 120 })
    expect(shown.payload).toEqual(Array.from({ length: 100 }, (_, n) => ({ n })))
    const [{ payload: { length = 0 } = {} } = {}] = (await admin.list('mail', 'scheduled')).items as { payload?: { length?: number } }[]
    expect(length).toBe(100)
    await enqueue('no-group')
    expect(await admin.show('no-group')).not.toHaveProperty('groupSize')
    expect([await admin.cancel(first?.id ?? ''), await admin.cancel('no-group')]).toEqual(['cancelled', 'cancelled'])
  })

  test('one that is done and kept is shown with its result, until when it is, and how far it said to be', async () => {
    await opened.queue.enqueue(note, { n: 1 }, { id: 'kept', queue: 'default', keepForMs: 60_000 })
    const held = await claim('default')
    await opened.driver.report('default', [{ ...held, progress: '{"done":2,"total":3,"message":"so far"}' }])
    expect(await admin.show('kept')).toMatchObject({ state: 'active', progress: { done: 2, total: 3, message: 'so far' } })
    const { finished } = await opened.driver.exchange('default', {
      finish: [{ ...held, outcome: 'done', keepForMs: 60_000, result: '{"sum":[42]}' }],
    })
    expect(finished).toEqual(['ok'])
    const shown = await admin.show('kept')
    expect(shown).toMatchObject({ state: 'done', result: { sum: [42] }, progress: { done: 2 }, attempt: 1 })
    expect(Math.abs(Date.parse(shown.keptUntil ?? '') - Date.now() - 60_000)).toBeLessThan(10_000)
    expect((await admin.list('default', 'done')).items).toEqual([shown])
    expect(await admin.stats('default')).toMatchObject({ done: 1 })
    expect(await code(admin.retry('kept'))).toBe('FailedPrecondition.TaskNotDead')
    expect(await admin.cancel('kept')).toBe('cancelled')
    expect(await admin.show('kept')).toEqual(shown)
    await admin.remove('kept')
    expect(await code(admin.show('kept'))).toBe('NotFound.TaskNotFound')
  })

  test('fsck of a sound queue finds nothing', async () => {
    for (const queue of admin.queues) expect(await Array.fromAsync(admin.fsck(queue, { fix: true }))).toEqual([])
  })

  if (name === 'sqlite') return
  test('what the outbox has given up is found by fsck, and handed over again or removed', async () => {
    await db.tx(tx =>
      opened.queue.enqueueMany(
        note,
        [1, 2].map(n => ({ payload: { n }, id: `left-${n}`, queue: 'mail' })),
        { tx },
      ),
    )
    await db.run('update "outbox" set "claimedAt" = utc_timestamp(3) - interval 24 hour, "gaveUpAt" = utc_timestamp(3)')
    const found = await Array.fromAsync(admin.fsck('mail', { fix: true }))
    expect(found).toMatchObject(
      [1, 2].map(n => ({ queue: 'mail', id: `left-${n}`, fixed: false, remedy: expect.stringContaining(`bingo task retry left-${n}`) })),
    )
    expect(await Array.fromAsync(admin.fsck('default', { fix: true }))).toEqual([])
    await admin.retry('left-1')
    await admin.remove('left-2')
    expect(await Array.fromAsync(admin.fsck('mail', { fix: false }))).toEqual([])
    expect((await db.all('select "taskId", "claimedAt" from "outbox"')).map(row => [row['taskId'], row['claimedAt']])).toEqual([
      ['left-1', null],
    ])
  })
  test('what is still in the outbox is counted and shown, at its time, as long as it is there', async () => {
    await db.run('delete from "outbox"')
    expect((await admin.stats('mail')).outbox).toBe(0)
    await db.tx(async tx => {
      await opened.queue.enqueue(note, { n: 1 }, { tx, id: 'kept', queue: 'mail', priority: 2 })
      await opened.queue.enqueue(note, { n: 2 }, { tx, id: 'kept-later', queue: 'mail', delayMs: 60_000 })
    })
    expect([(await admin.stats('mail')).outbox, (await admin.stats('default')).outbox]).toEqual([2, 0])
    expect(await admin.show('kept')).toMatchObject({ queue: 'mail', state: 'waiting', isInOutbox: true, priority: 2, payload: { n: 1 } })
    const later = await admin.show('kept-later')
    expect([later.state, Math.abs(Date.parse(later.runAt ?? '') - Date.now() - 60_000) < 10_000]).toEqual(['scheduled', true])
    expect(await code(admin.show('kept', 'default'))).toBe('NotFound.TaskNotFound')
    // A relay that hands it over has it in both for a moment: then it is with Redis.
    await enqueue('kept')
    expect(await admin.show('kept')).not.toHaveProperty('isInOutbox')
    await admin.remove('kept')
    await admin.cancel('kept')
    await db.run('delete from "outbox"')
  })
  test('what is still in the outbox can be cancelled, and is never enqueued', async () => {
    await db.run('delete from "outbox"')
    await db.tx(tx => opened.queue.enqueue(note, { n: 1 }, { tx, id: 'in-outbox' }))
    expect(await admin.cancel('in-outbox')).toBe('cancelled')
    expect(await db.all('select "seq" from "outbox"')).toEqual([])
    expect(await code(admin.cancel('in-outbox'))).toBe('NotFound.TaskNotFound')
  })
})
