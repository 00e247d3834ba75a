import { expect, test } from 'bun:test'
import fc from 'fast-check'
import { type CatchUp, graceMs, type ScheduleRules, scheduleDefaults } from '@/core/schedule/schedule'
import { cronOf } from '../cron'
import { type Decision, decide, missedCountMax, nextTicks } from './ticks'

const at = (time: string) => Date.parse(`2026-01-31T${time}Z`)
const rulesOf = (rules: Partial<ScheduleRules>): ScheduleRules => ({ ...scheduleDefaults, cron: '*/10 * * * *', ...rules })
const decided = (cursor: string, now: string, rules: Partial<ScheduleRules> = {}) =>
  decide({ scheduleId: 'a', rules: rulesOf(rules), cursorMs: at(cursor), nowMs: at(now) })

/** Short, for people: `09:00 09:10+`, a + behind what is caught up with. */
const time = (ms: number) => new Date(ms).toISOString().slice(11, 19).replace(/:00$/, '')
const fired = ({ ticks }: Decision) => ticks.map(({ tickMs, isCaughtUp }) => `${time(tickMs)}${isCaughtUp ? '+' : ''}`).join(' ')
const missed = ({ missed: some }: Decision) =>
  some && `${time(some.fromMs)}-${time(some.toMs)} ${some.count}${some.isMore ? ' or more' : ''}`
const said = (decision: Decision) => [
  fired(decision),
  missed(decision),
  time(decision.cursorMs),
  decision.nextAtMs === null ? null : time(decision.nextAtMs),
]

test('before the next tick there is nothing to fire, and the cursor stays', () => {
  expect(said(decided('09:00:00', '09:09:59.999'))).toEqual(['', undefined, '09:00', '09:10'])
  expect(decided('09:00:00', '09:09:59.999').cursorMs).toBe(at('09:00:00'))
})

test('a tick is fired at its time, and until a minute later, whatever is to be caught up with', () => {
  for (const catchUp of ['none', 'latest', { all: 5 }] satisfies CatchUp[]) {
    for (const now of ['09:10:00', '09:10:59', '09:11:00'])
      expect(said(decided('09:00:00', now, { catchUp, catchUpWindowMs: 1 }))).toEqual(['09:10', undefined, '09:10', '09:20'])
  }
  expect(said(decided('09:00:00', '09:11:00.001', { catchUp: 'none' }))).toEqual(['', '09:10-09:10 1', '09:10', '09:20'])
})

test('each tick of the last minute is fired, in order', () => {
  expect(said(decided('09:00:00', '09:00:47', { cron: '*/20 * * * * *' }))).toEqual(['09:00:20 09:00:40', undefined, '09:00:40', '09:01'])
})

test('after a pause none, the latest, or the newest so many are caught up with', () => {
  const after = (catchUp: CatchUp, now = '10:05:00') => said(decided('09:00:00', now, { catchUp }))
  expect(after('none')).toEqual(['', '09:10-10:00 6', '10:00', '10:10'])
  expect(after('latest')).toEqual(['10:00+', '09:10-09:50 5', '10:00', '10:10'])
  expect(after({ all: 2 })).toEqual(['09:50+ 10:00+', '09:10-09:40 4', '10:00', '10:10'])
  expect(after({ all: 6 })).toEqual(['09:10+ 09:20+ 09:30+ 09:40+ 09:50+ 10:00+', undefined, '10:00', '10:10'])
  expect(after({ all: 100 })).toEqual(['09:10+ 09:20+ 09:30+ 09:40+ 09:50+ 10:00+', undefined, '10:00', '10:10'])
})

test('the latest is let be when a tick is on time, and all are fired before it', () => {
  const after = (catchUp: CatchUp) => said(decided('09:00:00', '09:40:30', { catchUp }))
  expect(after('none')).toEqual(['09:40', '09:10-09:30 3', '09:40', '09:50'])
  expect(after('latest')).toEqual(['09:40', '09:10-09:30 3', '09:40', '09:50'])
  expect(after({ all: 2 })).toEqual(['09:20+ 09:30+ 09:40', '09:10-09:10 1', '09:40', '09:50'])
})

test('what was missed before the window is not caught up with', () => {
  const after = (catchUp: CatchUp, catchUpWindowMs: number) => said(decided('09:00:00', '10:05:00', { catchUp, catchUpWindowMs }))
  expect(after('latest', 300_000)).toEqual(['10:00+', '09:10-09:50 5', '10:00', '10:10'])
  expect(after('latest', 299_999)).toEqual(['', '09:10-10:00 6', '10:00', '10:10'])
  expect(after({ all: 9 }, 1_500_000)).toEqual(['09:40+ 09:50+ 10:00+', '09:10-09:30 3', '10:00', '10:10'])
  expect(after({ all: 2 }, 1_500_000)).toEqual(['09:50+ 10:00+', '09:10-09:40 4', '10:00', '10:10'])
})

test('a clock that was set back fires nothing until it has reached the cursor, one that was set forward is as a pause', () => {
  expect(said(decided('10:00:00', '09:00:30'))).toEqual(['', undefined, '10:00', '10:10'])
  expect(said(decided('09:00:00', '10:00:30', { catchUp: 'none' }))).toEqual(['10:00', '09:10-09:50 5', '10:00', '10:10'])
})

test('a day without daylight saving has its ticks by what the clocks of the zone show', () => {
  const berlin = { cron: '30 2 * * *', timeZone: 'Europe/Berlin', catchUp: { all: 3 }, catchUpWindowMs: 864_000_000 } as const
  const decision = decide({ scheduleId: 'a', rules: rulesOf(berlin), cursorMs: Date.UTC(2026, 2, 28), nowMs: Date.UTC(2026, 2, 30, 12) })
  expect(decision.ticks.map(({ tickMs }) => new Date(tickMs).toISOString().slice(5, 16))).toEqual([
    '03-28T01:30',
    '03-29T01:00',
    '03-30T00:30',
  ])
})

test('no more ticks than that are looked at, however long nobody looked', () => {
  const nows = [at('12:00:00.123'), at('12:00:00.500'), at('12:00:01.250')]
  for (const [catchUp, caughtUp] of [
    ['none', 0],
    ['latest', 0],
    [{ all: 1000 }, 1000],
  ] satisfies [CatchUp, number][]) {
    for (const [nowMs, jitterMs] of nows.flatMap(nowMs => [0, 700, 1000].map(jitterMs => [nowMs, jitterMs] as const))) {
      const rules = rulesOf({ cron: '* * * * * *', catchUp, catchUpWindowMs: 31_536_000_000, jitterMs })
      const input = { scheduleId: 'a', rules, cursorMs: at('12:00:00') - 31_536_000_000, nowMs }
      const startedMs = performance.now()
      const { ticks, missed: some, cursorMs } = decide(input)
      // 31,536,000 steps would take a minute.
      expect(performance.now() - startedMs).toBeLessThan(2000)
      expect(some).toMatchObject({ fromMs: input.cursorMs + 1000, count: missedCountMax, isMore: true })
      expect(ticks.filter(({ isCaughtUp }) => isCaughtUp)).toHaveLength(caughtUp)
      expect(ticks.length - caughtUp).toBeWithin(59, 63)
      const times = [some?.toMs, ...ticks.map(({ tickMs }) => tickMs)]
      for (const [i, tickMs] of ticks.map(tick => tick.tickMs).entries()) expect(tickMs).toBe((times[i] ?? 0) + 1000)
      expect(cursorMs).toBe(ticks.at(-1)?.tickMs ?? 0)
    }
  }
})

/** One tick after the other, without jitter. */
function plainly(rules: ScheduleRules, cursorMs: number, nowMs: number): Decision {
  const cron = cronOf(rules.cron, rules.timeZone)
  const all: number[] = []
  let next = cron.after(cursorMs)
  for (; next !== undefined && next <= nowMs; next = cron.after(next)) all.push(next)
  const onTime = all.filter(tick => tick >= nowMs - graceMs)
  const late = all.filter(tick => tick < nowMs - graceMs)
  const limit = rules.catchUp === 'none' ? 0 : rules.catchUp === 'latest' ? (onTime.length > 0 ? 0 : 1) : rules.catchUp.all
  const within = (limit === 0 ? [] : late.slice(-limit)).filter(tick => tick >= nowMs - rules.catchUpWindowMs)
  const left = late.slice(0, late.length - within.length)
  const tick = (isCaughtUp: boolean) => (tickMs: number) => ({ tickMs, isCaughtUp, dueMs: tickMs })
  const count = Math.min(left.length, missedCountMax)
  return {
    ticks: [...within.map(tick(true)), ...onTime.map(tick(false))],
    ...(left.length > 0 && { missed: { fromMs: left[0] ?? 0, toMs: left.at(-1) ?? 0, count, isMore: left.length > count } }),
    cursorMs: all.at(-1) ?? cursorMs,
    nextAtMs: next ?? null,
  }
}

const crons = [
  '* * * * * *',
  '*/7 * * * * *',
  '* * * * *',
  '*/20 * * * *',
  '0 * * * *',
  '30 2 * * *',
  '* * 0 * * *',
  '*/5 * 3-4 * * SUN',
  '0 4 * * 1',
]
const rules = fc.record({
  cron: fc.constantFrom(...crons),
  timeZone: fc.constantFrom('UTC', 'Europe/Berlin', 'Australia/Lord_Howe'),
  overlap: fc.constant('skip' as const),
  catchUp: fc.oneof(
    fc.constantFrom('none' as const, 'latest' as const),
    fc.record({ all: fc.oneof(fc.integer({ min: 1, max: 9 }), fc.constant(1000)) }),
  ),
  catchUpWindowMs: fc.constantFrom(1, 90_000, 3_600_000, 86_400_000, 31_536_000_000),
  jitterMs: fc.constant(0),
})
/** About the end of daylight saving in Berlin. */
const now = fc.integer({ min: Date.UTC(2026, 9, 24), max: Date.UTC(2026, 9, 27) })
const pause = fc.oneof(fc.integer({ min: 0, max: 200_000 }), fc.integer({ min: 0, max: 40_000_000 }))

test('in few steps it decides as it would one tick after the other', () => {
  const same = fc.property(rules, now, pause, (rules, nowMs, pauseMs) => {
    const cursorMs = nowMs - pauseMs
    expect(decide({ scheduleId: 'a', rules, cursorMs, nowMs })).toEqual(plainly(rules, cursorMs, nowMs))
  })
  fc.assert(same, { numRuns: 500 })
}, 60_000)

test('about a thousand missed ticks are counted to the last', () => {
  for (const catchUp of ['none', 'latest', { all: 1 }, { all: 3 }, { all: 1000 }] satisfies CatchUp[]) {
    const rules = rulesOf({ cron: '0 * * * *', catchUp, catchUpWindowMs: 31_536_000_000 })
    for (const count of [998, 999, 1000, 1001, 1002, 1003, 1004, 1999, 2000, 2001, 2002, 2003]) {
      const [cursorMs, nowMs] = [at('12:30:00') - count * 3_600_000, at('12:30:00')]
      expect(decide({ scheduleId: 'a', rules, cursorMs, nowMs })).toEqual(plainly(rules, cursorMs, nowMs))
    }
  }
})

test('with jitter each tick is due later by what it and the schedule say, and before the next one', () => {
  const rules = rulesOf({ cron: '* * * * *', jitterMs: 20_000 })
  const dueOf = (scheduleId: string, tickMs: number) =>
    decide({ scheduleId, rules, cursorMs: tickMs - 60_000, nowMs: tickMs }).nextAtMs ?? 0
  const laters = Array.from({ length: 500 }, (_, i) => dueOf('a', at('09:00:00') + i * 60_000) - (at('09:00:00') + i * 60_000))
  expect(Math.min(...laters)).toBeWithin(0, 500)
  expect(Math.max(...laters)).toBeWithin(19_500, 20_000)
  expect(laters.reduce((sum, later) => sum + later) / laters.length).toBeWithin(9000, 11_000)
  expect(laters.slice(0, 50)).not.toEqual(
    Array.from({ length: 50 }, (_, i) => dueOf('b', at('09:00:00') + i * 60_000) - (at('09:00:00') + i * 60_000)),
  )
  // What it says is the same tomorrow, in every version.
  expect(laters.slice(0, 3)).toEqual([6973, 13_274, 13_711])
})

test('a tick whose jitter has not passed is not decided, and one that is due is on time for a minute from then', () => {
  const rules = rulesOf({ cron: '0 * * * *', jitterMs: 3_600_000, catchUp: 'none' })
  const decided = (nowMs: number) => decide({ scheduleId: 'a', rules, cursorMs: at('09:00:00'), nowMs })
  const dueMs = decided(at('10:00:00')).nextAtMs ?? 0
  expect(dueMs).toBeGreaterThan(at('10:01:00'))
  expect(decided(dueMs - 1)).toEqual({ ticks: [], cursorMs: at('09:00:00'), nextAtMs: dueMs })
  expect(decided(dueMs).ticks).toEqual([{ tickMs: at('10:00:00'), isCaughtUp: false, dueMs }])
  expect(decided(dueMs + graceMs).ticks).toHaveLength(1)
  expect(decided(dueMs + graceMs + 1)).toMatchObject({
    ticks: [],
    missed: { fromMs: at('10:00:00'), toMs: at('10:00:00'), count: 1, isMore: false },
  })
})

test('however often and late somebody looks, each tick is fired or missed, once and in order', () => {
  const jitters = fc.constantFrom(0, 1, 500, 30_000, 3_600_000)
  const waits = fc.array(fc.oneof(fc.integer({ min: 1, max: 3000 }), fc.integer({ min: 1, max: 400_000 })), { maxLength: 40 })
  const once = fc.property(rules, jitters, now, waits, (plain, jitterMs, startMs, pauses) => {
    const rules = { ...plain, jitterMs }
    const cron = cronOf(rules.cron, rules.timeZone)
    let [cursorMs, nowMs] = [startMs, startMs]
    for (const pauseMs of pauses) {
      nowMs += pauseMs
      const { ticks, missed, ...after } = decide({ scheduleId: 'a', rules, cursorMs, nowMs })
      for (let left = missed?.count ?? 0; left > 0; left--) cursorMs = cron.after(cursorMs) ?? 0
      if (missed && !missed.isMore) expect(cursorMs).toBe(missed.toMs)
      cursorMs = missed?.toMs ?? cursorMs
      for (const { tickMs, dueMs } of ticks) {
        expect(tickMs).toBe(cron.after(cursorMs) ?? 0)
        expect(dueMs).toBeWithin(tickMs, Math.min(tickMs + Math.max(1, jitterMs), cron.after(tickMs) ?? 0))
        expect(dueMs).toBeLessThanOrEqual(nowMs)
        cursorMs = tickMs
      }
      expect(after.cursorMs).toBe(cursorMs)
      expect(after.nextAtMs).toBeGreaterThan(nowMs)
    }
  })
  fc.assert(once, { numRuns: 200 })
}, 60_000)

test('the next ticks are said before a schedule is saved, without jitter', () => {
  const ticks = nextTicks({ cron: '0 3 * * 1', timeZone: 'Europe/Berlin' }, Date.UTC(2026, 2, 20), 3)
  expect(ticks.map(ms => new Date(ms).toISOString())).toEqual([
    '2026-03-23T02:00:00.000Z',
    '2026-03-30T01:00:00.000Z',
    '2026-04-06T01:00:00.000Z',
  ])
  expect(nextTicks({ cron: '@daily', timeZone: 'UTC' }, Date.UTC(2999, 11, 29), 5)).toHaveLength(2)
})
