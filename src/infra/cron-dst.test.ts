import { expect, test } from 'bun:test'
import { type Offsets, offsetsOf, type Pattern, type Period, ticksOf } from '@/testing/cron-oracle'
import { type Cron, cronOf } from './cron'

/**
 * The ticks of all zones whose clocks change, against an oracle that walks through the minutes. Zones with the same changes are one by default, of which
 * the days about each change are looked at; with BINGO_TEST_FULL=1 it is each zone, and all of the three years, save for patterns of many ticks a day.
 */
const isFull = process.env['BINGO_TEST_FULL'] === '1'
const years: Period = { fromMs: Date.UTC(2024, 0, 1), untilMs: Date.UTC(2027, 0, 1) }
const dayMs = 86_400_000
const aboutMs = 3 * dayMs
const nearMs = 3 * 3_600_000
const timeoutMs = isFull ? 1_200_000 : 60_000

const upTo = (count: number) => Array.from({ length: count }, (_, i) => i)
const all = upTo(60)
const hours = upTo(24)
const every = (step: number, count = 60) => upTo(count).filter(i => i % step === 0)

const patterns: readonly Pattern[] = [
  { cron: '30 2 * * *', says: 'times', minutes: [30], hours: [2] },
  { cron: '0 3 * * *', says: 'times', minutes: [0], hours: [3] },
  { cron: '@daily', says: 'times', minutes: [0], hours: [0] },
  { cron: '30 0 * * *', says: 'times', minutes: [30], hours: [0] },
  { cron: '15 1 * * *', says: 'times', minutes: [15], hours: [1] },
  { cron: '30 23 * * *', says: 'times', minutes: [30], hours: [23] },
  { cron: '20 30 2 * * *', says: 'times', seconds: [20], minutes: [30], hours: [2] },
  { cron: '0,30 0 0,3 * * *', says: 'times', seconds: [0, 30], minutes: [0], hours: [0, 3] },
  { cron: '30 2,14 * * *', says: 'times', minutes: [30], hours: [2, 14] },
  { cron: '0-10 0-3 * * *', says: 'times', minutes: upTo(11), hours: upTo(4) },
  { cron: '30 2 * * SUN', says: 'times', minutes: [30], hours: [2], isOn: (_, weekday) => weekday === 0 },
  { cron: '30 23 * * 6', says: 'times', minutes: [30], hours: [23], isOn: (_, weekday) => weekday === 6 },
  {
    cron: '30 1 25-31 MAR,OCT *',
    says: 'times',
    minutes: [30],
    hours: [1],
    isOn: (day, _, month) => day >= 25 && (month === 3 || month === 10),
  },
  { cron: '0 2 8-14 * 0', says: 'times', minutes: [0], hours: [2], isOn: (day, weekday) => (day >= 8 && day <= 14) || weekday === 0 },
  { cron: '0 2 8-14 * +0', says: 'times', minutes: [0], hours: [2], isOn: (day, weekday) => day >= 8 && day <= 14 && weekday === 0 },
  { cron: '*/15 * * * *', says: 'rhythm', minutes: every(15), hours },
  { cron: '@hourly', says: 'rhythm', minutes: [0], hours },
  { cron: '30 * * * *', says: 'rhythm', minutes: [30], hours },
  { cron: '*/7 * * * *', says: 'rhythm', minutes: every(7), hours },
  { cron: '* 0-3 * * *', says: 'rhythm', minutes: all, hours: upTo(4) },
  { cron: '0-59/20 2 * * *', says: 'rhythm', minutes: every(20), hours: [2] },
  { cron: '0 */2 * * *', says: 'rhythm', minutes: [0], hours: every(2, 24) },
  { cron: '*/10 1 * * 0', says: 'rhythm', minutes: every(10), hours: [1], isOn: (_, weekday) => weekday === 0 },
  { cron: '*/20 * 0-3 * * *', says: 'rhythm', seconds: [0, 20, 40], minutes: all, hours: upTo(4) },
]

interface Zone {
  name: string
  offsets: Offsets
}

/** Those whose clocks change, one for each way in which they do. */
function changingZones(): Zone[] {
  const weekMs = 7 * dayMs
  const changing = Intl.supportedValuesOf('timeZone').filter(name => offsetsOf(name, years, weekMs).changes.length > 1)
  const zones = changing.map(name => ({ name, offsets: offsetsOf(name, years) }))
  return isFull ? zones : [...new Map(zones.map(zone => [JSON.stringify(zone.offsets), zone])).values()]
}

const fewTicksMax = 100

function periodsOf({ changes }: Offsets, { seconds = [0], minutes, hours }: Pattern): Period[] {
  if (isFull && seconds.length * minutes.length * hours.length <= fewTicksMax) return [years]
  return changes.slice(1).map(({ atMs }) => ({ fromMs: atMs - aboutMs, untilMs: atMs + aboutMs }))
}

/** The first difference, in words; undefined when there is none. */
function difference(cron: Cron, pattern: Pattern, zone: Zone, period: Period): string | undefined {
  const expected = ticksOf(pattern, zone.offsets, period)
  const said = (ms: number | undefined) => (ms === undefined ? 'none' : new Date(ms).toISOString())
  let from = period.fromMs - 1
  for (const tick of [...expected, undefined]) {
    const next = cron.after(from)
    const fits = tick === undefined ? next === undefined || next >= period.untilMs : next === tick
    if (!fits || (next !== undefined && next <= from))
      return `${pattern.cron} in ${zone.name}: after ${said(from)} comes ${said(next)}, not ${said(tick)}`
    from = tick ?? from
  }
  return differenceBetween(cron, expected, pattern, zone)
}

/** From instants that are no ticks, in the middle of a repeated hour or of a second: about the changes, and now and then between them. */
function differenceBetween(
  cron: Cron,
  expected: readonly number[],
  { cron: expression }: Pattern,
  { name, offsets }: Zone,
): string | undefined {
  const isNear = (tick: number) => offsets.changes.some(({ atMs }) => Math.abs(tick - atMs) < nearMs)
  for (let i = 1; i < expected.length; i++) {
    const [before = 0, tick = 0] = [expected[i - 1], expected[i]]
    if (i % 31 > 0 && !isNear(tick)) continue
    for (const from of [tick - 1, before + 0.5, before + Math.floor((tick - before) / 2)].filter(ms => ms >= before)) {
      const next = cron.after(from)
      if (next !== tick) return `${expression} in ${name}: after ${from} comes ${next}, not ${tick}`
    }
  }
  return undefined
}

/** Of every pattern in every zone, the first of each. */
function differences(calculator: (expression: string, timeZone: string) => Cron, zones: readonly Zone[]): string[] {
  return zones.flatMap(zone =>
    patterns.flatMap(pattern => {
      const cron = calculator(pattern.cron, zone.name)
      for (const period of periodsOf(zone.offsets, pattern)) {
        const found = difference(cron, pattern, zone, period)
        if (found !== undefined) return [found]
      }
      return []
    }),
  )
}

test(
  'ticks come when the clocks say so in every zone whose clocks change: none twice, none too early, no time of day skipped',
  () => {
    const zones = changingZones()
    expect(zones.length).toBeGreaterThan(isFull ? 100 : 20)
    expect(differences(cronOf, zones)).toEqual([])
  },
  timeoutMs,
)

test(
  'that is found out: calculators with the faults of others are told from one without',
  () => {
    const zones = ['Europe/Berlin', 'America/Nuuk', 'Australia/Lord_Howe'].map(name => ({ name, offsets: offsetsOf(name, years) }))
    const faulty: [string, (expression: string, timeZone: string) => Cron, RegExp][] = [
      // A step makes a rhythm of a time of day.
      [
        'skips a time of day',
        (said, zone) => cronOf(said.replace(/^30 2 \* \* \*$/, '30-30/1 2 * * *'), zone),
        /^30 2 \* \* \* in Europe\/Berlin: after 2024-03-30/,
      ],
      [
        'has an hour once',
        (said, zone) => cronOf(said.replace('@hourly', `0 ${hours} * * *`), zone),
        /^@hourly in Europe\/Berlin: after 2024-10-27T00/,
      ],
      ['stays in one offset', said => cronOf(said, 'Etc/GMT-1'), /in Europe\/Berlin: after 2024-03-31/],
      ['returns what is past', (said, zone) => ({ after: ms => cronOf(said, zone).after(ms - 3_600_000) }), /comes 2024/],
      ['forgets the second half', (said, zone) => ({ after: ms => cronOf(said, zone).after(ms % 1000 === 0 ? ms : ms + 1000) }), /comes/],
      [
        'skips a time before midnight',
        skippingAcrossMidnight,
        /^30 23 \* \* \* in America\/Nuuk: after 2024-03-30T01:30:00.000Z comes 2024-04-01T00:30/,
      ],
    ]
    expect(differences(cronOf, zones)).toEqual([])
    for (const [fault, calculator, found] of faulty) {
      const all = differences(calculator, zones)
      expect([fault, all.find(each => found.test(each)) ?? all]).toEqual([fault, expect.stringMatching(found)])
    }
  },
  timeoutMs,
)

/** As croner 11.0.1 does by itself, when the first instant after the gap is of the next day. */
function skippingAcrossMidnight(expression: string, timeZone: string): Cron {
  const cron = cronOf(expression, timeZone)
  const isMidnight = (ms: number) => new Date(ms).toLocaleTimeString('en-GB', { timeZone }) === '00:00:00'
  return {
    after(ms) {
      const next = cron.after(ms)
      return next !== undefined && expression.startsWith('30 23') && isMidnight(next) ? cron.after(next) : next
    },
  }
}
