import { expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { TaskAborted } from '@/core/queue/task'
import { userStore } from '@/modules/user/store'
import { onEachBacking } from '@/testing/backings'
import { byAdmin, namesIn, textOf, useExports } from '@/testing/user-exports'
import { exportUsers, type NewUserExport } from './schema'

onEachBacking('making exports of users', open => {
  const { used, setUp, addUsers, chunkCount } = useExports(open)

  test('all users are in it once, by id, in chunks of a thousand', async () => {
    const added = await addUsers(2500)
    const { biz, ask, attempt, reads } = setUp()
    const { id, payload } = await ask()
    const said: unknown[] = []
    expect(await biz.make(payload, attempt({ progress: far => void said.push(far) }))).toBeUndefined()
    expect(said).toEqual([1000, 2000, 2500].map(done => ({ done, total: 2500 })))
    const done = await biz.get(id)
    expect(done).toMatchObject({ state: 'done', rows: 2500, total: 2500, progress: 1, expiresAt: '2026-02-01T09:05:00.000Z' })
    const file = await biz.content(id, byAdmin)
    expect([file.fileName, file.mediaType]).toEqual([`users-${done.createdAt.slice(0, 10)}.csv`, 'text/csv; charset=utf-8; header=present'])
    const text = await textOf(file)
    expect(text).not.toContain('secret')
    expect(Buffer.byteLength(text)).toBe(done.bytes)
    expect(namesIn(text)).toEqual(added.toSorted((a, b) => (a.id < b.id ? -1 : 1)).map(({ username }) => username))
    expect([await chunkCount(), reads.length]).toEqual([3, 3])
    // Run again, it is what it was.
    expect(await biz.make(payload, attempt())).toBeUndefined()
    expect([await biz.get(id), await chunkCount()]).toEqual([done, 3])
  })

  test('of nobody it is a header, or nothing; of users of one status it has those', async () => {
    const { biz, ask, attempt } = setUp()
    const contentOf = async (input: NewUserExport) => {
      const { id, payload } = await ask(input)
      await biz.make(payload, attempt())
      return textOf(await biz.content(id, byAdmin))
    }
    expect(await contentOf({ format: 'csv' })).toBe('id,username,email,nickname,status,createdAt,updatedAt,version\r\n')
    expect(await contentOf({ format: 'ndjson' })).toBe('')
    await addUsers(3)
    const [gone] = await addUsers(1, 'gone', 'suspended')
    const text = await contentOf({ format: 'ndjson', status: 'suspended' })
    expect(JSON.parse(text)).toEqual(
      await userStore(used.db)
        .get(gone?.id ?? '')
        .then(row => ({ ...row, passwordHash: undefined })),
    )
  })

  test('an attempt that fails is followed by one that goes on behind the last chunk', async () => {
    await addUsers(2500)
    let calls = 0
    const { biz, ask, attempt, reads } = setUp(() => {
      if (++calls === 3) throw new Error('a wire was cut')
    })
    const { id, payload } = await ask()
    await expect(biz.make(payload, attempt())).rejects.toThrow('a wire was cut')
    expect(await biz.get(id)).toMatchObject({ state: 'running', rows: 2000, progress: 0.8 })
    await biz.make(payload, attempt({ failures: 1 }))
    expect(reads[3]).toBe(reads[2] as string)
    expect(new Set(namesIn(await textOf(await biz.content(id, byAdmin)))).size).toBe(2500)
    expect((await biz.get(id)).rows).toBe(2500)
  })

  test('a chunk of which nobody knows whether it was written is not written again', async () => {
    await addUsers(2500)
    let isLost = false
    // The commit is carried out, and its answer is lost.
    const lossy: Database = {
      ...used.db,
      async tx(work, options) {
        const done = await used.db.tx(work, options)
        if (isLost) throw new Error('no answer')
        return done
      },
    }
    const { biz, ask, attempt } = setUp(() => {}, lossy)
    const { id, payload } = await ask()
    isLost = true
    for (const rows of [1000, 2000]) {
      await expect(biz.make(payload, attempt())).rejects.toThrow('no answer')
      expect((await biz.get(id)).rows).toBe(rows)
    }
    isLost = false
    await biz.make(payload, attempt())
    const names = namesIn(await textOf(await biz.content(id, byAdmin)))
    expect([names.length, new Set(names).size, await chunkCount()]).toEqual([2500, 2500, 3])
  })

  test('an attempt that comes back after another has taken over writes nothing beside it', async () => {
    await addUsers(2500)
    const held = Promise.withResolvers<void>()
    const reached = Promise.withResolvers<void>()
    let calls = 0
    const stale = setUp(() => {
      if (++calls !== 2) return undefined
      reached.resolve()
      return held.promise
    })
    const { id, payload } = await stale.ask()
    const first = stale.biz.make(payload, stale.attempt())
    await reached.promise
    // It takes over, and is at the same place when the other comes back.
    const living = setUp(async () => {
      if (!living.reads[1] && living.reads.length === 1) {
        held.resolve()
        await expect(first).rejects.toMatchObject({ code: 'FailedPrecondition.VersionMismatch' })
      }
    })
    await living.biz.make(payload, living.attempt())
    expect(living.reads).toHaveLength(2)
    expect(await living.biz.get(id)).toMatchObject({ state: 'done', rows: 2500 })
    expect(new Set(namesIn(await textOf(await living.biz.content(id, byAdmin)))).size).toBe(2500)
    expect(await chunkCount()).toBe(3)
  })

  test('two of them at a time are each their own, though users come, go and change', async () => {
    const added = await addUsers(2500)
    let calls = 0
    const { biz, ask, attempt } = setUp(async () => {
      if (++calls !== 3) return
      await userStore(used.db).delete(added[2400]?.id ?? '')
      await userStore(used.db).update(added[0]?.id ?? '', { nickname: 'changed' })
      await addUsers(10, 'late')
    })
    const [one, two] = [await ask(), await ask({ format: 'ndjson' })]
    await Promise.all([biz.make(one.payload, attempt()), biz.make(two.payload, attempt({ id: 'task-2' }))])
    const names = namesIn(await textOf(await biz.content(one.id, byAdmin)))
    const lines = (await textOf(await biz.content(two.id, byAdmin))).trim().split('\n')
    const stayed = added.map(({ username }) => username).filter(name => name !== added[2400]?.username)
    for (const found of [names, lines.map(line => JSON.parse(line).username)]) {
      expect(new Set(found).size).toBe(found.length)
      expect(stayed.filter(name => !found.includes(name))).toEqual([])
    }
  })

  test('one that is cancelled while it runs ends with its next chunk, and nothing is left but that it was there', async () => {
    await addUsers(2500)
    const { biz, ask, attempt } = setUp(async () => {
      if ((await biz.get(id)).rows === 1000) await biz.remove(id, byAdmin)
    })
    const { id, payload } = await ask()
    expect(await biz.make(payload, attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ state: 'cancelled', rows: 1000, expiresAt: '2026-02-01T09:05:00.000Z' })
    expect(await chunkCount()).toBe(0)
    await expect(biz.content(id, byAdmin)).rejects.toMatchObject({ code: 'FailedPrecondition.ExportNotDone' })
    // What is run again, or was never begun, ends at once.
    expect(await biz.make(payload, attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ state: 'cancelled' })
  })

  test('one whose task is cancelled is cancelled; one whose process stops goes on in another', async () => {
    await addUsers(2500)
    for (const [reason, state] of [
      ['cancelled', 'cancelled'],
      ['shutdown', 'running'],
    ] as const) {
      const controller = new AbortController()
      const { biz, ask, attempt } = setUp(() => controller.abort(new TaskAborted(reason)))
      const { id, payload } = await ask()
      const made = biz.make(payload, attempt({ signal: controller.signal, failures: exportUsers.defaults.maxRetries }))
      await expect(made).rejects.toThrow(TaskAborted)
      expect(await biz.get(id)).toMatchObject({ state, rows: 1000 })
    }
  })

  test('one that takes long gives its place to others, and goes on when it is its turn', async () => {
    await addUsers(2500)
    const { biz, ask, attempt, clock } = setUp(() => {
      clock.ms += 35_000
    })
    const { id, payload } = await ask()
    expect(await biz.make(payload, attempt())).toEqual({ is: 'snooze', delayMs: 0 })
    expect(await biz.get(id)).toMatchObject({ state: 'running', rows: 2000 })
    expect(await biz.make(payload, attempt())).toBeUndefined()
    expect(await biz.get(id)).toMatchObject({ state: 'done', rows: 2500 })
  })

  test('what an attempt failed of is said, and kept, though the database answers no question after it', async () => {
    await addUsers(3)
    const away = { reads: false, writes: false }
    let isAllAway = true
    const fail = async () => Promise.reject(new Error('the database is away'))
    const failing: Database = {
      ...used.db,
      all: (...said) => (away.reads ? fail() : used.db.all(...said)),
      first: (...said) => (away.reads ? fail() : used.db.first(...said)),
      run: (...said) => (away.writes ? fail() : used.db.run(...said)),
    }
    const { biz, ask, attempt } = setUp(() => {
      Object.assign(away, { reads: true, writes: isAllAway })
      throw new Error('a wire was cut')
    }, failing)
    const { id, payload } = await ask()
    for (const state of ['running', 'failed'] as const) {
      const made = biz.make(payload, attempt({ failures: exportUsers.defaults.maxRetries }))
      await expect(made).rejects.toThrow('a wire was cut')
      Object.assign(away, { reads: false, writes: false })
      expect((await biz.get(id)).state).toBe(state)
      isAllAway = false
    }
  })

  test('when the last attempt fails it has failed, says why without telling too much, and may be tried again by hand', async () => {
    await addUsers(3)
    let isBroken = true
    const { biz, ask, attempt } = setUp(() => {
      if (isBroken) throw new Error('no route to 10.0.0.7')
    })
    const { id, payload } = await ask()
    await expect(biz.make(payload, attempt({ failures: 19 }))).rejects.toThrow('10.0.0.7')
    expect((await biz.get(id)).state).toBe('running')
    await expect(biz.make(payload, attempt({ failures: 20 }))).rejects.toThrow('10.0.0.7')
    const failed = await biz.get(id)
    expect(failed).toMatchObject({ state: 'failed', error: 'Something went wrong on our side; the log says what.' })
    expect(failed.expiresAt).toBeDefined()
    isBroken = false
    await biz.make(payload, attempt())
    expect(await biz.get(id)).toMatchObject({ state: 'done', rows: 3 })
    expect(await biz.get(id)).not.toHaveProperty('error')
  })
})
