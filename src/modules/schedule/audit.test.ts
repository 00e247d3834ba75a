import { beforeAll, expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import type { AuditLog } from '@/core/audit'
import { systemClock } from '@/core/clock'
import { createCipher } from '@/core/seal'
import { auditEventBiz } from '@/modules/audit-event/biz'
import { createSighting } from '@/modules/audit-event/sighting.biz'
import { auditEventStore, auditHeadStore } from '@/modules/audit-event/store'
import { onEachBacking } from '@/testing/backings'
import { fakeLog } from '@/testing/fakes'
import { adminCalled } from '@/testing/identities'
import { newDefinition, useSchedules } from '@/testing/schedules'
import { type ScheduleBiz, scheduleBiz } from './biz'

const asking: Asking = { identity: adminCalled('operator'), address: '203.0.113.7', requestId: 'r-1' }
const by = { actor: 'admin:operator', actorName: 'operator', address: '203.0.113.7', requestId: 'r-1', outcome: 'done' }

onEachBacking('what administrators do with schedules is written down with it', open => {
  const { scene, kept, tasks, refused } = useSchedules(open)
  let audit: Pick<AuditLog<string>, 'record'>
  let biz: ScheduleBiz
  /** It writes down all, and then fails: both are to be undone. */
  let failing: ScheduleBiz
  beforeAll(() => {
    const { db, admin: schedules } = scene
    const cipher = createCipher(Buffer.alloc(32, 7), 'payload')
    const log = fakeLog()
    audit = auditEventBiz({
      db,
      clock: systemClock,
      cipher,
      log,
      events: auditEventStore,
      heads: auditHeadStore,
      sighting: createSighting(log),
    })
    biz = scheduleBiz({ schedules, log, queueAdmin: { tasks: [] }, audit })
    const record: AuditLog<string>['record'] = async (...event) => {
      await audit.record(...event)
      throw new Error('midway')
    }
    failing = scheduleBiz({ schedules, log, queueAdmin: { tasks: [] }, audit: { record } })
  })

  async function eventsOf(id: string) {
    const rows = await scene.db.all('select * from "auditEvent" where "object" = ? order by "seq"', [`schedule:${id}`], { from: 'primary' })
    const read = (value: unknown) => (value === null ? undefined : (JSON.parse(String(value)) as unknown))
    return rows.map(row => ({ ...row, action: row['action'], before: read(row['before']), after: read(row['after']) }))
  }
  const countOf = async () =>
    Number((await scene.db.first('select count(*) as "count" from "auditEvent"', [], { from: 'primary' }))?.['count'])

  test('who has made, changed, paused, resumed, run and deleted one, from where, and what it was before and after', async () => {
    const { id, name } = await biz.create(newDefinition({ payload: { to: 'Ada', copies: 2 } }), asking)
    await biz.change(id, { jitterMs: 9, payload: { copies: 3 } }, {}, asking)
    await biz.pause(id, asking)
    await biz.resume(name, asking)
    const { taskId } = await biz.run(name, asking)
    await biz.remove(id, {}, asking)
    const whole = { name, cron: '0 3 * * *', task: 'report.send', jitterMs: 0, isPaused: false }
    const [made, changed, paused, resumed, run, deleted] = await eventsOf(id)
    // What tasks are about may be personal, and events are kept for long.
    expect(JSON.stringify(await eventsOf(id))).not.toContain('Ada')
    expect(made).toMatchObject({ ...by, action: 'schedule.create', before: undefined, after: whole })
    expect(changed).toMatchObject({ ...by, action: 'schedule.change' })
    expect([changed?.before, changed?.after]).toEqual([
      { name, jitterMs: 0 },
      { name, jitterMs: 9, payloadChanged: true },
    ])
    expect([paused?.action, paused?.before, paused?.after]).toEqual(['schedule.pause', { name, isPaused: false }, { name, isPaused: true }])
    expect([resumed?.action, resumed?.before, resumed?.after]).toEqual([
      'schedule.resume',
      { name, isPaused: true },
      { name, isPaused: false },
    ])
    expect(run).toMatchObject({ ...by, action: 'schedule.run', after: { name, taskId } })
    expect(deleted).toMatchObject({
      ...by,
      action: 'schedule.delete',
      before: { ...whole, jitterMs: 9 },
      after: undefined,
    })
  })

  test('what changes nothing, and what is refused, leaves no line', async () => {
    const { id, version } = await biz.create(newDefinition(), asking)
    await biz.pause(id, asking)
    const before = await countOf()
    await biz.pause(id, asking)
    await biz.change(id, {}, {}, asking)
    expect(await refused(biz.change(id, { cron: 'x' }, {}, asking))).toBe('Unprocessable.ScheduleInvalid')
    expect(await refused(biz.change(id, { jitterMs: 1 }, { versions: [version] }, asking))).toBe('FailedPrecondition.VersionMismatch')
    expect(await refused(biz.remove('nothing', {}, asking))).toBe('NotFound.ScheduleNotFound')
    expect(await refused(biz.create(newDefinition({ name: (await biz.get(id)).name }), asking))).toBe('Conflict.ScheduleNameTaken')
    expect(await countOf()).toBe(before)
  })

  test('both are kept, or neither', async () => {
    const { id } = await biz.create(newDefinition(), asking)
    const paused = await biz.create(newDefinition(), asking)
    await biz.pause(paused.id, asking)
    const all = async () => [await kept(), await tasks(), await countOf()]
    const before = await all()
    for (const work of [
      () => failing.create(newDefinition(), asking),
      () => failing.change(id, { jitterMs: 9 }, {}, asking),
      () => failing.pause(id, asking),
      () => failing.resume(paused.id, asking),
      () => failing.run(id, asking),
      () => failing.remove(id, {}, asking),
    ]) {
      expect(await refused(work())).toBe('Error: midway')
      expect(await all()).toEqual(before)
    }
  })

  test('changes of many at the same time are all made, each with its line', async () => {
    const made = await Promise.all(Array.from({ length: 10 }, () => biz.create(newDefinition(), asking)))
    await Promise.all(made.flatMap(({ id }) => [biz.change(id, { jitterMs: 9 }, {}, asking), biz.pause(id, asking), biz.run(id, asking)]))
    for (const { id } of made) {
      expect(await biz.get(id)).toMatchObject({ jitterMs: 9, isPaused: true })
      expect((await eventsOf(id)).map(({ action }) => action).toSorted()).toEqual(
        ['change', 'create', 'pause', 'run'].map(verb => `schedule.${verb}`),
      )
    }
  }, 60_000)
})
