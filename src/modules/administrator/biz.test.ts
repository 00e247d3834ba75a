import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import type { Revocations } from '@/core/revocations'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { createPasswords } from '@/infra/passwords'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { failure, openAgain } from '@/testing/conformance/fixture'
import { fakeMetrics } from '@/testing/fakes'
import { administratorBiz } from './biz'
import { administratorStore } from './store'

const setUpTimeoutMs = 60_000
const password = 'correct horse battery'

onEachBacking('administrators', open => {
  let backing: Backing
  let dbs: OpenDatabase[]
  let db: OpenDatabase
  let told: string[]
  beforeAll(async () => {
    backing = await open()
    // Of two processes.
    dbs = [await openAgain(backing), await openAgain(backing)]
    db = dbs[0] as OpenDatabase
    await migrateUp(db, migrations)
  }, setUpTimeoutMs)
  afterAll(async () => {
    for (const each of dbs) await each.close()
    await backing.dispose()
  })
  beforeEach(async () => {
    await administratorStore(db).deleteMany('all')
    told = []
  })

  const bizOn = (on: OpenDatabase) => {
    const revocations: Revocations = { forget: async (_, subjects) => void told.push(...subjects) }
    const sessions = {
      endAll: async (_: unknown, realm: string, id: string) => {
        told.push(`end ${realm} ${id}`)
        return 0
      },
    }
    const passwords = createPasswords({ concurrency: 2, queueLimit: 10 }, fakeMetrics())
    return administratorBiz({ db: on, administrators: administratorStore, passwords, revocations, sessions })
  }
  const grace = { username: 'grace', password, permissions: ['*'] }

  test('there is none before one is made; names are one however they are written', async () => {
    const biz = bizOn(db)
    expect([await biz.isAnyThere(), await biz.list()]).toEqual([false, []])
    const made = await biz.create({ ...grace, username: ' Grace ' })
    expect(made).toMatchObject({ username: 'grace', status: 'active', permissions: ['*'] })
    expect(JSON.stringify([made, await biz.list(), await biz.named('GRACE')])).not.toContain('argon2id')
    expect(await biz.isAnyThere()).toBe(true)
    expect(await failure(biz.create(grace))).toBe('Conflict.UsernameTaken')
  })

  test('one with a password that is short or easy to guess, or with what is no permission, is refused', async () => {
    const biz = bizOn(db)
    const given = {
      short: { password: 'elevenchars' },
      common: { password: 'q1w2e3r4t5y6' },
      name: { username: 'grace-hopper', password: 'Grace-Hopper' },
    }
    expect(await failure(biz.create({ ...grace, ...given.short }))).toBe('InvalidArgument.Invalid')
    expect(await failure(biz.create({ ...grace, ...given.common }))).toBe('Unprocessable.PasswordWeak')
    expect(await failure(biz.create({ ...grace, ...given.name }))).toBe('Unprocessable.PasswordWeak')
    expect(await failure(biz.create({ ...grace, permissions: ['everything!'] }))).toBe('InvalidArgument.Invalid')
    expect(await biz.list()).toEqual([])
  })

  test('what changes one is told to all processes, and ends the sessions of whoever is suspended or gets another password', async () => {
    const biz = bizOn(db)
    await biz.create(grace)
    const { id } = await biz.create({ username: 'ada', password, permissions: ['users:export'] })
    const done = async (work: Promise<unknown>) => {
      await work
      return told.splice(0)
    }
    expect(await done(biz.setPermissions(id, ['schedules:read']))).toEqual([`admin:${id}`])
    expect(await done(biz.setStatus(id, 'suspended'))).toEqual([`end admin ${id}`, `admin:${id}`])
    expect(await done(biz.setStatus(id, 'active'))).toEqual([`admin:${id}`])
    expect(await done(biz.setPassword(id, 'another horse battery'))).toEqual([`end admin ${id}`, `admin:${id}`])
    expect(await biz.verifyPassword('ada', password)).toBeUndefined()
    expect(await biz.verifyPassword('Ada', 'another horse battery')).toEqual(await biz.current(id))
    expect(await failure(biz.setPassword(id, 'ada'))).toBe('InvalidArgument.Invalid')
    expect(await failure(biz.setStatus('01890a5d-ac96-774b-bcce-b302099a8057', 'active'))).toBe('NotFound.AdministratorNotFound')
    expect(told).toEqual([])
  })

  test('the last who may do everything stays that, whatever is tried', async () => {
    const biz = bizOn(db)
    const { id } = await biz.create(grace)
    const other = await biz.create({ username: 'ada', password, permissions: ['users:export'] })
    expect(await failure(biz.setStatus(id, 'suspended'))).toBe('Unprocessable.LastAdministrator')
    expect(await failure(biz.setPermissions(id, ['schedules:read']))).toBe('Unprocessable.LastAdministrator')
    expect([await biz.current(id), told]).toEqual([expect.objectContaining({ status: 'active', permissions: ['*'], version: 1 }), []])
    await biz.setStatus(other.id, 'suspended')
    await biz.setPermissions(other.id, ['*'])
    // One who is suspended lets nobody in.
    expect(await failure(biz.setStatus(id, 'suspended'))).toBe('Unprocessable.LastAdministrator')
    await biz.setStatus(other.id, 'active')
    expect(await biz.setStatus(id, 'suspended')).toMatchObject({ status: 'suspended' })
  })

  test('of two who suspend each other at once, one stays', async () => {
    const [one, other] = dbs.map(bizOn)
    if (!one || !other) throw new Error('there are two processes')
    for (let round = 0; round < 5; round++) {
      await administratorStore(db).deleteMany('all')
      const [a, b] = [await one.create({ ...grace, username: 'ada' }), await one.create({ ...grace, username: 'bob' })]
      const outcomes = await Promise.all([failure(one.setStatus(a.id, 'suspended')), failure(other.setStatus(b.id, 'suspended'))])
      expect(outcomes.toSorted()).toEqual(['Unprocessable.LastAdministrator', 'resolved'])
      expect((await one.list()).map(({ status }) => status).toSorted()).toEqual(['active', 'suspended'])
    }
  }, 60_000)
})
