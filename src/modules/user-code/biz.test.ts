import { expect, test } from 'bun:test'
import { onEachBacking } from '@/testing/backings'
import { useMigrated } from '@/testing/migrated'
import { userCodeBiz } from './biz'
import { parseCode } from '@/core/code'
import { attemptsMax } from './schema'
import { userCodeStore } from './store'

const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const minuteMs = 60_000
const ada = { userId: '01890a5d-ac96-774b-bcce-b302099a8057', purpose: 'resetPassword', email: 'ada@example.com' } as const

/** Another code with the same handle. */
const misspelled = (code: string) => code.slice(0, -2) + (code.endsWith('AA') ? 'BB' : 'AA')
const invalid = { code: 'Unprocessable.CodeInvalid' }

onEachBacking('codes', open => {
  const scene = useMigrated(open, ['userCode'])

  function setUp() {
    const clock = { ms: startMs, nowMs: () => clock.ms }
    const biz = userCodeBiz({ db: scene.db, clock, codes: userCodeStore })
    const use = async (code: string) => {
      const proven = await biz.check('resetPassword', code)
      await scene.db.tx(tx => biz.spend(tx, proven))
      return proven
    }
    return { biz, clock, use }
  }

  test('a code says whose it is, once, and is kept as its hash only', async () => {
    const { biz, use } = setUp()
    const { code } = await biz.mint(ada)
    const [row] = await scene.db.all('select * from "userCode"')
    expect(JSON.stringify(row)).not.toContain(code)
    expect(row?.['codeHash']).toBe(parseCode(code)?.codeHash)
    expect(await use(code)).toMatchObject({ userId: ada.userId, email: ada.email })
    await expect(use(code)).rejects.toMatchObject(invalid)
  })

  test('a code is no use for another purpose, nor when it has expired, and neither is what is no code', async () => {
    const { biz, clock, use } = setUp()
    const { code } = await biz.mint(ada)
    await expect(biz.check('verifyEmail', code)).rejects.toMatchObject(invalid)
    for (const wrong of ['', 'A'.repeat(48), `${code}=`, ` ${code}`, code.slice(1), parseCode(code)?.handle ?? ''])
      await expect(biz.check('resetPassword', wrong)).rejects.toMatchObject(invalid)
    clock.ms += 30 * minuteMs - 1
    await biz.check('resetPassword', code)
    clock.ms++
    await expect(use(code)).rejects.toMatchObject(invalid)
  })

  test('a new code makes the old one void, and guesses at the old one do not count for it', async () => {
    const { biz, use } = setUp()
    const { code: old } = await biz.mint(ada)
    const { code: other } = await biz.mint({ ...ada, purpose: 'verifyEmail' })
    const { code } = await biz.mint(ada)
    for (let i = 0; i <= attemptsMax; i++) await expect(use(old)).rejects.toMatchObject(invalid)
    await use(code)
    await biz.check('verifyEmail', other)
  })

  test('one that was looked at before a new one was made cannot be used after it', async () => {
    const { biz } = setUp()
    const proven = await biz.check('resetPassword', (await biz.mint(ada)).code)
    await biz.mint(ada)
    await expect(scene.db.tx(tx => biz.spend(tx, proven))).rejects.toMatchObject(invalid)
  })

  test('after five wrong guesses the right one is wrong, too; right ones do not count', async () => {
    const { biz, use } = setUp()
    const { code } = await biz.mint(ada)
    for (let i = 0; i < 2 * attemptsMax; i++) await biz.check('resetPassword', code)
    for (let i = 1; i < attemptsMax; i++) await expect(use(misspelled(code))).rejects.toMatchObject(invalid)
    await biz.check('resetPassword', code)
    await expect(use(misspelled(code))).rejects.toMatchObject(invalid)
    await expect(use(code)).rejects.toMatchObject(invalid)
  })

  test('of guesses at the same time no more are looked at than of guesses one after another', async () => {
    const { biz } = setUp()
    const { code } = await biz.mint(ada)
    const guesses = await Promise.allSettled(Array.from({ length: 50 }, () => biz.check('resetPassword', misspelled(code))))
    expect(guesses.filter(({ status }) => status === 'fulfilled')).toEqual([])
    expect(Number((await scene.db.first('select "attempts" from "userCode"'))?.['attempts'])).toBe(attemptsMax)
    await expect(biz.check('resetPassword', code)).rejects.toMatchObject(invalid)
  })

  test('of a hundred uses at the same time one comes through', async () => {
    const { biz, use } = setUp()
    const { code } = await biz.mint(ada)
    const uses = await Promise.allSettled(Array.from({ length: 100 }, () => use(code)))
    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    const reasons = uses.flatMap(each => (each.status === 'rejected' ? [each.reason.code] : []))
    expect(new Set(reasons)).toEqual(new Set([invalid.code]))
  })

  test('codes that are made at the same time are void but the last', async () => {
    const { biz, use } = setUp()
    const mints = await Promise.allSettled(Array.from({ length: 10 }, () => biz.mint(ada)))
    // Its task tries again.
    for (const mint of mints) if (mint.status === 'rejected') expect(mint.reason).toMatchObject({ kind: 'Aborted' })
    const codes = mints.flatMap(mint => (mint.status === 'fulfilled' ? [mint.value] : []))
    const uses = await Promise.allSettled(codes.map(({ code }) => use(code)))
    expect(uses.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })

  test('what has expired is removed, and nothing else', async () => {
    const { biz, clock } = setUp()
    await biz.mint(ada)
    const { code } = await biz.mint({ ...ada, purpose: 'verifyEmail' })
    expect(await biz.isRecent(ada, minuteMs)).toBe(true)
    expect(await biz.isRecent({ ...ada, email: 'new@example.com' }, minuteMs)).toBe(false)
    clock.ms += minuteMs
    expect(await biz.isRecent(ada, minuteMs)).toBe(false)
    clock.ms += 29 * minuteMs
    expect([await biz.removeExpired(100), await biz.removeExpired(100)]).toEqual([1, 0])
    await biz.check('verifyEmail', code)
  })
})
