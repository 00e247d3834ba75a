import { expect, test } from 'bun:test'
import { AppError } from '@/core/error'
import { defineTask } from '@/core/queue/task'
import type { ScheduleDefinition } from '@/core/schedule/admin'
import { Type } from '@/core/schema'
import { checkDefinition, type Known } from './definition'

const report = defineTask('report.send', Type.Object({ to: Type.String({ maxLength: 8 }), days: Type.Optional(Type.Integer()) }))
const sweep = defineTask('session.sweep', Type.Object({}))
const collected = defineTask('mail.digest', Type.Object({}), { group: { countMax: 10 } })
const known: Known = { tasks: [report, sweep, collected], payloadMaxBytes: 100 }

const checked = (definition: object) => checkDefinition(definition as ScheduleDefinition, known)

/** `pointer detail` of each problem. */
function problemsOf(definition: unknown): string[] {
  try {
    checked(definition as object)
    return []
  } catch (thrown) {
    if (!(thrown instanceof AppError)) throw thrown
    expect(thrown.code).toBe('Unprocessable.ScheduleInvalid')
    return thrown.problems.map(({ pointer, detail }) => `${pointer} ${detail}`)
  }
}

const whole = { name: 'reports', cron: '0 3 * * *', task: 'report.send', payload: { to: 'ada' } }

test('a definition that cannot be is refused with the field and the reason', () => {
  const refused: [object, string][] = [
    [{ name: undefined }, '/name must be 1–64 small letters, digits, . and -, beginning with a letter'],
    [{ name: '' }, '/name must be'],
    [{ name: 'Reports' }, '/name must be'],
    [{ name: '1st' }, '/name must be'],
    [{ name: 'a b' }, '/name must be'],
    [{ name: 'a\n' }, '/name must be'],
    [{ name: 'größe' }, '/name must be'],
    [{ name: 'a'.repeat(65) }, '/name must be'],
    [{ cron: undefined }, '/cron must be a text of five fields'],
    [{ cron: '0 25 * * *' }, '/cron the hour 25 is not from 0 to 23'],
    [{ timeZone: 'Berlin' }, '/timeZone "Berlin" is no time zone of the IANA database; did you mean Europe/Berlin?'],
    [{ timeZone: null }, '/timeZone must be the name of a time zone'],
    [{ task: undefined }, '/task must be the name of a task'],
    [{ task: 'report.sent' }, '/task "report.sent" is no task that a role which fires schedules declares; did you mean report.send?'],
    [{ task: 'order.bill' }, '; tasks are report.send, session.sweep, mail.digest'],
    [{ payload: undefined }, '/payload/to Expected required property'],
    [{ payload: null }, '/payload Expected object'],
    [{ payload: { to: 'ada', days: 'two' } }, '/payload/days Expected integer'],
    [{ payload: { to: 'ada', more: { at: new Date() } } }, '/payload/more/at a Date comes back from JSON as something else'],
    [{ payload: { to: 'ada', more: 'x'.repeat(100) } }, '/payload is 122 bytes of JSON, and may be 100'],
    [{ overlap: 'queue' }, '/overlap must be one of allow, skip, bufferOne, cancelOther'],
    [{ overlap: null }, '/overlap must be one of'],
    [{ catchUp: 'all' }, '/catchUp must be none, latest, or { all: 1–1000 }'],
    [{ catchUp: { all: 0 } }, '/catchUp must be'],
    [{ catchUp: { all: 1001 } }, '/catchUp must be'],
    [{ catchUp: { all: 1.5 } }, '/catchUp must be'],
    [{ catchUp: { all: 5, newest: true } }, '/catchUp must be'],
    [{ catchUp: {} }, '/catchUp must be'],
    [{ catchUp: null }, '/catchUp must be'],
    [{ catchUpWindowMs: 0 }, '/catchUpWindowMs must be an integer from 1 to 31536000000'],
    [{ catchUpWindowMs: 31_536_000_001 }, '/catchUpWindowMs must be'],
    [{ jitterMs: -1 }, '/jitterMs must be an integer from 0 to 3600000'],
    [{ jitterMs: 3_600_001 }, '/jitterMs must be'],
    [{ jitterMs: Number.NaN }, '/jitterMs must be'],
    [{ jitterMs: '5' }, '/jitterMs must be'],
    [{ timezone: 'UTC' }, '/timezone is no option; did you mean timeZone?'],
  ]
  for (const [change, said] of refused) {
    const problems = problemsOf({ ...whole, ...change })
    expect([change, problems]).toEqual([change, [expect.stringContaining(said)]])
  }
  for (const none of [undefined, null, 'reports', []]) expect(problemsOf(none)).toEqual([' must be an object with name, cron and task'])
})

test('all that is wrong is said at once', () => {
  const bad = {
    name: 'A',
    cron: '60 24 * * *',
    timeZone: 'X',
    task: 'report.send',
    payload: { to: 5, days: 0.5 },
    overlap: '',
    catchUp: '',
  }
  const pointers = problemsOf({ ...bad, catchUpWindowMs: 0, jitterMs: -1, more: 1 }).map(problem => problem.split(' ')[0])
  const fields = [
    '/name',
    '/overlap',
    '/catchUp',
    '/catchUpWindowMs',
    '/jitterMs',
    '/more',
    '/cron',
    '/timeZone',
    '/payload/to',
    '/payload/days',
  ]
  expect(pointers.toSorted()).toEqual(fields.toSorted())
})

test('what is not said is the default', () => {
  const rules = {
    cron: '0 3 * * *',
    timeZone: 'UTC',
    overlap: 'skip',
    catchUp: 'latest',
    catchUpWindowMs: 86_400_000,
    jitterMs: 0,
  } as const
  expect(checked(whole)).toEqual({ name: 'reports', rules, task: report, payload: { to: 'ada' } })
  expect(checked({ ...whole, timeZone: undefined, overlap: undefined, jitterMs: undefined }).rules).toEqual(rules)
  const { task, payload } = checked({ name: 'a.b-1', cron: '@daily', task: 'session.sweep' })
  expect([task, payload]).toEqual([sweep, {}])
})

test('what is said stands', () => {
  const said = {
    timeZone: 'Asia/Kolkata',
    overlap: 'bufferOne',
    catchUp: { all: 1000 },
    catchUpWindowMs: 31_536_000_000,
    jitterMs: 3_600_000,
  } as const
  expect(checked({ ...whole, ...said }).rules).toEqual({ cron: '0 3 * * *', ...said })
  // The size of a payload is asked where it is known.
  expect(checkDefinition({ ...whole, payload: { to: 'ada', more: 'x'.repeat(100) } }, { tasks: [report] }).task).toBe(report)
})

test('a task that is collected into groups may be scheduled, as a group of one', () => {
  expect(checked({ name: 'digest', cron: '@daily', task: 'mail.digest' }).task).toBe(collected)
})
