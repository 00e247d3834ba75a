import { expect, test } from 'bun:test'
import { Cron as Croner, CronPattern } from 'croner'
import fc from 'fast-check'
import { cronFaults, cronOf } from './cron'

const faultOf = (expression: unknown, timeZone: unknown = 'UTC') =>
  cronFaults(expression as string, timeZone as string)
    .map(({ pointer, detail }) => `${pointer} ${detail}`)
    .join(' | ')

const five = 'minute, hour, day of the month, month, day of the week'

test('an expression that cannot be is refused with the reason', () => {
  const refused: [unknown, string][] = [
    ['', `is empty; say five fields: ${five}`],
    ['   ', 'is empty'],
    [undefined, 'must be a text of five fields'],
    [5, 'must be a text of five fields'],
    [`0 0 1,${'1,'.repeat(100)}1 * *`, 'is 211 characters; at most 200 are read'],
    ['*', `has 1 field; say five: ${five}, or six, with the second before them`],
    ['0 3 * *', 'has 4 fields'],
    ['0 0 3 * * * 2027', 'has seven fields; years cannot be said'],
    ['0 0 3 * * * 2027 1', 'has 8 fields'],
    ['@reboot', '@reboot is no time'],
    ['@dayly', '"@dayly" is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly; did you mean @daily?'],
    ['@daily @weekly', '"@daily @weekly" is none of @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly'],
    ['０ 3 * * *', 'has the character U+FF10 (０); write letters'],
    ['🕒 3 * * *', 'has the character U+1F552 (🕒)'],
    ['0\u00a03 * * *', 'has the character U+00A0; write'],
    ['0 3 * * *\n', 'has the character U+000A; write'],
    ['0\t3 * * *', 'has the character U+0009; write'],
    ['60 3 * * * *', 'the second 60 is not from 0 to 59'],
    ['60 3 * * *', 'the minute 60 is not from 0 to 59'],
    ['0 24 * * *', 'the hour 24 is not from 0 to 23'],
    ['0 3 0 * *', 'the day of the month 0 is not from 1 to 31'],
    ['0 3 32 * *', 'the day of the month 32 is not from 1 to 31'],
    ['0 3 32W * *', 'the day of the month 32 is not from 1 to 31'],
    ['0 3 L-3 * *', 'the day of the month L is not from 1 to 31'],
    ['0 3 * 13 *', 'the month 13 is not from 1 to 12, or from JAN to DEC'],
    ['0 3 * 0 *', 'the month 0 is not from 1'],
    ['0 3 * MAI *', 'the month MAI is not from 1 to 12'],
    ['0 3 * * 8', 'the day of the week 8 is not from 0 to 7, or from SUN to SAT'],
    ['0 3 * * FRIDAY', 'the day of the week FRIDAY is not'],
    ['0 3 * * 5#6', 'the day of the week 5#6 is of no week; say 5#1 to 5#5, or 5L for the last'],
    ['0 3 * * 9#1', 'the day of the week 9 is not from 0 to 7'],
    ['0 3 * * L', 'the day of the week L is not from 0 to 7'],
    ['0 3 * * +', 'the day of the week + has an empty part'],
    ['0 3 1,,2 * *', 'the day of the month 1,,2 has an empty part'],
    ['-1 3 * * *', 'the minute has no number on one side of -'],
    ['1.5 3 * * *', 'the minute 1.5 is not from'],
    ['1e1 3 * * *', 'the minute 1e1 is not from'],
    ['1-2-3 3 * * *', 'the minute 1-2-3 is no range'],
    ['*/0 * * * *', 'the minute */0 has no step from 1 to 60 behind its /'],
    ['*/61 * * * *', 'the minute */61 has no step from 1 to 60'],
    ['0 */25 * * *', 'the hour */25 has no step from 1 to 24'],
    ['0 0 * * */8', 'the day of the week */8 has no step from 1 to 7'],
    ['*/ * * * *', 'the minute */ has no step'],
    ['5/15 * * * *', 'the minute 5/15 ends nowhere; say 5-59/15 or */15'],
    ['/15 * * * *', 'the minute has no number'],
    ['0 22-2 * * *', 'the hour 22-2 goes backward; say 22-23,0-2'],
    ['0 3 * * FRI-MON', 'the day of the week FRI-MON goes backward; say FRI-6,0-MON'],
    ['0 3 * * 7-1', 'the day of the week 7-1 goes backward; say 0-1'],
    ['? 3 * * *', 'the minute cannot be ?; say *'],
    ['0 0 31 2 *', 'never comes: February has no day 31'],
    ['0 0 31 2,4 *', 'never comes: February and April have no day 31'],
    ['0 0 30W FEB *', 'never comes: February has no day 30'],
    ['0 0 31 2 +1', 'never comes: February has no day 31'],
  ]
  for (const [expression, said] of refused) {
    expect([expression, faultOf(expression).slice(0, said.length + 6)]).toEqual([expression, `/cron ${said}`])
    expect(() => cronOf(expression as string, 'UTC')).toThrow(RangeError)
  }
})

test('all that is wrong is said at once', () => {
  expect(faultOf('61 25 32 13 8', 'Europe/Berln')).toBe(
    '/cron the minute 61 is not from 0 to 59; the hour 25 is not from 0 to 23; the day of the month 32 is not from 1 to 31; ' +
      'the month 13 is not from 1 to 12, or from JAN to DEC; the day of the week 8 is not from 0 to 7, or from SUN to SAT | ' +
      '/timeZone "Europe/Berln" is no time zone of the IANA database; did you mean Europe/Berlin?',
  )
})

test('a time zone that there is not is refused with the one that may be meant', () => {
  const refused: [unknown, string][] = [
    ['', 'is empty; say UTC, or a name such as Europe/Berlin'],
    [7, 'must be the name of a time zone'],
    [null, 'must be the name of a time zone'],
    ['europe/berlin', 'is written Europe/Berlin'],
    ['EUROPE/BERLIN', 'is written Europe/Berlin'],
    ['utc', 'is written UTC'],
    ['Berlin', '"Berlin" is no time zone of the IANA database; did you mean Europe/Berlin?'],
    ['new york', 'did you mean America/New_York?'],
    ['America/New York', 'did you mean America/New_York?'],
    ['Europe/Bérlin', 'did you mean Europe/Berlin?'],
    ['Mars/Olympus', '"Mars/Olympus" is no time zone of the IANA database; say a name such as Europe/Berlin'],
    ['__proto__', '"__proto__" is no time zone'],
    [' UTC', '" UTC" is no time zone'],
    ['+02:00', '+02:00 is an offset, which no daylight saving changes; say the name of a zone'],
    ['GMT+2', 'GMT+2 is an offset'],
    ['x'.repeat(65), 'is 65 characters, and no time zone'],
  ]
  for (const [zone, said] of refused) {
    expect([zone, faultOf('0 3 * * *', zone)]).toEqual([zone, expect.stringContaining(said)])
    expect(() => cronOf('0 3 * * *', zone as string)).toThrow(RangeError)
  }
  for (const zone of ['UTC', 'Etc/GMT-2', 'EST', 'US/Eastern', 'Europe/Kiev', 'Europe/Kyiv', ...Intl.supportedValuesOf('timeZone')])
    expect([zone, faultOf('0 3 * * *', zone)]).toEqual([zone, ''])
})

test('what is said anew must come within five years from then, and what was taken is taken for ever', () => {
  const anew = (expression: string, at: string) => cronFaults(expression, 'UTC', Date.parse(at)).map(({ detail }) => detail)
  const rare = ['does not come within five years']
  // February 29 is a Thursday in 2024, and then in 2052; a Tuesday in 2028, and then in 2056.
  expect(anew('0 0 29 2 +THU', '2024-02-01T00:00:00Z')).toEqual([])
  expect(anew('0 0 29 2 +THU', '2026-01-31T00:00:00Z')).toEqual(rare)
  expect(anew('0 0 29 2 +TUE', '2026-01-31T00:00:00Z')).toEqual([])
  expect(anew('0 0 29 2 +TUE', '2028-03-01T00:00:00Z')).toEqual(rare)
  expect(anew('0 0 29 2 +TUE', '2051-02-27T00:00:00Z')).toEqual(rare)
  expect(anew('0 0 29 2 +TUE', '2051-03-01T00:00:00Z')).toEqual([])
  expect(anew('0 0 29 2 *', '2028-02-29T12:00:00Z')).toEqual([])
  expect(anew('0 0 31 2 *', '2026-01-31T00:00:00Z')).toEqual(['never comes: February has no day 31'])
  expect(new Date(cronOf('0 0 29 2 +THU', 'UTC').after(Date.UTC(2026, 0, 31)) ?? 0).toISOString()).toBe('2052-02-29T00:00:00.000Z')
  expect(faultOf('0 0 29 2 +THU')).toBe('')
})

test('what people write comes when they expect it', () => {
  const after = Date.UTC(2026, 0, 31, 9, 5, 30)
  const next: [string, string][] = [
    ['* * * * *', '2026-01-31T09:06:00.000Z'],
    ['*/20 * * * * *', '2026-01-31T09:05:40.000Z'],
    ['  0   3  * * *  ', '2026-02-01T03:00:00.000Z'],
    ['@Daily', '2026-02-01T00:00:00.000Z'],
    ['@midnight', '2026-02-01T00:00:00.000Z'],
    ['@hourly', '2026-01-31T10:00:00.000Z'],
    ['@weekly', '2026-02-01T00:00:00.000Z'],
    ['@monthly', '2026-02-01T00:00:00.000Z'],
    ['@yearly', '2027-01-01T00:00:00.000Z'],
    ['0 3 ? * mon-fri', '2026-02-02T03:00:00.000Z'],
    ['0 3 * * SAT-SUN', '2026-02-01T03:00:00.000Z'],
    ['0 3 * * 7', '2026-02-01T03:00:00.000Z'],
    ['0 3 L * *', '2026-02-28T03:00:00.000Z'],
    ['0 3 LW * *', '2026-02-27T03:00:00.000Z'],
    ['0 3 15W * *', '2026-02-16T03:00:00.000Z'],
    ['0 3 * * MON#2', '2026-02-09T03:00:00.000Z'],
    ['0 3 * * FRIL', '2026-02-27T03:00:00.000Z'],
    ['0 3 13 * FRI', '2026-02-06T03:00:00.000Z'],
    ['0 3 13 * +FRI', '2026-02-13T03:00:00.000Z'],
    ['0 3 29 2 *', '2028-02-29T03:00:00.000Z'],
    ['0 3 1-7/3,20 JAN,MAR *', '2026-03-01T03:00:00.000Z'],
  ]
  for (const [expression, at] of next)
    expect([expression, faultOf(expression), new Date(cronOf(expression, 'UTC').after(after) ?? 0).toISOString()]).toEqual([
      expression,
      '',
      at,
    ])
})

test('a tick is later than what it is asked for, also in the middle of a second', () => {
  const cron = cronOf('* * * * * *', 'Europe/Berlin')
  const ms = Date.UTC(2026, 9, 25)
  for (const within of [0, 0.5, 1, 999, 999.9]) expect(cron.after(ms + within)).toBe(ms + 1000)
  for (const none of [Number.NaN, Number.POSITIVE_INFINITY]) expect(() => cron.after(none)).toThrow(RangeError)
})

test('what was read last is kept, of a thousand expressions', () => {
  const first = cronOf('1 1 1 1 *', 'UTC')
  const used = cronOf('2 1 1 1 *', 'UTC')
  expect(cronOf('1 1 1 1 *', 'UTC')).toBe(first)
  expect(cronOf('1 1 1 1 *', 'Europe/Berlin')).not.toBe(first)
  for (let i = 0; i < 1000; i++) {
    cronOf(`${i % 60} ${Math.floor(i / 60)} * * 1`, 'UTC')
    expect(cronOf('2 1 1 1 *', 'UTC')).toBe(used)
  }
  expect(cronOf('1 1 1 1 *', 'UTC')).not.toBe(first)
})

const number = (max: number) => fc.integer({ min: 0, max })
const part = (max: number) =>
  fc.oneof(
    fc.constantFrom('*', '*/2', '*/7', '?', 'L', 'LW', '15W', '+1', '5L', '5#2', 'MON', 'JAN-MAR', 'sun', 'SAT-SUN', '', '-', '/'),
    number(max).map(String),
    fc.tuple(number(max), number(max)).map(([from, to]) => `${from}-${to}`),
    fc.tuple(number(max), number(max), number(20)).map(([from, to, step]) => `${from}-${to}/${step}`),
    fc.array(number(max), { minLength: 2, maxLength: 4 }).map(each => each.join(',')),
  )
const anyExpression = fc.oneof(
  { weight: 6, arbitrary: fc.tuple(part(61), part(25), part(32), part(13), part(8)).map(fields => fields.join(' ')) },
  { weight: 2, arbitrary: fc.tuple(part(61), part(61), part(25), part(32), part(13), part(8)).map(fields => fields.join(' ')) },
  { weight: 1, arbitrary: fc.string({ unit: 'grapheme', maxLength: 220 }) },
)

test('whatever is said is refused, or comes when croner says so where the clocks never change', () => {
  let taken = 0
  const fits = fc.property(anyExpression, fc.integer({ min: Date.UTC(2024, 0), max: Date.UTC(2030, 0) }), (expression, fromMs) => {
    if (cronFaults(expression, 'UTC').length > 0) return
    taken++
    const [cron, croner] = [cronOf(expression, 'UTC'), new Croner(expression, { timezone: 'UTC', mode: '5-or-6-parts' })]
    for (let i = 0, ms = fromMs; i < 5; i++) {
      const next = cron.after(ms)
      expect(next).toBe(croner.nextRun(new Date(ms))?.getTime())
      if (next === undefined) return
      ms = next
    }
  })
  fc.assert(fits, { numRuns: 3000 })
  expect(taken).toBeGreaterThan(100)
})

test('what croner does not take is refused in our words', () => {
  const fits = fc.property(anyExpression, expression => {
    const said = faultOf(expression)
    expect(said).not.toContain('is not understood')
    try {
      new CronPattern(expression, undefined, { mode: '5-or-6-parts' })
    } catch {
      expect(said).not.toBe('')
    }
  })
  fc.assert(fits, { numRuns: 5000 })
})
