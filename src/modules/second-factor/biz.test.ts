import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'bun:test'
import type { AuditEntry } from '@/core/audit'
import type { AdminIdentity } from '@/core/identity'
import { createCipher } from '@/core/seal'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { createTotp } from '@/infra/totp'
import { migrations } from '@/migrations'
import { settingsOf } from '@/testing/accounts'
import { codeAt } from '@/testing/authenticator'
import { type Backing, onEachBacking } from '@/testing/backings'
import { failure, openAgain } from '@/testing/conformance/fixture'
import { fakeLog, fakeThrottle, testCipher } from '@/testing/fakes'
import { adminCalled } from '@/testing/identities'
import { setClock } from '@/testing/tokens'
import { secondFactorBiz } from './biz'
import { failuresMax } from './schema'
import { recoveryCodeStore, secondFactorStore } from './store'

const setUpTimeoutMs = 60_000
const [stepMs, minuteMs] = [30_000, 60_000]
const address = '192.0.2.1'
const grace = { ...adminCalled('01890a5d-ac96-774b-bcce-b302099a8057'), username: 'grace' }
const ada = { ...adminCalled('01890a5d-ac96-774b-bcce-b302099a8058'), username: 'ada' }
const asking = (identity: AdminIdentity) => ({ identity, address })

onEachBacking('second factors', open => {
  let backing: Backing
  let dbs: OpenDatabase[]
  let db: OpenDatabase
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
    await db.run('delete from "secondFactor"')
    await db.run('delete from "recoveryCode"')
  })

  function setUp({ cipher = testCipher, fails = false } = {}) {
    const [clock, log, throttle] = [setClock(), fakeLog(), fakeThrottle()]
    const told: string[] = []
    const recorded: AuditEntry[] = []
    const on = (database: OpenDatabase) =>
      secondFactorBiz({
        ...{ db: database, clock, log, throttle, cipher, totp: createTotp(), settings: settingsOf() },
        ...{ factors: secondFactorStore, codes: recoveryCodeStore },
        revocations: { forget: async (_, subjects) => void told.push(...subjects) },
        sessions: {
          async endAll(_, realm, id, options) {
            told.push(`end ${realm} ${id} but ${options?.except}`)
            return 0
          },
        },
        audit: {
          async record(_, by, entry) {
            if (fails) throw new Error('the audit log is full')
            recorded.push(entry)
            expect(by.actor).toStartWith('admin:')
          },
          note: async (_, entry) => void recorded.push(entry),
        },
      })
    const biz = on(db)
    /** As the app shows it now, or so many steps from now. */
    const shown = (seed: string, steps = 0) => codeAt(seed, clock.ms + steps * stepMs)
    async function enrolled(who = grace) {
      const { secret: seed } = await biz.begin(who)
      const recovery = await biz.confirm(who, shown(seed), asking(who))
      clock.ms += stepMs
      told.length = 0
      recorded.length = 0
      return { seed, recovery }
    }
    return { biz, on, clock, log, throttle, told, recorded, shown, enrolled }
  }
  const rows = async (table: string) => JSON.stringify(await db.all(`select * from "${table}"`, [], { from: 'primary' }))

  describe('setting one up', () => {
    test('counts for nothing before the first code, which ends the other sessions and is told to all processes', async () => {
      const { biz, shown, told, recorded } = setUp()
      const { secret: seed, otpauthUri } = await biz.begin(grace)
      expect(otpauthUri).toBe(`otpauth://totp/bingo:grace?secret=${seed}&issuer=bingo`)
      expect([await biz.idOf(grace.id), await biz.find(grace.id)]).toEqual([undefined, undefined])
      expect(await failure(biz.confirm(grace, shown(seed, 5), asking(grace)))).toBe('Unprocessable.CodeWrong')
      const tried = { action: 'administrator.set-second-factor', object: `administrator:${grace.id}` }
      const seen: AuditEntry[] = [{ ...tried, outcome: 'refused', reason: 'Unprocessable.CodeWrong' }]
      expect([told, recorded.splice(0)]).toEqual([[], seen])
      const codes = await biz.confirm(grace, shown(seed), asking(grace))
      expect(codes).toEqual(Array.from({ length: 10 }, () => expect.stringMatching(/^([A-HJ-NP-Z2-9]{4}-){5}[A-HJ-NP-Z2-9]{4}$/)))
      expect(new Set(codes).size).toBe(10)
      expect(told).toEqual([`end admin ${grace.id} but ${grace.sessionId}`, `admin:${grace.id}`])
      expect(recorded).toEqual([
        expect.objectContaining({ action: 'administrator.set-second-factor', object: `administrator:${grace.id}` }),
      ])
      expect(await biz.find(grace.id)).toMatchObject({ recoveryCodesLeft: 10 })
      expect(await biz.idOf(ada.id)).toBeUndefined()
    })

    test('is over after a while, begins anew with another seed, and is refused where one is there', async () => {
      const { biz, clock, shown } = setUp()
      expect(await failure(biz.confirm(grace, '123456', asking(grace)))).toBe('Unprocessable.NotBegun')
      const { secret: old } = await biz.begin(grace)
      const { secret: seed, expiresAt } = await biz.begin(grace)
      expect(seed).not.toBe(old)
      expect(await failure(biz.confirm(grace, shown(old), asking(grace)))).toBe('Unprocessable.CodeWrong')
      expect(Date.parse(expiresAt)).toBe(clock.ms + 15 * minuteMs)
      clock.ms += 15 * minuteMs
      expect(await failure(biz.confirm(grace, shown(seed), asking(grace)))).toBe('Unprocessable.NotBegun')
      const { secret: last } = await biz.begin(grace)
      await biz.confirm(grace, shown(last), asking(grace))
      expect(await failure(biz.begin(grace))).toBe('Conflict.SetUpAlready')
      expect(await failure(biz.confirm(grace, shown(last), asking(grace)))).toBe('Conflict.SetUpAlready')
    })

    test('leaves nothing behind when it cannot be written down', async () => {
      const { biz, shown } = setUp({ fails: true })
      const { secret: seed } = await biz.begin(grace)
      await expect(biz.confirm(grace, shown(seed), asking(grace))).rejects.toThrow('the audit log is full')
      expect([await biz.idOf(grace.id), await rows('recoveryCode')]).toEqual([undefined, '[]'])
    })
  })

  describe('a code of the app', () => {
    test('is good once, in its window, and so is no code before it', async () => {
      const { biz, clock, shown, enrolled } = setUp()
      const { seed } = await enrolled()
      // The step that confirmed it is used up.
      expect(await biz.prove(grace.id, shown(seed, -1), address)).toBe('wrong')
      expect(await biz.prove(grace.id, shown(seed, 2), address)).toBe('wrong')
      expect(await biz.prove(grace.id, shown(seed, 1), address)).toBe('right')
      for (const steps of [1, 0]) expect(await biz.prove(grace.id, shown(seed, steps), address)).toBe('wrong')
      clock.ms += 2 * stepMs
      const spaced = shown(seed).replace(/^.../, '$& ')
      expect(await biz.prove(grace.id, spaced, address)).toBe('right')
    })

    test('is good once of a hundred at the same time, on two processes', async () => {
      const { on, shown, enrolled } = setUp()
      const { seed } = await enrolled()
      const processes = dbs.map(on)
      const tries = Array.from({ length: 100 }, (_, i) => processes[i % 2]?.prove(grace.id, shown(seed), address))
      const outcomes = await Promise.all(tries)
      expect(outcomes.filter(outcome => outcome === 'right')).toHaveLength(1)
    }, 30_000)

    test('is a guess that is counted, under the administrator it is for', async () => {
      const { biz, throttle, shown, enrolled } = setUp()
      const { seed } = await enrolled()
      await biz.prove(grace.id, '000000', address)
      await biz.prove(grace.id, shown(seed), address)
      expect(throttle.guesses).toEqual([false, true].map(isRight => ({ purpose: 'admin code', account: grace.id, address, isRight })))
    })

    test('codes are of no use any more after many wrong ones in a row, until a recovery code is used', async () => {
      const { biz, clock, shown, enrolled, log } = setUp()
      const { seed, recovery } = await enrolled()
      const wrong = () => biz.prove(grace.id, shown(seed, 1000), address)
      for (let i = 1; i < failuresMax; i++) expect(await wrong()).toBe('wrong')
      expect(await biz.prove(grace.id, shown(seed), address)).toBe('right')
      clock.ms += stepMs
      for (let i = 1; i <= failuresMax; i++) expect(await wrong()).toBe('wrong')
      expect(await biz.prove(grace.id, shown(seed), address)).toBe('blocked')
      expect(await failure(biz.demand(grace.id, shown(seed), asking(grace), { action: 'admin-session.prove' }))).toBe(
        'Unprocessable.CodesBlocked',
      )
      expect(log.lines.some(({ level, message }) => level === 'warn' && message.includes('recovery codes only'))).toBe(true)
      expect(await biz.prove(grace.id, recovery[0] ?? '', address)).toBe('right')
      expect(await biz.prove(grace.id, shown(seed), address)).toBe('right')
    }, 60_000)
  })

  describe('a recovery code', () => {
    test('is good once, however it is typed, and for its administrator alone', async () => {
      const { biz, enrolled } = setUp()
      const { recovery } = await enrolled()
      const [first = '', second = ''] = recovery
      await enrolled(ada)
      expect(await biz.prove(ada.id, first, address)).toBe('wrong')
      expect(await biz.prove(grace.id, ` ${first.toLowerCase().replaceAll('-', ' ')}`, address)).toBe('right')
      expect(await biz.prove(grace.id, first, address)).toBe('wrong')
      expect(await biz.find(grace.id)).toMatchObject({ recoveryCodesLeft: 9 })
      expect(await biz.prove(grace.id, second.replaceAll('-', ''), address)).toBe('right')
    })

    test('is good once of fifty at the same time, on two processes', async () => {
      const { on, enrolled } = setUp()
      const { recovery } = await enrolled()
      const processes = dbs.map(on)
      const tries = Array.from({ length: 50 }, (_, i) => processes[i % 2]?.prove(grace.id, recovery[0] ?? '', address))
      const outcomes = await Promise.allSettled(tries)
      expect(outcomes.filter(each => each.status === 'fulfilled' && each.value === 'right')).toHaveLength(1)
    }, 30_000)

    test('is void when there are new ones, which cost a code', async () => {
      const { biz, shown, enrolled, recorded, clock } = setUp()
      const { seed, recovery } = await enrolled()
      expect(await failure(biz.renewCodes(grace.id, shown(seed, 9), asking(grace)))).toBe('Unprocessable.CodeWrong')
      const tried = { action: 'administrator.renew-recovery-codes', outcome: 'refused', reason: 'Unprocessable.CodeWrong' }
      expect(recorded.splice(0)).toEqual([expect.objectContaining(tried)])
      const renewed = await biz.renewCodes(grace.id, shown(seed), asking(grace))
      expect(recorded).toEqual([expect.objectContaining({ action: 'administrator.renew-recovery-codes' })])
      for (const code of recovery) expect(await biz.prove(grace.id, code, address)).toBe('wrong')
      expect(await biz.prove(grace.id, renewed[9] ?? '', address)).toBe('right')
      clock.ms += stepMs
      expect(await biz.prove(grace.id, shown(seed), address)).toBe('right')
    })
  })

  describe('what is kept', () => {
    test('tells neither seed nor recovery codes, and is of no use in the row of another', async () => {
      const { biz, shown, enrolled, log } = setUp()
      const { seed, recovery } = await enrolled()
      const kept = (await rows('secondFactor')) + (await rows('recoveryCode')) + JSON.stringify(log.lines)
      for (const secret of [seed, ...recovery, ...recovery.map(code => code.replaceAll('-', ''))]) expect(kept).not.toContain(secret)
      const other = await enrolled(ada)
      await db.run('delete from "recoveryCode" where "administratorId" = ?', [ada.id])
      await db.run('update "recoveryCode" set "administratorId" = ?', [ada.id])
      for (const code of recovery) expect(await biz.prove(ada.id, code, address)).toBe('wrong')
      await db.run(`update "secondFactor" set "sealedSeed" = ? where "administratorId" = ?`, [await sealedOf(grace.id), ada.id])
      expect(await biz.prove(ada.id, shown(seed, 1), address)).toBe('wrong')
      expect(await biz.prove(ada.id, shown(other.seed, 1), address)).toBe('wrong')
      expect(log.lines.at(-1)).toMatchObject({ level: 'error', message: expect.stringContaining('since it was changed') })
    })

    test('needs the root key that it was encrypted with, whose id is beside it', async () => {
      const { seed, recovery } = await setUp().enrolled()
      const another = setUp({ cipher: createCipher(new Uint8Array(32).fill(9), 'test') })
      another.clock.ms += stepMs
      for (const code of [another.shown(seed), recovery[0] ?? '']) expect(await another.biz.prove(grace.id, code, address)).toBe('wrong')
      const said = another.log.lines.map(({ message }) => message).join()
      expect(said).toContain('with another auth.key; remove it with bingo admin remove-second-factor')
    })

    const sealedOf = async (id: string) =>
      String(
        (await db.first('select "sealedSeed" from "secondFactor" where "administratorId" = ?', [id], { from: 'primary' }))?.['sealedSeed'],
      )
  })

  test('it is removed with a code by whoever has it, and without one by an operator, who ends the sessions', async () => {
    const { biz, shown, enrolled, told, recorded } = setUp()
    const { seed } = await enrolled()
    expect(await failure(biz.remove(grace.id, shown(seed, 9), asking(grace)))).toBe('Unprocessable.CodeWrong')
    const tried = { action: 'administrator.remove-second-factor', outcome: 'refused', reason: 'Unprocessable.CodeWrong' }
    expect([told, recorded.splice(0)]).toEqual([[], [expect.objectContaining(tried)]])
    await biz.remove(grace.id, shown(seed), asking(grace))
    expect(told).toEqual([`admin:${grace.id}`])
    expect(recorded).toEqual([
      expect.objectContaining({ action: 'administrator.remove-second-factor', object: `administrator:${grace.id}` }),
    ])
    expect([await biz.find(grace.id), await rows('recoveryCode'), await rows('secondFactor')]).toEqual([undefined, '[]', '[]'])
    expect(await failure(biz.prove(grace.id, shown(seed, 1), address))).toBe('Unprocessable.NotSetUp')
    expect(await biz.removeFor(grace.id, { actor: 'admin:x', address })).toBe(false)
    await enrolled()
    expect(await biz.removeFor(grace.id, { actor: 'admin:x', address }, { endsSessions: true })).toBe(true)
    expect(told).toEqual([`end admin ${grace.id} but undefined`, `admin:${grace.id}`])
  })
})
