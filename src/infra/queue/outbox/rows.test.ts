import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrations } from '@/migrations'
import { type Backing, onEachServer } from '@/testing/backings'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { openAgain } from '@/testing/conformance/fixture'
import type { NewTask } from '../driver'
import { createOutboxRows, type OutboxRows } from './rows'

const task = (id: string, over: Partial<NewTask> = {}): NewTask => ({
  id,
  isIdKept: false,
  priority: 5,
  delayMs: 0,
  envelope: `["a.task",1,${JSON.stringify(id)}]`,
  ...over,
})
const ids = ({ rows }: { rows: readonly { task: NewTask }[] }) => rows.map(row => row.task.id)

onEachServer('the outbox', open => {
  let backing: Backing
  let db: OpenDatabase
  let outbox: OutboxRows
  let rung = 0
  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    await migrateUp(db, migrations)
    outbox = createOutboxRows(db, () => rung++)
  })
  beforeEach(async () => {
    await db.run('delete from "outbox"')
    rung = 0
  })
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })

  const add = (...tasks: NewTask[]) => db.tx(tx => outbox.add(tx, 'mail', tasks))
  /** Moves a time of a row into the past. */
  const age = (id: string, column: string, hours: number) =>
    db.run(`update "outbox" set "${column}" = utc_timestamp(3) - interval ${hours} hour where "taskId" = ?`, [id])

  test('keeps what commits, whole, and nothing of what is undone; it rings after the commit only', async () => {
    const undone = db.tx(async tx => {
      await outbox.add(tx, 'mail', [task('lost')])
      expect(rung).toBe(0)
      throw new Error('undo')
    })
    await expect(undone).rejects.toThrow('undo')
    expect([await outbox.hasSome(), rung]).toEqual([false, 0])

    const envelope = JSON.stringify(['email.send', 1, { text: 'ünï \u0000 \ud83d\ude00 "quoted" \\', long: 'x'.repeat(100_000) }])
    await add(task('a', { priority: 0, envelope, unique: { key: 'k'.repeat(22), forMs: 60_000 } }))
    expect([await outbox.hasSome(), rung]).toEqual([true, 1])
    const { rows, givenUp, isMore } = await outbox.take()
    expect(rows).toMatchObject([
      { queue: 'mail', task: { id: 'a', isIdKept: true, priority: 0, delayMs: 0, envelope, unique: { key: 'k'.repeat(22) } } },
    ])
    expect([givenUp, isMore]).toEqual([[], false])
  })

  test('gives the oldest first, many at a time, and says when there may be more', async () => {
    await add(...Array.from({ length: 450 }, (_, i) => task(`t${i}`)))
    const taken = [await outbox.take(), await outbox.take(), await outbox.take()]
    expect(taken.map(({ rows, isMore }) => [rows.length, isMore])).toEqual([
      [200, true],
      [200, true],
      [50, false],
    ])
    expect(taken.flatMap(ids)).toEqual(Array.from({ length: 450 }, (_, i) => `t${i}`))
    expect(rung).toBe(1)
  })

  test('leaves the rows of some queues where they are, and says from where on others may be', async () => {
    const addTo = (queue: string, ...tasks: NewTask[]) => db.tx(tx => outbox.add(tx, queue, tasks))
    await add(task('full1'), task('full2'))
    await addTo('other', task('a'))
    const skip = { queues: ['mail', 'more'], fromSeq: 0 }
    expect(await outbox.hasSome(skip)).toBe(true)
    const first = await outbox.take(skip)
    expect([ids(first), first.isMore]).toEqual([['a'], false])
    await outbox.drop(first.rows)
    await add(task('full3'))
    await addTo('other', task('b'))
    const further = { ...skip, fromSeq: first.nextSeq ?? 0 }
    expect(await outbox.hasSome(further)).toBe(true)
    const second = await outbox.take(further)
    expect(ids(second)).toEqual(['b'])
    await outbox.drop(second.rows)
    const last = { ...skip, fromSeq: second.nextSeq ?? 0 }
    expect([await outbox.hasSome(last), (await outbox.take(last)).nextSeq]).toEqual([false, second.nextSeq])
    const rest = await outbox.take()
    expect([ids(rest), rest.nextSeq]).toEqual([['full1', 'full2', 'full3'], undefined])
    await outbox.unmark(rest.rows)
    expect(ids(await outbox.take())).toEqual(['full1', 'full2', 'full3'])
  })

  test('gives large ones a few at a time, and one that is larger than that alone', async () => {
    const large = { envelope: JSON.stringify('x'.repeat(3_000_000)) }
    await add(task('a', large))
    await add(task('b', large))
    await add(task('c', { envelope: JSON.stringify('x'.repeat(5_000_000)) }))
    await add(task('d'))
    const taken = [await outbox.take(), await outbox.take(), await outbox.take(), await outbox.take()]
    expect(taken.map(ids)).toEqual([['a'], ['b'], ['c'], ['d']])
    expect(taken.map(({ isMore }) => isMore)).toEqual([true, true, true, false])
  })

  test('gives each row to one of those who take at the same time', async () => {
    await add(...Array.from({ length: 1000 }, (_, i) => task(`t${i}`)))
    const seen: string[] = []
    const relay = async () => {
      for (let empty = 0; empty < 2; ) {
        const taken = await outbox.take()
        seen.push(...ids(taken))
        if (taken.rows.length === 0) empty++
        await outbox.drop(taken.rows)
      }
    }
    await Promise.all([relay(), relay(), relay(), relay()])
    expect(seen.toSorted()).toEqual(Array.from({ length: 1000 }, (_, i) => `t${i}`).toSorted())
    expect(await outbox.look()).toEqual({ rows: 0, oldestMs: 0, givenUp: 0 })
  })

  test('is not in the way of those who add while somebody takes', async () => {
    const other = await openAgain(backing)
    const slow: Database = {
      ...other,
      tx: (work, options) =>
        other.tx(async tx => {
          const taken = await work(tx)
          // On another connection, before the one that takes has committed.
          await add(task('b'))
          return taken
        }, options),
    }
    await add(task('a'))
    expect(ids(await createOutboxRows(slow, () => {}).take())).toEqual(['a'])
    expect(ids(await outbox.take())).toEqual(['b'])
    await other.close()
  })

  test('waits for no open transaction that has added rows beside those it writes', async () => {
    const other = await openAgain(backing)
    const [added, mayEnd] = [gate(), gate()]
    await add(task('before'))
    const open = other.tx(async tx => {
      await outbox.add(tx, 'mail', [task('open')])
      added.open()
      await mayEnd.passed
    })
    await added.passed
    await add(...Array.from({ length: 250 }, (_, i) => task(`t${i}`)))
    let steps = 0
    const work = async () => {
      const { rows } = await outbox.take()
      steps++
      await outbox.unmark(rows)
      steps++
      await outbox.putBack((await outbox.take()).rows, 0)
      steps++
      await outbox.drop((await outbox.take()).rows)
      steps++
    }
    const done = work()
    await until(() => steps === 4, 3000).finally(mayEnd.open)
    await Promise.all([open, done])
    expect(ids(await outbox.take())).toEqual(['open', ...Array.from({ length: 51 }, (_, i) => `t${i + 199}`)])
    await other.close()
  })

  test('gives a row again when the one who took it has not been heard of for 30 s, or put it back', async () => {
    await add(task('a'), task('b'))
    const taken = await outbox.take()
    expect(ids(await outbox.take())).toEqual([])
    await age('a', 'takenUntil', 1)
    expect(ids(await outbox.take())).toEqual(['a'])
    await outbox.putBack(taken.rows, 0)
    expect(ids(await outbox.take())).toEqual(['a', 'b'])
    await outbox.putBack(taken.rows, 60_000)
    expect(ids(await outbox.take())).toEqual([])
  })

  test('counts a delay, and how long a key is unique, from when it was enqueued', async () => {
    await add(
      task('a', { delayMs: 3 * 3_600_000, unique: { key: 'k', forMs: 3 * 3_600_000 } }),
      task('b', { delayMs: 1000, unique: { key: 'l', forMs: 1000 } }),
    )
    await age('a', 'madeAt', 2)
    await age('b', 'madeAt', 2)
    const { rows } = await outbox.take()
    const [a, b] = rows.map(row => row.task)
    for (const ms of [a?.delayMs ?? 0, a?.unique?.forMs ?? 0]) expect(Math.abs(ms - 3_600_000)).toBeLessThan(10_000)
    expect([b?.delayMs, b?.unique?.forMs]).toEqual([0, 1])
  })

  test('gives up what was marked more than 23 hours ago, and never what was not marked', async () => {
    await add(task('unmarked'), task('recent'), task('old'))
    const { rows } = await outbox.take()
    await outbox.putBack(rows, 0)
    await db.run(`update "outbox" set "claimedAt" = null, "madeAt" = utc_timestamp(3) - interval 400 day where "taskId" = 'unmarked'`)
    await age('recent', 'claimedAt', 22)
    await age('old', 'claimedAt', 24)
    const taken = await outbox.take()
    expect([ids(taken), taken.givenUp]).toEqual([['unmarked', 'recent'], ['old']])
    expect(await outbox.hasSome()).toBe(false)
    const state = await outbox.look()
    expect([state.rows, state.givenUp]).toEqual([2, 1])
    expect(state.oldestMs).toBeGreaterThan(399 * 86_400_000)

    const found = await outbox.givenUp('mail', 10)
    expect(found.map(({ id }) => id)).toEqual(['old'])
    expect(found[0]?.reason).toMatch(/since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/)
    expect(await outbox.givenUp('default', 10)).toEqual([])
  })

  describe('what an operator decides', () => {
    beforeEach(async () => {
      await add(task('old'), task('marked'), task('waiting'))
      const { rows } = await outbox.take()
      await outbox.putBack(rows, 0)
      await age('old', 'claimedAt', 24)
      await db.run(`update "outbox" set "claimedAt" = null where "taskId" = 'waiting'`)
      await outbox.putBack((await outbox.take()).rows, 0)
      await db.run(`update "outbox" set "claimedAt" = null where "taskId" = 'waiting'`)
      rung = 0
    })
    test('again: it is handed over once more', async () => {
      expect([await outbox.retry('marked'), await outbox.retry('nobody'), rung]).toEqual([false, false, 0])
      expect([await outbox.retry('old'), rung]).toEqual([true, 1])
      expect(ids(await outbox.take())).toContain('old')
    })
    test('away: what was given up, or is with nobody else yet', async () => {
      expect(await outbox.remove('marked')).toBe(false)
      expect(await outbox.remove('old')).toBe(true)
      expect(await outbox.remove('waiting')).toBe(true)
      expect(await outbox.remove('waiting')).toBe(false)
      expect(ids(await outbox.take())).toEqual(['marked'])
    })
  })
})
