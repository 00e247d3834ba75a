import { beforeEach, describe, expect, test } from 'bun:test'
import type { Database, SqlValue } from '@/core/database'
import { dayMs } from '@/core/clock'
import { createCipher } from '@/core/seal'
import { auditKeptMs, auditOn, auditRows, grace, insertRow, putBack } from '@/testing/audit-logs'
import { onEachBacking } from '@/testing/backings'
import { useMigrated } from '@/testing/migrated'
import { hashOf } from './chain'
import { auditEvents, auditHeads } from './schema'
import { auditEventStore, auditHeadStore } from './store'
import { auditVerifyBiz, type ChainLink } from './verify.biz'

type Row = Record<string, SqlValue>
const count = 6
const nobody: ChainLink = { seq: 0, hash: '' }

onEachBacking('the chain of the audit log', open => {
  const scene = useMigrated(open)
  let pristine: Awaited<ReturnType<typeof auditRows>>
  let whole: Awaited<ReturnType<typeof auditRows>>
  const clock = { ms: Date.parse('2026-01-31T09:05:00.000Z'), nowMs: () => clock.ms }
  const verdict = async (db: Database = scene.db, noted?: ChainLink) => {
    const said = await auditOn(db).verify(noted && { noted })
    return said.isWhole ? 'whole' : said.seq
  }
  const set = (seq: number, column: string, value: SqlValue) =>
    scene.db.run(`update "auditEvent" set "${column}" = ? where "seq" = ?`, [value, seq])
  const remove = (seq: number) => scene.db.run('delete from "auditEvent" where "seq" = ?', [seq])

  /** Six events, a day apart, each with all columns. */
  beforeEach(async () => {
    pristine ??= await auditRows(scene.db)
    await putBack(scene.db, pristine)
    const { note } = auditOn(scene.db, clock)
    for (let i = 1; i <= count; i++) {
      await note(grace, {
        action: 'user.suspend',
        object: `user:${i}`,
        before: { i },
        after: { i: i + 1 },
        outcome: 'failed',
        reason: 'Why.Not',
      })
      clock.ms += dayMs
    }
    whole = await auditRows(scene.db)
  })

  test('is whole as it is written', async () => {
    const { verify, head } = auditOn(scene.db)
    const ended = await head()
    const begunAt = '2026-01-31T09:05:00.000Z'
    expect(await verify()).toEqual({ isWhole: true, head: ended, events: count, removedUpTo: 0, begunAt })
    expect(ended).toEqual({ seq: count, hash: String(whole.auditEvent.at(-1)?.['hash']) })
    expect(await verify({ noted: ended })).toMatchObject({ noted: 'matches' })
  })

  describe('is broken', () => {
    for (const { name, kind } of auditEvents.columns) {
      test(`when ${name} of an event was changed, whichever event`, async () => {
        for (const seq of [1, 3, count]) {
          const row = whole.auditEvent[seq - 1] as Row
          const other = kind === 'id' ? Bun.randomUUIDv7() : name === 'seq' ? 99 : changed(row[name] as SqlValue)
          await set(seq, name, other)
          expect([name, seq, await verdict()]).not.toEqual([name, seq, 'whole'])
          if (name !== 'seq') expect([name, seq, await verdict()]).toEqual([name, seq, seq])
          await putBack(scene.db, whole)
          expect(await verdict()).toBe('whole')
        }
      })
    }

    test('when a value was taken out, or put where there was none', async () => {
      for (const name of ['actor', 'actorName', 'requestId', 'object', 'reason', 'before', 'after']) {
        await set(2, name, null)
        expect([name, await verdict()]).toEqual([name, 2])
        await putBack(scene.db, whole)
      }
      await auditOn(scene.db).note({ actor: undefined, address: 'x' }, { action: 'a.b' })
      await set(count + 1, 'actor', '')
      expect(await verdict()).toBe(count + 1)
    })

    test('when the first, one in the middle, or the last was deleted', async () => {
      for (const seq of [1, 3, count]) {
        await remove(seq)
        expect(await verdict()).toBe(seq)
        await putBack(scene.db, whole)
      }
      await scene.db.run('delete from "auditEvent"')
      expect(await verdict()).toBe(1)
    })

    test('when two were swapped, or what they say was', async () => {
      const [, second, third] = whole.auditEvent as [Row, Row, Row]
      await putBack(scene.db, { ...whole, auditEvent: [...whole.auditEvent.filter(row => row !== second && row !== third)] })
      await insertRow(scene.db, 'auditEvent', { ...second, seq: third['seq'] as number })
      await insertRow(scene.db, 'auditEvent', { ...third, seq: second['seq'] as number })
      expect(await verdict()).toBe(2)
    })

    test('when one was put in: behind the last, before the first, or in the place of another with those behind it moved', async () => {
      const forged = { ...(whole.auditEvent[2] as Row), id: Bun.randomUUIDv7() }
      for (const [seq, found] of [
        [count + 1, count + 1],
        [count + 5, count + 1],
        [0, 0],
        [-4, -4],
      ] as const) {
        await insertRow(scene.db, 'auditEvent', { ...forged, seq })
        expect([seq, await verdict()]).toEqual([seq, found])
        await putBack(scene.db, whole)
      }
      const moved = whole.auditEvent.map(row => (Number(row['seq']) >= 3 ? { ...row, seq: Number(row['seq']) + 1 } : row))
      await putBack(scene.db, { ...whole, auditEvent: [...moved, forged] })
      expect(await verdict()).not.toBe('whole')
    })

    test('when the first were deleted, and the head says that they were too old', async () => {
      for (const seq of [1, 2, 3]) await remove(seq)
      await auditHeadStore(scene.db).set({ cutSeq: 3, cutHash: String(whole.auditEvent[2]?.['hash']) })
      expect(await verdict()).toBe(count)
      // Nor is there anything that events written later make true.
      const { note, log } = auditOn(scene.db, clock)
      await note(grace, { action: 'user.restore' })
      expect([await verdict(), log.lines]).toMatchObject([count + 1, [{ level: 'error' }]])
    })

    test('when it was emptied, and the head says that there never was an event; and what is written later does not make it whole', async () => {
      for (const head of [
        `"seq" = 0, "hash" = '', "digest" = '', "cutSeq" = 0`,
        `"seq" = 0, "hash" = '', "digest" = '', "cutSeq" = 0, "cutHash" = ''`,
        `"seq" = 0, "hash" = "cutHash"`,
        `"cutSeq" = "seq", "cutHash" = "hash"`,
        `"cutSeq" = "seq", "cutHash" = "hash", "digest" = ''`,
      ]) {
        await scene.db.run('delete from "auditEvent"')
        await scene.db.run(`update "auditHead" set ${head}`)
        expect([head, await verdict()]).not.toEqual([head, 'whole'])
        await auditOn(scene.db, clock).note(grace, { action: 'user.restore' })
        expect([head, await verdict()]).not.toEqual([head, 'whole'])
        await putBack(scene.db, whole)
      }
    })

    test('when one of another history is put in, as of a backup that was played in and out again', async () => {
      const { note } = auditOn(scene.db, clock)
      await note(grace, { action: 'user.delete' })
      const other = (await auditRows(scene.db)).auditEvent.at(-1) as Row
      await putBack(scene.db, whole)
      for (const action of ['user.suspend', 'user.restore']) await note(grace, { action })
      await remove(count + 1)
      await insertRow(scene.db, 'auditEvent', other)
      expect(await verdict()).toBe(count + 2)
    })

    test('when somebody without the key hashes all behind a change anew', async () => {
      const theirs = createCipher(new Uint8Array(32).fill(1), 'test')
      const rows = await auditEventStore(scene.db).from(0, count)
      for (const [i, row] of rows.entries()) {
        if (i < 2) continue
        const reason = i === 2 ? 'Other.Reason' : 'Why.Not'
        const hash = hashOf(theirs, rows[i - 1]?.hash ?? '', { ...row, reason })
        rows[i] = { ...row, reason, hash }
        await set(row.seq, 'hash', hash)
        await set(row.seq, 'reason', reason)
      }
      await auditHeadStore(scene.db).set({ hash: rows.at(-1)?.hash ?? '' })
      expect(await verdict()).toBe(count)
      const verified = auditVerifyBiz({ db: scene.db, cipher: theirs, events: auditEventStore, heads: auditHeadStore })
      expect(await verified.verify()).toMatchObject({ isWhole: false })
    })

    test('when the head was changed in any way, or is gone', async () => {
      const own = auditHeads.columns.filter(({ name }) => /^(seq|hash|digest|cutSeq|cutHash|begunAt)$/.test(name))
      expect(own).toHaveLength(6)
      for (const { name, kind } of own.filter(({ name }) => name !== 'begunAt'))
        for (const value of kind === 'integer' ? [count - 1, count + 1, 3] : ['x'.repeat(43)]) {
          await scene.db.run(`update "auditHead" set "${name}" = ?`, [value])
          expect([name, value, await verdict()]).not.toEqual([name, value, 'whole'])
          await putBack(scene.db, whole)
        }
      await scene.db.run('delete from "auditHead"')
      expect(await verdict()).toBe(count)
    })
  })

  test('an audit log that was set back with its head is whole, unless a head that was noted is at hand', async () => {
    const before = await auditRows(scene.db)
    const { note, head } = auditOn(scene.db)
    await note(grace, { action: 'user.delete' })
    const noted = await head()
    await putBack(scene.db, before)
    expect([await verdict(), await verdict(scene.db, noted)]).toEqual(['whole', count + 1])
    // Another history since then, of the same length.
    await note(grace, { action: 'user.restore' })
    expect([await verdict(), await verdict(scene.db, noted)]).toEqual(['whole', count + 1])
    await note(grace, { action: 'user.restore' })
    expect([await verdict(), await verdict(scene.db, noted)]).toEqual(['whole', count + 1])
  })

  test('goes on, and is whole, when what is too old was removed; before that nothing may be put, and nothing more be taken', async () => {
    const { verify, removeOld, note, head } = auditOn(scene.db, clock)
    expect(await removeOld(100)).toBe(0)
    clock.ms = Date.parse(String((await auditEventStore(scene.db).from(3, 1))[0]?.createdAt)) + auditKeptMs + 1
    expect([await removeOld(2), await removeOld(2), await removeOld(2)]).toEqual([2, 1, 0])
    expect(await verify()).toMatchObject({ isWhole: true, events: count - 3, removedUpTo: 3 })
    const cut = await auditRows(scene.db)
    for (const [noted, said] of [
      [{ seq: 3, hash: String(whole.auditEvent[2]?.['hash']) }, 'matches'],
      [{ seq: 1, hash: nobody.hash }, 'older'],
    ] as const)
      expect(await verify({ noted })).toMatchObject({ isWhole: true, noted: said })
    expect(await verdict(scene.db, { seq: 3, hash: 'x'.repeat(43) })).toBe(3)

    await insertRow(scene.db, 'auditEvent', whole.auditEvent[2] as Row)
    expect(await verdict()).toBe(3)
    await putBack(scene.db, cut)
    await remove(4)
    expect(await verdict()).toBe(4)
    await putBack(scene.db, cut)
    for (const [cutSeq, cutHash] of [
      [4, whole.auditEvent[3]?.['hash']],
      [2, whole.auditEvent[1]?.['hash']],
      [0, ''],
    ] as const) {
      await auditHeadStore(scene.db).set({ cutSeq, cutHash: String(cutHash) })
      expect([cutSeq, await verdict()]).not.toEqual([cutSeq, 'whole'])
      await putBack(scene.db, cut)
    }
    // All of them, and it goes on behind.
    clock.ms += 10 * dayMs
    expect([await removeOld(100), await verdict()]).toEqual([3, 'whole'])
    await note(grace, { action: 'user.restore' })
    expect([(await head()).seq, await verdict()]).toEqual([count + 1, 'whole'])
  })

  test('an event that is not as it was written is not removed for its age, and the log says so', async () => {
    const { removeOld, log } = auditOn(scene.db, clock)
    await set(2, 'reason', 'Other.Reason')
    clock.ms += 2 * auditKeptMs
    expect([await removeOld(100), await removeOld(100)]).toEqual([1, 0])
    expect([await verdict(), (await auditRows(scene.db)).auditEvent]).toMatchObject([2, { length: count - 1 }])
    expect(log.lines.filter(({ level }) => level === 'error')).toMatchObject([{ fields: { seq: 2 } }, { fields: { seq: 2 } }])
  })

  test('is whole for whoever looks while others write and the oldest are removed', async () => {
    const { note, verify, removeOld } = auditOn(scene.db, clock)
    for (let i = 0; i < 60; i++) await note(grace, { action: 'a.b' })
    clock.ms += auditKeptMs + 1
    let isLooking = true
    const busy = (async () => {
      while (isLooking) {
        await note(grace, { action: 'a.c' })
        await removeOld(7)
      }
    })()
    for (let i = 0; i < 20; i++) expect(await verify()).toMatchObject({ isWhole: true })
    isLooking = false
    await busy
  }, 30_000)
})

/** Something else of the same kind, as the driver has it. */
function changed(value: SqlValue): SqlValue {
  if (typeof value === 'number') return value + 1000
  if (typeof value === 'bigint') return value + 1000n
  if ((value as unknown) instanceof Date)
    return new Date((value as unknown as Date).getTime() + 1000).toISOString().slice(0, 23).replace('T', ' ')
  const text = String(value)
  if (/^\d{4}-\d\d-\d\d \d\d:/.test(text)) return text.replace(/^\d{4}/, '2001')
  if (text === 'failed') return 'done'
  return `${text.slice(0, -1)}${text.endsWith('x') ? 'y' : 'x'}`
}
