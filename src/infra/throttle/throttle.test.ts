import { afterAll, beforeAll, beforeEach, expect, setDefaultTimeout, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import { defineErrors } from '@/core/error'
import { createCipher } from '@/core/seal'
import type { Guess } from '@/core/throttle'
import { type Backing, onEachBacking } from '@/testing/backings'
import { failure, openAgain } from '@/testing/conformance/fixture'
import { type FakeClock, fakeClock } from '@/testing/fake-clock'
import { countingMetrics, fakeLog } from '@/testing/fakes'
import { migrations } from '@/migrations'
import { migrateUp } from '../database/migrate'
import type { OpenDatabase } from '../database/driver'
import { sweepGuesses } from './rows'
import { createThrottle } from './throttle'

const tooMany = 'ResourceExhausted.TooManyGuesses'
const minuteMs = 60_000
/** All migrations, on a machine that does other things. */
const setUpTimeoutMs = 60_000
setDefaultTimeout(30_000)
const errors = defineErrors({ Away: ['Unavailable', 'It is away.'], Suspended: ['PermissionDenied', 'It is suspended.'] })
const { digest } = createCipher(
  Uint8Array.from({ length: 32 }, (_, i) => i),
  'guess',
)

onEachBacking('guesses', open => {
  let backing: Backing
  let dbs: OpenDatabase[]
  let clock: FakeClock
  let checks: number
  beforeAll(async () => {
    backing = await open()
    // Of two processes.
    dbs = [await openAgain(backing), await openAgain(backing)]
    await migrateUp(dbs[0] as OpenDatabase, migrations)
  }, setUpTimeoutMs)
  afterAll(async () => {
    for (const db of dbs) await db.close()
    await backing.dispose()
  })
  beforeEach(async () => {
    await dbs[0]?.run('delete from "guess"')
    clock = fakeClock()
    checks = 0
  })

  const metrics = countingMetrics()
  const log = fakeLog()
  const ada: Guess = { purpose: 'log-in', account: 'ada@example.com', address: '203.0.113.7' }
  let turn = 0
  /** By either process in turn. */
  const guess = <T>(of: Partial<Guess>, check: () => Promise<T | undefined>) => {
    const db = dbs[turn++ % dbs.length] as OpenDatabase
    const tools = { db, clock, log, metrics, digest }
    return createThrottle(tools).guess({ ...ada, ...of }, () => {
      checks++
      return check()
    })
  }
  const wrong = (of: Partial<Guess> = {}): Promise<string> => failure(guess(of, async () => undefined))
  const right = (of: Partial<Guess> = {}): Promise<string> => guess(of, async () => 'in').catch(thrown => thrown.code)
  const admit = (of: Partial<Guess> = {}) => {
    const db = dbs[turn++ % dbs.length] as OpenDatabase
    return createThrottle({ db, clock, log, metrics, digest }).admit({ ...ada, ...of })
  }
  /** Seconds that the next guess has to wait, or undefined when it was taken. */
  const retryAfter = (of: Partial<Guess> = {}): Promise<number | undefined> =>
    guess(of, async () => undefined).catch(thrown => thrown.retryAfterSeconds)
  const times = async (count: number, work: (i: number) => Promise<string>) => {
    for (let i = 0; i < count; i++) expect([i, await work(i)]).toEqual([i, 'resolved'])
  }
  const addressOf = (i: number) => `198.18.${i >> 8}.${i & 255}`
  const rowCount = async () => Number((await dbs[0]?.first('select count(*) as "count" from "guess"'))?.['count'])

  test('of 100 at once a few are checked, whichever process they come to', async () => {
    const outcomes = await Promise.all(Array.from({ length: 100 }, () => wrong()))
    expect(checks).toBe(5)
    expect(outcomes.filter(outcome => outcome === tooMany)).toHaveLength(95)
  })

  test('each failure doubles the delay, up to a quarter of an hour; who comes too early makes it no longer', async () => {
    await times(5, () => wrong())
    for (const seconds of [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900]) {
      expect(await retryAfter()).toBe(seconds)
      clock.advance(seconds * 1000 - 1)
      expect(await retryAfter()).toBe(1)
      clock.advance(1)
      expect(await wrong()).toBe('resolved')
    }
    expect(metrics.count('bingo_guess_refused_total', { by: 'pair' })).toBeGreaterThan(20)
  })

  test('one that was right counts nothing, and ends what was counted of it', async () => {
    for (let i = 0; i < 30; i++) expect(await right()).toBe('in')
    for (let round = 0; round < 3; round++) {
      await times(4, () => wrong())
      expect(await right()).toBe('in')
    }
    await times(5, () => wrong())
    expect(await right()).toBe(tooMany)
  })

  test('those who are let in do not slow down the others of their address', async () => {
    await times(19, i => wrong({ account: `user ${i}` }))
    // Each of them is the twentieth failure until it is found right.
    for (let i = 0; i < 5; i++) expect(await right({ account: `colleague ${i}` })).toBe('in')
    expect(await wrong({ account: 'user 20' })).toBe('resolved')
    expect(await right({ account: 'newcomer' })).toBe(tooMany)
  })

  test('whoever has been let in from an address is not kept out by what others there do', async () => {
    expect(await right()).toBe('in')
    await times(20, i => wrong({ account: `user ${i}` }))
    expect(await right({ account: 'newcomer' })).toBe(tooMany)
    expect(await right()).toBe('in')
    // Their own guesses are counted all the same, of the account there.
    await times(5, () => wrong())
    expect(await right()).toBe(tooMany)
  })

  test('one account is one, however its name is written; what else is guessed at counts by itself', async () => {
    const spellings = ['ada@example.com', ' ada@example.com', 'ADA@EXAMPLE.COM', 'Ada@example.com ', 'ada@Example.com']
    await times(5, i => wrong({ account: spellings[i] ?? '' }))
    expect(await wrong()).toBe(tooMany)
    expect(await wrong({ account: 'bob@example.com' })).toBe('resolved')
    expect(await wrong({ purpose: 'admin log-in' })).toBe('resolved')
  })

  test('an address is slowed down over all accounts, and a network of IPv6 is one address', async () => {
    for (const [address, other] of [
      [() => '203.0.113.7', '203.0.113.8'],
      [(i: number) => `2001:db8:1:2::${i.toString(16)}`, '2001:db8:1:3::1'],
    ] as const) {
      await times(20, i => wrong({ account: `user ${i} ${other}`, address: address(i) }))
      expect(await wrong({ account: 'one more', address: address(21) })).toBe(tooMany)
      expect(await wrong({ account: 'one more', address: other })).toBe('resolved')
    }
  })

  test('networks of a /48 of IPv6 are slowed down together, after sixteen times as many failures, and other networks are not', async () => {
    const address = (i: number) => `2001:db8:1:${i.toString(16)}::1`
    for (let i = 0; i < 320; i += 20) {
      const outcomes = await Promise.all(Array.from({ length: 20 }, (_, j) => wrong({ account: `user ${i + j}`, address: address(i + j) })))
      expect(outcomes).toEqual(outcomes.map(() => 'resolved'))
    }
    expect(await wrong({ account: 'one more', address: address(321) })).toBe(tooMany)
    expect(await wrong({ account: 'one more', address: '2001:db8:2::1' })).toBe('resolved')
    expect(await wrong({ account: 'one more', address: '203.0.113.9' })).toBe('resolved')
    clock.advance(dayMs)
    expect(await wrong({ account: 'one more', address: address(321) })).toBe('resolved')
  })

  test('an attack from 1,000 addresses is slowed down, and does not lock out whoever has been let in from theirs', async () => {
    expect(await right()).toBe('in')
    checks = 0
    const attack = async () => {
      for (let i = 0; i < 1000; i += 50) await Promise.all(Array.from({ length: 50 }, (_, j) => wrong({ address: addressOf(i + j) })))
    }
    await attack()
    expect(checks).toBe(20)
    // On and on: whatever is tried, an account is never closed for longer than a minute, and opens for one guess.
    for (let round = 0; round < 8; round++) {
      clock.advance(minuteMs)
      await wrong({ address: addressOf(round) })
    }
    expect(checks).toBe(28)
    expect(await retryAfter({ address: addressOf(999) })).toBe(60)
    expect(await right()).toBe('in')
    await times(4, () => wrong())
    expect(await right()).toBe('in')
    expect(await right({ address: '203.0.113.9' })).toBe(tooMany)
    clock.advance(minuteMs)
    expect(await right({ address: '203.0.113.9' })).toBe('in')
  }, 60_000)

  test('whoever has proven by other means whose it is is let in at once under an attack, from where they are and nowhere else', async () => {
    const attack = async () => {
      for (let i = 0; i < 50; i++) await wrong({ address: addressOf(i) })
    }
    await attack()
    expect(await right()).toBe(tooMany)
    await admit({ account: ' ADA@example.com' })
    expect(await right()).toBe('in')
    await attack()
    expect(await right()).toBe('in')
    expect(await right({ address: '203.0.113.9' })).toBe(tooMany)
    expect(await right({ account: 'bob' })).toBe('in')
    // Also who has tried too often before, and who tries too often after it no more than others.
    await times(5, () => wrong())
    expect(await right()).toBe(tooMany)
    await admit()
    expect(await right()).toBe('in')
    await times(5, () => wrong())
    expect(await right()).toBe(tooMany)
  })

  test('an admission that cannot be noted is said in the log, and to nobody else', async () => {
    const broken = { ...(dbs[0] as OpenDatabase), tx: () => Promise.reject(errors.Away()) }
    const lines = fakeLog()
    await createThrottle({ db: broken, clock, log: lines, metrics, digest }).admit(ada)
    expect(lines.lines).toMatchObject([{ level: 'warn' }])
  })

  test('an address is known for 30 days after somebody was let in', async () => {
    const attack = () => times(20, i => wrong({ address: addressOf(i) }))
    expect(await right()).toBe('in')
    clock.advance(30 * dayMs - 1)
    await attack()
    expect(await wrong()).toBe('resolved')
    clock.advance(1)
    expect(await wrong()).toBe(tooMany)
  })

  test('all is forgotten after a quiet day, and then removed', async () => {
    expect(await right({ account: 'bob' })).toBe('in')
    await times(5, () => wrong())
    for (let i = 0; i < 12; i++) clock.advance(1000 * ((await retryAfter()) ?? 0))
    await sweepGuesses(dbs[0] as OpenDatabase, clock.nowMs(), 100)
    // Bob is known, whose name alone has nothing to tell; of ada, her address and both is remembered.
    expect(await rowCount()).toBe(4)
    clock.advance(dayMs)
    expect(await sweepGuesses(dbs[0] as OpenDatabase, clock.nowMs(), 2)).toBe(2)
    expect(await sweepGuesses(dbs[0] as OpenDatabase, clock.nowMs(), 100)).toBe(1)
    expect([await sweepGuesses(dbs[0] as OpenDatabase, clock.nowMs(), 100), await rowCount()]).toEqual([0, 1])
    await times(5, () => wrong())
    expect(await retryAfter()).toBe(1)
  })

  test('what could not be checked is not counted; a refusal is', async () => {
    for (let i = 0; i < 10; i++) {
      expect(await failure(guess({}, () => Promise.reject(errors.Away())))).toBe('Unavailable.Away')
      expect(await failure(guess({}, () => Promise.reject(new TypeError('a fault'))))).toBe('a fault')
    }
    for (let i = 0; i < 5; i++)
      expect(await failure(guess({}, () => Promise.reject(errors.Suspended())))).toBe('PermissionDenied.Suspended')
    expect(await wrong()).toBe(tooMany)
  })

  test('who dies while it checks, or does not wait for the answer, has guessed', async () => {
    const never = Array.from({ length: 5 }, () => guess({}, () => new Promise<undefined>(() => {})))
    while (checks < never.length) await Bun.sleep(1)
    expect(await right()).toBe(tooMany)
  })

  test('a guess that comes too early is one line of the log, which says from where, and not at what', async () => {
    log.lines.length = 0
    await times(5, () => wrong())
    expect(log.lines).toEqual([])
    expect(await wrong()).toBe(tooMany)
    expect(log.lines).toEqual([
      {
        level: 'info',
        message: 'a guess came too early',
        fields: { purpose: 'log-in', by: 'pair', address: ada.address, retryAfterSeconds: 1 },
      },
    ])
  })

  test('the table says neither who nor where', async () => {
    await wrong()
    await right({ account: 'bob' })
    const rows = JSON.stringify(await dbs[0]?.all('select * from "guess"'))
    expect(rows).not.toMatch(/ada|bob|203\.0/)
    expect(rows).toContain(digest(JSON.stringify(['log-in', 'account', 'ada@example.com'])))
  })
})
