import { expect, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import { users as userTable } from '@/modules/user/schema'
import { onEachBacking } from '@/testing/backings'
import { byAdmin, textOf, useExports, usersOf } from '@/testing/user-exports'
import { userExportChunkStore, userExportStore } from './store'

const hourMs = 3_600_000

onEachBacking('asking for exports of users', open => {
  const { used, setUp, addUsers, chunkCount } = useExports(open)

  test('one that is asked for waits, with a task that makes it and one that removes it a day later, in its transaction', async () => {
    const { biz, queue } = setUp()
    const made = await biz.request({ format: 'ndjson', status: 'active' }, byAdmin)
    expect(made).toMatchObject({ state: 'waiting', format: 'ndjson', status: 'active', rows: 0, bytes: 0 })
    expect(made).not.toHaveProperty('lastUserId')
    expect(queue.enqueued).toMatchObject([
      { task: 'user.export', payload: { exportId: made.id }, options: { id: made.taskId, tx: { inTransaction: true } } },
      { task: 'user.removeExport', payload: { exportId: made.id }, options: { delayMs: dayMs, tx: { inTransaction: true } } },
    ])
    expect(await biz.list({})).toEqual({ items: [made], nextPageToken: '' })
  })

  test('one that is removed is gone at once, and its chunks by a task', async () => {
    await addUsers(1)
    const { biz, ask, attempt, queue } = setUp()
    const { id, payload } = await ask()
    await biz.make(payload, attempt())
    await biz.remove(id, byAdmin)
    await expect(biz.get(id)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
    await expect(biz.content(id, byAdmin)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
    expect(queue.enqueued.at(-1)).toMatchObject({ task: 'user.removeExport', payload: { exportId: id } })
    expect(queue.enqueued.at(-1)?.options).not.toHaveProperty('delayMs')
    for (let i = 0; i < 2; i++) expect(await biz.expire(id)).toBeUndefined()
    expect(await chunkCount()).toBe(0)
    expect(await biz.make(payload, attempt())).toBeUndefined()
    for (const gone of [id, 'x']) await expect(biz.remove(gone, byAdmin)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
  })

  test('who asks for one, fetches it or removes it is in the audit log; what tasks do with it is not', async () => {
    const { biz, ask, attempt, audit, clock } = setUp()
    const [done, waiting] = [await ask({ format: 'ndjson', status: 'active' }), await ask()]
    await biz.make(done.payload, attempt())
    await biz.content(done.id, byAdmin)
    await biz.remove(done.id, byAdmin)
    await biz.remove(waiting.id, byAdmin)
    await expect(biz.content(waiting.id, byAdmin)).rejects.toMatchObject({ code: 'FailedPrecondition.ExportNotDone' })
    await expect(biz.remove(done.id, byAdmin)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
    clock.ms += 2 * dayMs
    await biz.expire(waiting.id)
    await biz.make({}, attempt({ id: 'by-hand' }))
    const [first, second] = [`user-export:${done.id}`, `user-export:${waiting.id}`]
    expect(audit.events).toMatchObject([
      { action: 'user-export.create', object: first, actor: 'admin:root', after: { format: 'ndjson', status: 'active' } },
      { action: 'user-export.create', object: second, after: { format: 'csv' } },
      { action: 'user-export.download', object: first, after: { format: 'ndjson', rows: 0, bytes: 0 } },
      { action: 'user-export.delete', object: first, after: { state: 'removed' } },
      { action: 'user-export.delete', object: second, after: { state: 'cancelled' } },
    ])
    expect(audit.events).toHaveLength(5)
  })

  test('what has expired is removed, and not before: a day after its end, or after anybody has touched it', async () => {
    const { biz, ask, attempt, clock } = setUp()
    const { id, payload } = await ask()
    clock.ms += 1000
    await biz.make(payload, attempt())
    expect(await chunkCount()).toBe(1)
    clock.ms += dayMs - 5000
    expect(await biz.expire(id)).toEqual({ is: 'snooze', delayMs: 5000 })
    expect([(await biz.get(id)).state, await chunkCount()]).toEqual(['done', 1])
    clock.ms += 5000
    expect(await biz.expire(id)).toBeUndefined()
    await expect(biz.get(id)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
    expect(await chunkCount()).toBe(0)

    // One whose task was lost; stamps are those of the database's clock.
    const lost = await ask()
    clock.ms = Date.parse((await biz.get(lost.id)).createdAt) + dayMs - 1
    expect(await biz.expire(lost.id)).toMatchObject({ is: 'snooze' })
    clock.ms += 60_000
    expect(await biz.expire(lost.id)).toBeUndefined()
    await expect(biz.get(lost.id)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
  })

  test('what the task that was to remove it has left is removed an hour later: an export, and chunks of one that is gone', async () => {
    await addUsers(1)
    const { biz, ask, attempt, clock } = setUp()
    const made = async () => {
      const { id, payload } = await ask()
      await biz.make(payload, attempt())
      return id
    }
    const [ended, gone, kept] = [await made(), await made(), await ask()]
    // Its row is gone, and the task that was to remove its chunks with it.
    await userExportStore(used.db).delete(gone)
    expect([await biz.removeLeft(10), await chunkCount()]).toEqual([1, 1])
    clock.ms += dayMs + hourMs
    expect([await biz.removeLeft(10), (await biz.get(ended)).state]).toEqual([0, 'done'])
    clock.ms += 1
    expect([await biz.removeLeft(10), await chunkCount()]).toEqual([1, 0])
    await expect(biz.get(ended)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })

    // One that never ended: stamps are those of the database's clock.
    clock.ms = Date.parse((await biz.get(kept.id)).createdAt) + dayMs + hourMs
    expect(await biz.removeLeft(10)).toBe(0)
    clock.ms += 1
    expect([await biz.removeLeft(10), (await biz.list({})).items]).toEqual([1, []])
    expect(await biz.removeLeft(10)).toBe(0)
  })

  test('no more of what was left is removed at a time than is asked for', async () => {
    await addUsers(1)
    const { biz, ask, attempt, clock } = setUp()
    for (let i = 0; i < 3; i++) {
      const { id, payload } = await ask()
      await biz.make(payload, attempt())
      if (i > 0) await userExportStore(used.db).delete(id)
    }
    clock.ms += dayMs + hourMs + 1
    expect([await biz.removeLeft(2), await chunkCount()]).toEqual([2, 1])
    expect([await biz.removeLeft(2), await chunkCount()]).toEqual([1, 0])
    expect(await biz.removeLeft(2)).toBe(0)
  })

  test('a task that is enqueued by hand makes an export of its own, the same in each attempt', async () => {
    await addUsers(3)
    const { biz, attempt, queue } = setUp()
    for (let i = 0; i < 2; i++) await biz.make({ format: 'ndjson' }, attempt({ id: 'by-hand' }))
    const { items } = await biz.list({})
    expect(items).toMatchObject([{ taskId: 'by-hand', state: 'done', rows: 3, format: 'ndjson' }])
    expect(queue.enqueued.map(({ task }) => task)).toEqual(['user.removeExport'])
  })

  test('no more are kept than fit, and a download that breaks off is in the log', async () => {
    await addUsers(1)
    const { biz, ask, attempt, log } = setUp()
    const { id, payload } = await ask()
    await biz.make(payload, attempt())
    const file = await biz.content(id, byAdmin)
    await userExportChunkStore(used.db).deleteMany('all')
    await expect(textOf(file)).rejects.toMatchObject({ code: 'NotFound.ExportNotFound' })
    expect(log.lines).toMatchObject([{ level: 'error', fields: { exportId: id } }])
    for (let i = 1; i < 50; i++) await ask()
    await expect(ask()).rejects.toMatchObject({ code: 'ResourceExhausted.TooManyExports' })
  })

  test('users by id come in pages of any size, and what is secret of them is not even read', async () => {
    const added = (await addUsers(5)).map(({ id }) => id).toSorted()
    const asked: string[] = []
    const all = usersOf({
      ...used.db,
      all(sql, ...rest) {
        asked.push(sql)
        return used.db.all(sql, ...rest)
      },
    })
    const ids = async (after?: string, limit = 2) => (await all.listById({ ...(after && { after }), limit })).map(({ id }) => id)
    expect(await ids()).toEqual(added.slice(0, 2))
    expect(await ids(added[1])).toEqual(added.slice(2, 4))
    expect(await ids(added[3])).toEqual(added.slice(4))
    expect(await ids(added[4])).toEqual([])
    expect(await ids(undefined, 5)).toEqual(added)
    expect(asked.length).toBeGreaterThan(4)
    expect(asked.filter(sql => sql.includes('passwordHash'))).toEqual([])
    expect(userTable.columns.map(({ name }) => name)).toContain('passwordHash')
  })
})
