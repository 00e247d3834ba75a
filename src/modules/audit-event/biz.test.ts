import { describe, expect, test } from 'bun:test'
import type { Actor, AuditEntry } from '@/core/audit'
import type { Database } from '@/core/database'
import { createStore } from '@/core/store'
import { auditOn, auditRows, grace, putBack } from '@/testing/audit-logs'
import { onEachBacking } from '@/testing/backings'
import { failure, openAgain, withTx } from '@/testing/conformance/fixture'
import { useMigrated } from '@/testing/migrated'
import { adminCalled } from '@/testing/identities'
import { users } from '@/modules/user/schema'
import { refusalsPerActorMax, refusalsPerMinuteMax } from './refusals'
import { changeMax } from './schema'
import { auditEventStore } from './store'

const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const minuteMs = 60_000

onEachBacking('the audit log', open => {
  const scene = useMigrated(open)
  const last = async () => {
    const { last } = await ends()
    return (await auditEventStore(scene.db).from(last, 1))[0]
  }
  const ends = () =>
    auditOn(scene.db)
      .head()
      .then(({ seq }) => ({ last: seq }))
  const user = (username: string) => ({ username, email: `${username}@example.com`, passwordHash: 'x', status: 'active' as const })

  test('keeps what was done, by whom, from where and in which request, with what it was before and after', async () => {
    const clock = { nowMs: () => startMs }
    const audit = auditOn(scene.db, clock)
    const entry = { action: 'user.suspend', object: 'user:1', before: { status: 'active' }, after: { status: 'suspended' } }
    await audit.note(grace, entry)
    const shown = await audit.get((await last())?.id ?? '')
    expect(shown).toMatchObject({ ...grace, ...entry, outcome: 'done', at: '2026-01-31T09:05:00.000Z' })
    await audit.note(
      { actor: undefined, address: 'unknown' },
      { action: 'admin-session.refused', outcome: 'refused', reason: 'Unauthenticated.X' },
    )
    const { actor, actorName, requestId, object, before, after } = (await audit.list({})).items[0] ?? {}
    expect([actor, actorName, requestId, object, before, after]).toEqual(Array.from({ length: 6 }, () => undefined))
    expect(await failure(audit.get(Bun.randomUUIDv7()))).toBe('NotFound.EventNotFound')
    expect(await failure(audit.get('x'))).toBe('NotFound.EventNotFound')
  })

  test('an event is kept with its change or not at all: what is undone leaves no event, and what cannot be written down is undone', async () => {
    const audit = auditOn(scene.db)
    const before = await audit.head()
    const change = (name: string, then: () => void = () => {}, db: Database = scene.db) =>
      db.tx(async tx => {
        await createStore(tx, users).create(user(name))
        await audit.record(tx, grace, { action: 'user.create', object: name })
        then()
      })
    const undone = new Error('no')
    expect(
      await failure(
        change('undone', () => {
          throw undone
        }),
      ),
    ).toBe('no')
    expect([await audit.head(), await createStore(scene.db, users).exists({ username: 'undone' })]).toEqual([before, false])

    // Each statement that writes down fails in its turn.
    for (const part of ['from "auditHead"', 'insert into "auditEvent"', 'update "auditHead"']) {
      const failing = withTx(scene.db, tx => {
        const refused = (sql: string) => (sql.includes(part) ? Promise.reject(new Error(`fails: ${part}`)) : undefined)
        return {
          first: (...asked) => refused(asked[0]) ?? tx.first(...asked),
          run: (...asked) => refused(asked[0]) ?? tx.run(...asked),
        }
      })
      expect(await failure(change('unwritten', () => {}, failing))).toBe(`fails: ${part}`)
      expect([await audit.head(), await createStore(scene.db, users).exists({ username: 'unwritten' })]).toEqual([before, false])
    }
    await change('kept')
    expect([(await audit.head()).seq, (await last())?.object]).toEqual([before.seq + 1, 'kept'])
    expect(await audit.verify()).toMatchObject({ isWhole: true })
  })

  test('is not written outside a transaction, and takes what is undone to a savepoint back', async () => {
    const audit = auditOn(scene.db)
    expect(await failure(audit.record(scene.db, grace, { action: 'a.b' }))).toContain('in the transaction that does it')
    const before = await audit.head()
    await scene.db.tx(async tx => {
      await audit.record(tx, grace, { action: 'a.outer' })
      await failure(
        tx.tx(async inner => {
          await audit.record(inner, grace, { action: 'a.inner' })
          throw new Error('undone')
        }),
      )
      await audit.record(tx, grace, { action: 'a.after' })
    })
    const written = await auditEventStore(scene.db).from(before.seq + 1, 10)
    expect(written.map(({ action }) => action)).toEqual(['a.outer', 'a.after'])
    expect(await audit.verify()).toMatchObject({ isWhole: true })
  })

  test('takes any text, so that nothing is done unseen because of its name; long changes are cut', async () => {
    const audit = auditOn(scene.db)
    const odd = [
      '\0',
      '\ud800',
      'x'.repeat(100_000),
      '<script>alert(1)</script>',
      "'; drop table user; --",
      '👩‍🚀'.repeat(99),
      '=1+1',
      '\r\n',
    ]
    for (const text of odd) {
      const by: Actor = { actor: text, actorName: text, address: text, requestId: text }
      const entry: AuditEntry = {
        action: text,
        object: text,
        reason: text,
        before: { [text]: text },
        after: [text, { __proto__: null, text }],
      }
      await audit.note(by, entry)
      const row = await last()
      expect(row?.action.length).toBeLessThanOrEqual(64)
      if (text.length < 30)
        expect([row?.action, JSON.parse(row?.before ?? '')]).toEqual([text.replace('\0', '\ufffd').toWellFormed(), { [text]: text }])
    }
    await audit.note(grace, { action: 'a.long', after: { text: '"'.repeat(changeMax) } })
    const row = await last()
    expect(row?.after?.length).toBeLessThanOrEqual(changeMax * 2 + 3)
    expect((await audit.get(row?.id ?? '')).after).toStartWith('{"text":"')
    expect(await audit.verify()).toMatchObject({ isWhole: true })
  })

  test('a hundred changes at once in two processes make one chain', async () => {
    const audit = auditOn(scene.db)
    const before = await audit.head()
    const writers = ['one', 'other'].map(name =>
      Bun.spawn([process.execPath, 'src/testing/audit-logs.ts', scene.backing.url, name, '50'], { stderr: 'pipe' }),
    )
    for (const { exited, stderr } of writers) expect([await stderr.text(), await exited]).toEqual(['', 0])
    const written = await auditEventStore(scene.db).from(before.seq + 1, 1000)
    for (const name of ['one', 'other'])
      expect(
        written
          .filter(({ actorName }) => actorName === name)
          .map(({ after }) => JSON.parse(after ?? '').i)
          .toSorted((a, b) => a - b),
      ).toEqual(Array.from({ length: 50 }, (_, i) => i))
    expect(new Set(written.map(({ actorName }) => actorName)).size).toBe(2)
    expect(await audit.verify()).toMatchObject({ isWhole: true, head: { seq: before.seq + 100 } })
  }, 120_000)

  test('says that nothing was done when it cannot be written', async () => {
    const rows = await auditRows(scene.db)
    await scene.db.run('delete from "auditHead"')
    expect(await failure(auditOn(scene.db).note(grace, { action: 'queue.pause' }))).toBe('Unavailable.NotWritten')
    expect((await auditRows(scene.db)).auditEvent).toEqual(rows.auditEvent)
    await putBack(scene.db, rows)
  })

  describe('refusals', () => {
    test('that nobody waits for are there when the process has ended, and of a flood nothing more is looked up', async () => {
      const { refused, denials, head } = auditOn(scene.db, { nowMs: () => startMs })
      const before = await head()
      let asked = 0
      const more = async () => ({ object: `admin:${++asked}` })
      const each = () => refused({ actor: undefined, address: '192.0.2.1' }, { action: 'admin-session.refused', reason: 'X.Y' }, more)
      for (let i = 0; i < 2 * refusalsPerActorMax; i++) each()
      await denials.settle()
      const written = (await scene.db.all('select "object" from "auditEvent" where "seq" > ? and "reason" = ?', [before.seq, 'X.Y'])).length
      expect([written, asked]).toEqual([refusalsPerActorMax, refusalsPerActorMax])
      refused({ actor: undefined, address: '198.51.100.1' }, { action: 'admin-session.refused' }, () => Promise.reject(new Error('away')))
      await denials.settle()
    })

    test('are written down so many a minute, of each and of all, and the others are counted in one event', async () => {
      const clock = { ms: startMs, nowMs: () => clock.ms }
      const { note, denials, head, list } = auditOn(scene.db, clock)
      const before = await head()
      const refused = (address: string, actor?: string) =>
        note({ actor, address }, { action: 'admin-session.refused', outcome: 'refused', reason: 'Unauthenticated.LogInRefused' })
      for (let i = 0; i < 500; i++) await refused('192.0.2.1')
      // Any address of a network of theirs.
      for (let i = 0; i < 50; i++) await refused(`2001:db8::${i.toString(16)}`)
      expect((await head()).seq).toBe(before.seq + 2 * refusalsPerActorMax)
      for (let i = 0; i < 200; i++) await refused(`203.0.113.${i}`)
      expect((await head()).seq).toBe(before.seq + refusalsPerMinuteMax)
      // However many strangers there are, whoever is known has a share of their own, from wherever; each of them.
      for (let i = 0; i < 50; i++) await refused(`198.51.100.${i}`, 'admin:known')
      for (let i = 0; i < 11; i++) await refused('192.0.2.1', 'admin:other')
      expect((await head()).seq).toBe(before.seq + refusalsPerMinuteMax + 2 * refusalsPerActorMax)
      for (let i = 0; i < 200; i++) await refused('192.0.2.2', `admin:${i}`)
      const written = before.seq + 2 * refusalsPerMinuteMax
      expect((await head()).seq).toBe(written)
      // What is done is always written down.
      await note({ actor: 'admin:known', address: '192.0.2.1' }, { action: 'queue.pause' })
      expect((await head()).seq).toBe(written + 1)
      await denials.settle()
      const [counted] = (await list({ action: 'audit-event.leave-out' })).items
      expect(counted).toMatchObject({
        seq: written + 2,
        outcome: 'refused',
        after: { count: 1011 - 2 * refusalsPerMinuteMax, strangers: 650, known: { 'admin:known': 40, 'admin:other': 1 } },
      })
      await denials.settle()
      expect((await head()).seq).toBe(written + 2)
      clock.ms += minuteMs
      await refused('192.0.2.1')
      expect((await head()).seq).toBe(written + 3)
    })

    test('of requests are written down by the time that it settles, and what fails of them is logged', async () => {
      const { denials, log } = auditOn(scene.db)
      const asking = { identity: adminCalled('ada', []), address: '192.0.2.9', requestId: 'r-9' }
      denials.denied({ asking, method: 'POST', path: '/admin/v1/users/1/suspend', code: 'PermissionDenied.Permission' })
      await denials.settle()
      expect(await last()).toMatchObject({
        ...{ actor: 'admin:ada', actorName: 'ada', address: '192.0.2.9', requestId: 'r-9', action: 'access.refused' },
        ...{ object: 'POST /admin/v1/users/1/suspend', outcome: 'refused', reason: 'PermissionDenied.Permission' },
      })
      const db = await openAgain(scene.backing)
      await db.close()
      const away = auditOn(db)
      away.denials.denied({ asking, method: 'GET', path: '/', code: 'X.Y' })
      await away.denials.settle()
      expect([log.lines, away.log.lines]).toMatchObject([
        [],
        [{ level: 'error', message: 'a refusal could not be written to the audit log' }],
      ])
    })
  })
})
