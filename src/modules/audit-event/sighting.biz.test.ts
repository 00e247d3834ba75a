import { beforeEach, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { dayMs } from '@/core/clock'
import { auditOn, auditRows, grace, putBack } from '@/testing/audit-logs'
import { onEachBacking } from '@/testing/backings'
import { useMigrated } from '@/testing/migrated'
import { linkText } from './sighting.biz'
import type { ChainLink } from './verify.biz'

onEachBacking('an audit log that was emptied, or set back,', open => {
  const scene = useMigrated(open)
  let pristine: Awaited<ReturnType<typeof auditRows>>
  const clock = { ms: Date.parse('2026-01-31T09:05:00.000Z'), nowMs: () => clock.ms }
  const verdict = async (db: Database = scene.db, noted?: ChainLink) => {
    const said = await auditOn(db).verify(noted && { noted })
    return said.isWhole ? 'whole' : said.seq
  }

  beforeEach(async () => {
    pristine ??= await auditRows(scene.db)
    await putBack(scene.db, pristine)
    await auditOn(scene.db, clock).note(grace, { action: 'user.suspend' })
    clock.ms += dayMs
  })

  test('looks as on the first day: it is not whole, and what is written then begins anew, which it says, as does who has seen more', async () => {
    const seeing = auditOn(scene.db, clock)
    await seeing.note(grace, { action: 'user.delete' })
    await seeing.logHead()
    const noted = await seeing.head()
    expect(seeing.log.lines).toMatchObject([{ level: 'info', fields: { head: linkText(noted) } }])
    const wipe = async () => {
      await putBack(scene.db, pristine)
      seeing.log.lines.length = 0
    }
    await wipe()
    expect(await seeing.verify()).toMatchObject({ isWhole: false, problem: expect.stringContaining('somebody has emptied it') })
    const back = { level: 'error', message: expect.stringContaining('was set back'), fields: { seen: linkText(noted) } }
    await seeing.logHead()
    expect(seeing.log.lines).toMatchObject([back])
    // A process that was started since then cannot know more than that.
    const starting = auditOn(scene.db, clock)
    await starting.logHead()
    expect(starting.log.lines).toMatchObject([{ level: 'warn' }])

    seeing.log.lines.length = 0
    await seeing.note(grace, { action: 'user.restore' })
    expect(seeing.log.lines).toMatchObject([back, { level: 'info', message: 'the audit log begins' }])
    const begunAt = new Date(clock.ms).toISOString()
    expect(await seeing.verify()).toMatchObject({ isWhole: true, events: 1, begunAt })
    expect(await verdict(scene.db, noted)).toBe(2)
    // Nor can it say that it has begun when it had.
    await scene.db.run('update "auditHead" set "begunAt" = "createdAt"')
    expect(await verdict()).toBe(1)
  })

  test('is found by a process that has seen more than there is, also when more was written since', async () => {
    const before = await auditRows(scene.db)
    const seeing = auditOn(scene.db, clock)
    await seeing.note(grace, { action: 'user.delete' })
    await putBack(scene.db, before)
    await seeing.logHead()
    const other = auditOn(scene.db, clock)
    for (let i = 0; i < 3; i++) {
      await other.note(grace, { action: 'user.restore' })
      await seeing.logHead()
    }
    expect(seeing.log.lines.map(({ level }) => level)).toEqual(Array.from({ length: 4 }, () => 'error'))
    expect([await verdict(), other.log.lines]).toEqual(['whole', []])
  })

  test('is found by none that has undone what it wrote, or that others overtake', async () => {
    const [here, there] = [auditOn(scene.db, clock), auditOn(scene.db, clock)]
    const undone = scene.db.tx(async tx => {
      for (let i = 0; i < 3; i++) await here.record(tx, grace, { action: 'a.b' })
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    await Promise.all([here, there, here, there].flatMap(({ note, logHead }) => [note(grace, { action: 'a.b' }), logHead()]))
    await here.logHead()
    expect([...here.log.lines, ...there.log.lines].filter(({ level }) => level !== 'info')).toEqual([])
  })
})
