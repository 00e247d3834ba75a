import { beforeAll, expect, test } from 'bun:test'
import { Readiness } from '@/core/service'
import { httpApp } from '@/infra/http/app'
import { createHealth } from '@/infra/http/health'
import { openBacking, type Backing } from '@/testing/backings'
import { fakeAudit, type FakeLog, fakeLog, fakeMetrics } from '@/testing/fakes'
import type { Problem } from '@/testing/http-client'
import { adminCalled, recognizing } from '@/testing/identities'
import { badFields, newDefinition, report, sweep, useSchedules } from '@/testing/schedules'
import { scheduleBiz } from './biz'
import { scheduleController } from './controller'
import type { DeclaredTask } from '@/core/queue/admin'
import type { Schedule, SchedulePage } from './schema'

const { scene, kept } = useSchedules(() => openBacking('sqlite') as Promise<Backing>)
let app: ReturnType<typeof httpApp>
let log: FakeLog
const audit = fakeAudit()
/** What tests say that administrators may enqueue. */
const declared: DeclaredTask[] = []
beforeAll(() => {
  log = fakeLog()
  const readiness = new Readiness()
  const health = createHealth(readiness, [], log)
  const recognizer = recognizing({
    operator: adminCalled('operator', ['schedules:read', 'schedules:write']),
    exporter: adminCalled('exporter', ['schedules:read', 'schedules:write', 'users:export']),
  })
  const tools = { log: fakeLog(), metrics: fakeMetrics(), readiness, health, recognizer, bodyLimitBytes: 1024 * 1024 }
  app = httpApp(
    'admin',
    '/admin/v1',
    [scheduleController(scheduleBiz({ schedules: scene.admin, log, queueAdmin: { tasks: declared }, audit }))],
    tools,
  )
})

async function send<T = Schedule>(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
  const response = await app.handle(
    new Request(`http://localhost/admin/v1/schedules${path}`, {
      method,
      headers: { authorization: 'Bearer operator', ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    }),
  )
  const text = await response.text()
  return { status: response.status, headers: response.headers, body: (text ? JSON.parse(text) : undefined) as T }
}

const bad = [
  ...badFields(['Ada', { to: 'x'.repeat(300_000) }]),
  ...[
    ['payload', {}, '/payload/to'],
    ['payload', { to: 7 }, '/payload/to'],
    ['payload', { to: 'Ada', copies: 0 }, '/payload/copies'],
  ],
] as [field: string, value: unknown, pointer?: string][]

test('a schedule is made, seen, changed and deleted, with the tags of its versions', async () => {
  const made = await send('POST', '', newDefinition({ name: 'nightly', timeZone: 'Europe/Berlin', catchUp: { all: 3 } }))
  expect([made.status, made.headers.get('location'), made.headers.get('etag')]).toEqual([
    201,
    `/admin/v1/schedules/${made.body.id}`,
    'W/"1"',
  ])
  for (const which of [made.body.id, 'nightly']) {
    const got = await send('GET', `/${which}`)
    expect([got.status, got.headers.get('etag'), got.body]).toEqual([200, 'W/"1"', made.body])
  }
  const changed = await send(
    'PATCH',
    '/nightly',
    { jitterMs: 9, timeZone: null },
    { 'if-match': 'W/"1"', 'content-type': 'application/merge-patch+json' },
  )
  expect([changed.status, changed.headers.get('etag'), changed.body]).toMatchObject([
    200,
    'W/"2"',
    { jitterMs: 9, timeZone: 'UTC', catchUp: { all: 3 } },
  ])
  for (const [method, body] of [['PATCH', { jitterMs: 1 }], ['DELETE']] as const) {
    const late = await send<Problem>(method, '/nightly', body, { 'if-match': 'W/"1"' })
    expect([late.status, late.body.code]).toEqual([412, 'FailedPrecondition.VersionMismatch'])
  }
  expect((await send('DELETE', '/nightly', undefined, { 'if-match': '"1", "2"' })).status).toBe(204)
  for (const [method, path] of [
    ...[
      ['GET', ''],
      ['GET', '/ticks'],
      ['POST', '/pause'],
      ['POST', '/resume'],
      ['POST', '/run'],
      ['DELETE', ''],
    ],
  ] as const) {
    const gone = await send<Problem>(method as string, `/nightly${path}`)
    expect([gone.status, gone.body.code]).toEqual([404, 'NotFound.ScheduleNotFound'])
  }
  const what = ['made', 'changed', 'deleted'].map(each => `a schedule was ${each}`)
  expect(log.lines.map(({ message, fields }) => [message, fields['schedule']])).toEqual(what.map(message => [message, 'nightly']))
})

test('a payload is merged, and what is taken back is as if it had not been said', async () => {
  const { body: made } = await send('POST', '', newDefinition({ payload: { to: 'Ada', copies: 2 }, overlap: 'allow', jitterMs: 5 }))
  const one = await send('PATCH', `/${made.id}`, { payload: { copies: 3 }, overlap: null })
  expect(one.body).toMatchObject({ payload: { to: 'Ada', copies: 3 }, overlap: 'skip', jitterMs: 5 })
  const other = await send('PATCH', `/${made.id}`, { payload: { copies: null }, catchUp: { all: 2 }, jitterMs: null })
  expect(other.body).toMatchObject({ payload: { to: 'Ada' }, catchUp: { all: 2 }, jitterMs: 0, version: 3 })
  expect((await send('PATCH', `/${made.id}`, {})).body).toEqual(other.body)
  const bare = await send<Problem>('PATCH', `/${made.id}`, { payload: null })
  expect([bare.status, bare.body.errors?.[0]?.pointer]).toEqual([422, '/payload/to'])
})

test('changes at the same time are all made, unless somebody says what he has seen', async () => {
  const { body: made } = await send('POST', '', newDefinition())
  const answers = await Promise.all(
    [{ jitterMs: 7 }, { overlap: 'allow' }, { catchUp: 'none' }].map(one => send('PATCH', `/${made.id}`, one)),
  )
  expect(answers.map(({ status }) => status)).toEqual([200, 200, 200])
  expect((await send('GET', `/${made.id}`)).body).toMatchObject({ jitterMs: 7, overlap: 'allow', catchUp: 'none', version: 4 })
  const seen = await Promise.all([1, 2].map(jitterMs => send('PATCH', `/${made.id}`, { jitterMs }, { 'if-match': '"4"' })))
  expect(seen.map(({ status }) => status).toSorted()).toEqual([200, 412])
})

test('whatever is wrong with a schedule is refused with where and why, by whichever route, and nothing is saved', async () => {
  const { body: made } = await send('POST', '', newDefinition())
  const before = await kept()
  for (const [field, value, pointer = `/${field}`] of bad) {
    const definition = `{${Object.entries({ ...newDefinition(), [field]: undefined })
      .filter(([, said]) => said !== undefined)
      .concat([[field, value]])
      .map(([name, said]) => `${JSON.stringify(name)}:${JSON.stringify(said)}`)}}`
    const patch = `{${JSON.stringify(field)}:${JSON.stringify(value)}}`
    for (const [method, path, body] of [
      ['POST', '', definition],
      ['POST', '/preview', definition],
      // What is null is taken back, and a payload is merged.
      ...(value === null || field === 'payload' ? [] : [['PATCH', `/${made.id}`, patch]]),
    ] as [string, string, string][]) {
      const answer = await send<Problem>(method, path, body)
      const which = `${method} ${path} ${body.slice(0, 200)}`
      expect([which, answer.status, answer.headers.get('content-type')]).toEqual([which, 422, 'application/problem+json'])
      expect([which, answer.body.errors?.map(each => each.pointer)]).toEqual([which, [pointer]])
      expect(answer.body.errors?.[0]?.detail.length).toBeGreaterThan(5)
    }
  }
  for (const field of ['name', 'cron', 'task']) {
    const answer = await send<Problem>('POST', '', { ...newDefinition(), [field]: undefined })
    expect([field, answer.status, answer.body.errors?.map(({ pointer }) => pointer)]).toEqual([field, 422, [`/${field}`]])
  }
  for (const [body, status] of [
    ['{"name":', 400],
    ['{"name":"a","name":"b","cron":"* * * * *","task":"report.send"}', 400],
    ['[]', 422],
    ['null', 422],
    [`{"name":"a","cron":"* * * * *","task":"report.send","payload":{"to":"\\u0000"}}`, 400],
    [JSON.stringify(newDefinition({ payload: { to: 'x'.repeat(2 * 1024 * 1024) } })), 413],
  ] as const)
    expect([body.slice(0, 80), (await send('POST', '', body)).status]).toEqual([body.slice(0, 80), status])
  expect((await send('POST', '', 'name=a', { 'content-type': 'application/x-www-form-urlencoded' })).status).toBe(415)
  expect((await send<Problem>('POST', '', newDefinition({ name: made.name }))).body).toMatchObject({
    ...{ status: 409, code: 'Conflict.ScheduleNameTaken', errors: [{ pointer: '/name', detail: 'is taken' }] },
  })
  expect(await kept()).toEqual(before)
})

test('all of it that is wrong is said at once', async () => {
  const said = { ...newDefinition(), cron: '61 * * * *', timeZone: 'Europe/Berln', payload: { to: 7 } }
  const { body } = await send<Problem>('POST', '', said)
  expect(body).toMatchObject({ code: 'Unprocessable.ScheduleInvalid', detail: 'The schedule cannot be so.' })
  expect(body.errors?.map(({ pointer }) => pointer).toSorted()).toEqual(['/cron', '/payload/to', '/timeZone'])
})

test('what comes next is seen before anything is saved', async () => {
  const before = await kept()
  const { status, body } = await send<{ next: string[] }>('POST', '/preview?count=2', newDefinition({ cron: '0 0 1 1 *' }))
  expect([status, body]).toEqual([200, { next: ['2027-01-01T00:00:00.000Z', '2028-01-01T00:00:00.000Z'] }])
  for (const count of ['0', '-1', '1001', 'x', '1.5'])
    expect((await send('POST', `/preview?count=${count}`, newDefinition())).status).toBe(400)
  expect(await kept()).toEqual(before)
})

test('one is paused, run and resumed, and its history says so', async () => {
  const { body: made } = await send('POST', '', newDefinition())
  const paused = await send('POST', `/${made.id}/pause`)
  expect([paused.status, paused.headers.get('etag'), paused.body]).toMatchObject([200, 'W/"2"', { isPaused: true, next: [] }])
  const run = await send<{ taskId: string }>('POST', `/${made.name}/run`)
  expect([run.status, run.body]).toEqual([202, { taskId: expect.stringContaining(`schedule:${made.id}:run:`) }])
  const ticks = await send('GET', `/${made.id}/ticks`)
  const tick = { what: 'manual', count: 1, lateMs: 0, taskId: run.body.taskId, outcome: 'pending' }
  expect(ticks.body).toMatchObject({ items: [tick], nextPageToken: '' })
  expect((await send('POST', `/${made.id}/resume`)).body).toMatchObject({ isPaused: false, version: 3 })
})

test('a task that another permission guards is scheduled, and run, by whoever has that one too; one of the system by nobody', async () => {
  const definition = (over = {}) => newDefinition({ task: sweep.name, payload: {}, ...over })
  const { body: made } = await send('POST', '', definition())
  const { body: other } = await send('POST', '', newDefinition())
  const asExporter = { authorization: 'Bearer exporter' }
  const tries = async (headers = {}) => {
    const answers = []
    for (const [method, path, body] of [
      ['POST', '', definition()],
      ['PATCH', `/${made.id}`, { jitterMs: 9 }],
      ['PATCH', `/${other.id}`, { task: sweep.name, payload: {} }],
      ['POST', `/${made.id}/run`],
    ] as const)
      answers.push(await send<Partial<Problem>>(method, path, body, headers))
    return answers.map(({ status, body }) => (status < 300 ? 'done' : body.code))
  }
  const [before, all] = [await kept(), (what: string): (string | undefined)[] => Array.from({ length: 4 }, () => what)]
  try {
    declared.push({ name: sweep.name, queue: 'default', byHand: 'never' })
    expect(await tries(asExporter)).toEqual(all('PermissionDenied.TaskOfSystem'))
    // One that code declares is run with what code says.
    await scene.db.run(`update "schedule" set "origin" = 'code' where "id" = ?`, [made.id])
    expect((await send('POST', `/${made.id}/run`)).status).toBe(202)
    await scene.db.run(`delete from "scheduleTick"`)
    await scene.db.run(`update "schedule" set "origin" = 'database' where "id" = ?`, [made.id])
    declared.splice(0, 1, { name: sweep.name, queue: 'default', byHand: 'users:export' })
    expect(await tries()).toEqual(all('PermissionDenied.TaskPermission'))
    expect((await kept()).map(rows => rows.length)).toEqual(before.map(rows => rows.length))
    expect(await tries(asExporter)).toEqual(all('done'))
  } finally {
    declared.length = 0
  }
})

test('a page has at most a hundred, and the last says that it is', async () => {
  for (let i = 0; i < 3; i++) await send('POST', '', newDefinition({ name: `s-${i}`, task: report.name }))
  const first = await send<SchedulePage>('GET', '?pageSize=2')
  expect(first.body.items.map(({ name }) => name)).toEqual(['s-0', 's-1'])
  const last = await send<SchedulePage>('GET', `?pageSize=200&pageToken=${first.body.nextPageToken}`)
  expect([last.body.items.map(({ name }) => name), last.body.nextPageToken]).toEqual([['s-2'], ''])
  for (const query of ['?pageSize=-1', '?pageToken=x', '?pageSize=x', '?status=x']) expect((await send('GET', query)).status).toBe(400)
})

test('what somebody has spoilt by hand can be seen and deleted', async () => {
  const { body: made } = await send('POST', '', newDefinition())
  for (const [column, value] of Object.entries({
    name: 'Bad Name',
    cron: '',
    timeZone: '',
    task: '',
    payload: '{',
    overlap: 'x',
    catchUp: 'x',
  }))
    await scene.db.run(`update "schedule" set "${column}" = ?`, [value])
  expect(await send('GET', `/${made.id}`)).toMatchObject({ status: 200, body: { name: 'Bad Name', cron: '', payload: null, next: [] } })
  expect(await send('GET', '')).toMatchObject({ status: 200, body: { items: [{ id: made.id }] } })
  expect((await send('DELETE', `/${made.id}`)).status).toBe(204)
})
