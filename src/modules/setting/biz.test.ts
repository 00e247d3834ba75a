import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import { systemClock } from '@/core/clock'
import type { LiveValues } from '@/core/live-settings'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openIdentities } from '@/infra/identity/open'
import { openLiveSettings } from '@/infra/live-settings/open'
import { migrations } from '@/migrations'
import { auditEventBiz } from '@/modules/audit-event/biz'
import { createSighting } from '@/modules/audit-event/sighting.biz'
import { auditEventStore, auditHeadStore } from '@/modules/audit-event/store'
import { type Backing, onEachBacking } from '@/testing/backings'
import { until } from '@/testing/conformance/cache-fixture'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeLog, testCipher } from '@/testing/fakes'
import { adminCalled } from '@/testing/identities'
import { settingBiz } from './biz'
import { settingStore } from './store'

const config = { account: { signUp: 'open' as const }, log: { level: 'info' as const } }
const configured: LiveValues = { maintenance: { isOn: false }, signUp: 'open', logLevel: 'info' }
const asking: Asking = { identity: adminCalled('grace'), address: '192.0.2.1', requestId: 'r-1' }

onEachBacking('settings', open => {
  let backing: Backing
  /** Of two processes. */
  let own: OpenDatabase
  let others: OpenDatabase
  beforeAll(async () => {
    backing = await open()
    own = await openAgain(backing)
    others = await openAgain(backing)
    await migrateUp(own, migrations)
  }, 60_000)
  afterAll(async () => {
    await Promise.all([own.close(), others.close()])
    await backing.dispose()
  })
  beforeEach(async () => {
    await own.run('delete from "setting"')
    await own.run('delete from "auditEvent"')
  })

  /** All that a process has of settings. It watches only when it is told to. */
  function processOn(db: OpenDatabase) {
    const log = fakeLog()
    const { liveSettings, rememberer, service, follow } = openLiveSettings(db, config, log)
    const { revocations, watch } = openIdentities(db, { clock: systemClock, log }, [rememberer])
    const audit = auditEventBiz({
      db,
      clock: systemClock,
      cipher: testCipher,
      log,
      events: auditEventStore,
      heads: auditHeadStore,
      sighting: createSighting(log),
    })
    const biz = settingBiz({ db, log, revocations, liveSettings, settings: settingStore, audit })
    return { log, liveSettings, service, watch, follow, biz }
  }

  const events = async () =>
    (
      await own.all('select "action", "object", "before", "after", "actorName" from "auditEvent" order by "seq"', [], { from: 'primary' })
    ).map(({ action, object, before, after, actorName }) =>
      [action, object, before, after, actorName].map(each => (each === null ? null : String(each))),
    )

  test('nothing is changed at first, and what is configured holds', async () => {
    const { biz } = processOn(own)
    expect(await biz.get()).toEqual({ inEffect: configured, version: 1 })
  })

  test('a change is a merge patch: what it does not name stays, and null is as configured again', async () => {
    const { biz } = processOn(own)
    const change = (patch: Parameters<typeof biz.change>[0]) => biz.change(patch, {}, asking)
    expect(await change({ signUp: 'closed', maintenance: { message: 'Moving.', retryAfterSeconds: 60 } })).toMatchObject({
      maintenance: { isOn: false, message: 'Moving.', retryAfterSeconds: 60 },
      inEffect: { signUp: 'closed', logLevel: 'info' },
      version: 3,
    })
    const on = await change({ maintenance: { isOn: true, retryAfterSeconds: null } })
    expect(on).toMatchObject({ signUp: 'closed', maintenance: { isOn: true, message: 'Moving.' }, version: 4 })
    expect(on.maintenance).toEqual({ isOn: true, message: 'Moving.' })
    const { updatedAt, ...last } = await change({ maintenance: null, signUp: null })
    expect(last).toEqual({ inEffect: configured, version: 6 })
    expect(updatedAt).toBeString()
  })

  test('each setting that changes is an event of the audit log with what it was and is, and what changes nothing is none', async () => {
    const { biz } = processOn(own)
    await biz.change({ signUp: 'closed', logLevel: 'debug' }, {}, asking)
    const { version } = await biz.change({ logLevel: 'debug', signUp: 'open', maintenance: null }, {}, asking)
    expect((await biz.change({ logLevel: 'debug' }, {}, asking)).version).toBe(version)
    expect(await events()).toEqual([
      ['setting.change', 'setting:signUp', null, '{"signUp":"closed"}', 'grace'],
      ['setting.change', 'setting:logLevel', null, '{"logLevel":"debug"}', 'grace'],
      ['setting.change', 'setting:signUp', '{"signUp":"closed"}', '{"signUp":"open"}', 'grace'],
    ])
  })

  test('whoever has seen an older version changes nothing', async () => {
    const { biz } = processOn(own)
    const { version } = await biz.change({ signUp: 'closed' }, { versions: [1] }, asking)
    await expect(biz.change({ signUp: 'open' }, { versions: [1] }, asking)).rejects.toMatchObject({
      code: 'FailedPrecondition.VersionMismatch',
    })
    expect((await biz.get()).signUp).toBe('closed')
    expect((await biz.change({ signUp: 'open' }, { versions: [version] }, asking)).signUp).toBe('open')
    expect(await events()).toHaveLength(2)
  })

  test('of changes at the same time by two processes none is lost, and of those that have seen one version one is made', async () => {
    const [first, second] = [processOn(own), processOn(others)]
    await Promise.all([
      first.biz.change({ signUp: 'closed' }, {}, asking),
      second.biz.change({ logLevel: 'debug' }, {}, asking),
      first.biz.change({ maintenance: { isOn: true } }, {}, asking),
      second.biz.change({ maintenance: { message: 'Moving.' } }, {}, asking),
    ])
    const { version, ...all } = await first.biz.get()
    expect(all).toMatchObject({ signUp: 'closed', logLevel: 'debug', maintenance: { isOn: true, message: 'Moving.' } })
    const tries = await Promise.allSettled(
      Array.from({ length: 10 }, (_, i) =>
        (i % 2 ? first : second).biz.change({ maintenance: { retryAfterSeconds: i + 1 } }, { versions: [version] }, asking),
      ),
    )
    expect(tries.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  }, 30_000)

  test('another process learns of a change within two seconds while it watches, and keeps it while the database is away', async () => {
    const [writer, reader] = [processOn(own), processOn(others)]
    const followed: LiveValues[] = []
    reader.follow(values => followed.push(values))
    await reader.service.start()
    await reader.watch.start()
    try {
      await writer.biz.change({ signUp: 'closed', logLevel: 'debug' }, {}, asking)
      expect(writer.liveSettings.now()).toMatchObject({ signUp: 'closed', logLevel: 'debug' })
      await until(() => reader.liveSettings.now().signUp === 'closed', 2000)
      expect(followed).toEqual([configured, { ...configured, signUp: 'closed', logLevel: 'debug' }])
      await own.run('alter table "setting" rename to "settingAway"')
      try {
        await reader.liveSettings.refresh()
        await reader.liveSettings.refresh()
        expect(reader.liveSettings.now().signUp).toBe('closed')
        expect(reader.log.lines.filter(({ level }) => level === 'warn')).toHaveLength(1)
      } finally {
        await own.run('alter table "settingAway" rename to "setting"')
      }
      // Nobody tells it: it asks again by itself.
      await own.run(`update "setting" set "value" = '"open"' where "name" = 'signUp'`)
      await until(() => reader.liveSettings.now().signUp === 'open', 5000)
    } finally {
      await reader.watch.stop()
      await reader.service.stop()
    }
  }, 30_000)

  test('a process that starts knows before anything after it is started', async () => {
    await processOn(own).biz.change({ maintenance: { isOn: true } }, {}, asking)
    const { service, liveSettings } = processOn(others)
    expect(liveSettings.now()).toEqual(configured)
    await service.start()
    expect(liveSettings.now().maintenance).toEqual({ isOn: true })
    await service.stop()
  })

  test('what another version has stored and this one does not know is as configured, which the log says once', async () => {
    const { biz, liveSettings, log } = processOn(own)
    await biz.change({ signUp: 'closed', logLevel: 'debug' }, {}, asking)
    await own.run(`update "setting" set "value" = '"by invitation"' where "name" = 'signUp'`)
    await own.run(`update "setting" set "name" = 'color', "value" = '{' where "name" = 'logLevel'`)
    await liveSettings.refresh()
    await liveSettings.refresh()
    expect(liveSettings.now()).toEqual(configured)
    const said = log.lines.filter(({ level }) => level === 'warn').map(({ fields }) => fields['settings'] as string[])
    expect(said.map(names => names.toSorted())).toEqual([['color', 'signUp']])
    // It can be set anew, and is then known.
    expect((await biz.change({ signUp: 'closed' }, {}, asking)).inEffect.signUp).toBe('closed')
    await own.run(`update "setting" set "value" = '7' where "name" = 'signUp'`)
    await biz.change({ signUp: null }, {}, asking)
    expect((await own.first(`select "value" from "setting" where "name" = 'signUp'`, [], { from: 'primary' }))?.['value']).toBe('null')
  })
})
