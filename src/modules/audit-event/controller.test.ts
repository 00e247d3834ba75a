import { beforeAll, beforeEach, expect, test } from 'bun:test'
import { Readiness } from '@/core/service'
import { httpApp } from '@/infra/http/app'
import { createHealth } from '@/infra/http/health'
import { auditOn, auditRows, grace, putBack } from '@/testing/audit-logs'
import { type Backing, openBacking } from '@/testing/backings'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import type { Problem } from '@/testing/http-client'
import { adminCalled, recognizing } from '@/testing/identities'
import { injections } from '@/testing/injections'
import { useMigrated } from '@/testing/migrated'
import { auditEventController } from './controller'
import type { AuditEvent, AuditEventPage } from './schema'

const scene = useMigrated(() => openBacking('sqlite') as Promise<Backing>)
const clock = { ms: 0, nowMs: () => clock.ms }
const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const secondMs = 1000
let app: ReturnType<typeof httpApp>
let audit: ReturnType<typeof auditOn>
let pristine: Awaited<ReturnType<typeof auditRows>>

beforeAll(async () => {
  pristine = await auditRows(scene.db)
  audit = auditOn(scene.db, clock)
  const readiness = new Readiness()
  const recognizer = recognizing({
    auditor: adminCalled('auditor', ['audit:read', 'audit:export']),
    reader: adminCalled('reader', ['audit:read']),
    nobody: adminCalled('nobody', []),
    unproven: { ...adminCalled('unproven', ['audit:export']), provenUntilMs: 0 },
  })
  const health = createHealth(readiness, [], fakeLog())
  const tools = { log: fakeLog(), metrics: fakeMetrics(), readiness, health, recognizer, bodyLimitBytes: 1024 * 1024 }
  app = httpApp('admin', '/admin/v1', [auditEventController(audit)], { ...tools, denials: [audit.denials] })
})
beforeEach(async () => {
  clock.ms = startMs
  await putBack(scene.db, pristine)
})

async function ask(path: string, as = 'auditor') {
  const headers = { authorization: `Bearer ${as}`, 'x-request-id': 'r-asked' }
  const response = await app.handle(new Request(`http://localhost/admin/v1/audit-events${path}`, { headers }))
  return { status: response.status, headers: response.headers, text: await response.text() }
}
const list = async (query = '') => JSON.parse((await ask(query)).text) as AuditEventPage
const seqs = async (query: string) => (await list(query)).items.map(({ seq }) => seq)

/** Six, a second apart: by two actors, of two objects. */
async function six() {
  for (let i = 1; i <= 6; i++) {
    const by = i % 2 ? grace : { actor: 'admin:ada', actorName: 'ada', address: '192.0.2.8', requestId: `r-${i}` }
    await audit.note(by, {
      ...{ action: i % 3 ? 'user.suspend' : 'user.restore', object: `user:${i}`, outcome: i === 4 ? 'failed' : 'done' },
      after: { i },
    })
    clock.ms += secondMs
  }
}

test('events are listed newest first, a page at a time, and found by all that they say', async () => {
  await six()
  const [newest] = (await list()).items
  expect(newest).toEqual({
    ...{ seq: 6, id: newest?.id ?? '', at: '2026-01-31T09:05:05.000Z', actor: 'admin:ada', actorName: 'ada', address: '192.0.2.8' },
    ...{ requestId: 'r-6', action: 'user.restore', object: 'user:6', outcome: 'done', after: { i: 6 }, hash: (await audit.head()).hash },
  })
  expect(JSON.parse((await ask(`/${newest?.id}`)).text)).toEqual(newest as unknown as Record<string, unknown>)
  const found: [query: string, seqs: number[]][] = [
    ['?action=user.suspend', [5, 4, 2, 1]],
    ['?actor=admin:grace', [5, 3, 1]],
    ['?object=user:3', [3]],
    ['?outcome=failed', [4]],
    ['?requestId=r-1', [5, 3, 1]],
    ['?action=user.restore&actor=admin:ada', [6]],
    ['?from=2026-01-31T09:05:02.000Z', [6, 5, 4, 3]],
    ['?from=2026-01-31T09:05:01.000Z&to=2026-01-31T09:05:03.000Z', [3, 2]],
    ['?to=2026-01-31T09:05:02.000Z&actor=admin:ada', [2]],
    ['?action=user', []],
    ['?actor=%25', []],
  ]
  for (const [query, expected] of found) expect([query, await seqs(query)]).toEqual([query, expected])
  for (const query of ['?pageSize=2', '?pageSize=2&to=2026-01-31T10:00:00.000Z']) {
    const walked: number[] = []
    for (let token = ''; ; ) {
      const { items, nextPageToken } = await list(`${query}${token && `&pageToken=${token}`}`)
      walked.push(...items.map(({ seq }) => seq))
      // What comes meanwhile is before the first page.
      await audit.note(grace, { action: 'a.b' })
      if (!nextPageToken) break
      token = nextPageToken
    }
    expect(walked.slice(-6)).toEqual([6, 5, 4, 3, 2, 1])
  }
})

test('what cannot be asked for is refused with what is wrong, and injections find nothing', async () => {
  await six()
  const { nextPageToken } = await list('?pageSize=2')
  for (const [query, pointer] of [
    ['?from=yesterday', 'from'],
    ['?to=2026-02-30T00:00:00.000Z', 'to'],
    ['?outcome=perhaps', 'outcome'],
    ['?from=2026-01-31T09:05:02.000Z&to=2026-01-31T09:05:02.000Z', 'from'],
    ['?pageSize=-1', 'pageSize'],
    ['?action=', 'action'],
    [`?object=${'x'.repeat(193)}`, 'object'],
    [`?pageSize=2&actor=admin:ada&pageToken=${nextPageToken}`, undefined],
    ['?pageToken=forged', undefined],
    ['?who=ada', undefined],
    ['/export?format=xls', 'format'],
    ['/export?pageSize=2', undefined],
  ] as const) {
    const { status, text } = await ask(query)
    const { errors } = JSON.parse(text) as Problem & { errors?: { pointer: string }[] }
    expect([query, status, pointer === undefined ? undefined : errors?.[0]?.pointer]).toEqual([query, 400, pointer])
  }
  for (const text of injections)
    for (const name of ['action', 'actor', 'object', 'requestId']) {
      const { status, text: body } = await ask(`?${name}=${encodeURIComponent(text)}`)
      expect([name, text, status < 500, status === 200 ? JSON.parse(body).items : []]).toEqual([name, text, true, []])
    }
  expect((await ask(`/${encodeURIComponent("' or 1=1")}`)).status).toBe(404)
})

test('who may not look is refused, and that is written down once, with what was asked for', async () => {
  await six()
  const before = (await audit.head()).seq
  const refusals = [
    ['', 'nobody', 403, 'PermissionDenied.Permission'],
    ['/export?format=csv', 'reader', 403, 'PermissionDenied.Permission'],
    ['/export', 'unproven', 401, 'Unauthenticated.Proof'],
  ] as const
  for (const [path, as, expected, code] of refusals) {
    const { status, text } = await ask(path, as)
    expect([path, as, status, JSON.parse(text).code]).toEqual([path, as, expected, code])
  }
  // Nobody is known by what is no credential of ours, or by none.
  expect([(await ask('', 'garbage')).status, (await ask('/missing', 'reader')).status]).toEqual([401, 404])
  await audit.denials.settle()
  expect((await list('?outcome=refused')).items.toReversed()).toMatchObject(
    refusals.map(([path, as, , reason]) => ({
      ...{ action: 'access.refused', actor: `admin:${as}`, actorName: as, reason, outcome: 'refused' },
      ...{ object: `GET /admin/v1/audit-events${path.split('?')[0]}`, requestId: 'r-asked' },
    })),
  )
  expect((await audit.head()).seq).toBe(before + refusals.length)
})

/** What opens in a spreadsheet as a formula, or in a page as one of its elements. */
const hostile = [
  '=1+1',
  '+1',
  '-1',
  '@SUM(A1)',
  '\t=1',
  '\r=1',
  '＝1',
  ' =cmd|"/c calc"!A1',
  '<script>alert(1)</script>',
  '"><img src=x onerror=alert(1)>',
  ...injections,
]

test('a file of events has all of them, the oldest first, and that it was fetched; nothing in it is computed', async () => {
  await six()
  for (const text of hostile)
    await audit.note(
      { actor: text, actorName: text, address: text, requestId: text },
      { action: text, object: text, reason: text, after: { text } },
    )
  const csv = await ask('/export')
  expect([csv.status, csv.headers.get('content-type'), csv.headers.get('content-disposition')]).toEqual([
    200,
    'text/csv; charset=utf-8; header=present',
    'attachment; filename="audit-events-2026-01-31.csv"',
  ])
  const [head = [], ...rows] = parse(csv.text)
  expect(head).toEqual([
    'seq',
    'id',
    'at',
    'actor',
    'actorName',
    'address',
    'requestId',
    'action',
    'object',
    'outcome',
    'reason',
    'before',
    'after',
    'hash',
  ])
  expect(rows.map(([seq]) => Number(seq))).toEqual(Array.from({ length: 6 + hostile.length + 1 }, (_, i) => i + 1))
  for (const row of rows) for (const field of row) expect(field).not.toMatch(/^\s*[=+\-@＝＋－＠]|^[\t\r\n]/)
  const [, , , actor, , , , action, , , , , after] = rows[6 + hostile.indexOf('@SUM(A1)')] ?? []
  expect([actor, action, JSON.parse(after ?? '')]).toEqual(["'@SUM(A1)", "'@SUM(A1)", { text: '@SUM(A1)' }])
  expect(rows.at(-1)?.slice(7, 9)).toEqual(['audit-event.export', ''])
  expect(rows.at(-1)?.[12]).toBe('{"format":"csv"}')

  const ndjson = await ask('/export?format=ndjson&outcome=failed')
  expect(ndjson.headers.get('content-type')).toBe('application/x-ndjson')
  expect(
    ndjson.text
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as AuditEvent),
  ).toMatchObject([{ seq: 4, after: { i: 4 } }])
  expect((await list('?action=audit-event.export')).items.map(({ after, actor }) => [actor, after])).toEqual([
    ['admin:auditor', { format: 'ndjson', outcome: 'failed' }],
    ['admin:auditor', { format: 'csv' }],
  ])
  // Exact where it is JSON, whose type no browser takes for a page.
  const shown = await ask('?action=%3Cscript%3Ealert(1)%3C/script%3E')
  expect([shown.headers.get('content-type'), shown.headers.get('x-content-type-options')]).toEqual([
    'application/json;charset=utf-8',
    'nosniff',
  ])
  expect(JSON.parse(shown.text).items).toMatchObject([{ actor: '<script>alert(1)</script>' }])
})

test('a file of more than a page of the database has each event once, also while others are written', async () => {
  for (let i = 0; i < 250; i++) await audit.note(grace, { action: i % 2 ? 'a.odd' : 'a.even' })
  const exporting = ask('/export?format=ndjson')
  for (let i = 0; i < 20; i++) await audit.note(grace, { action: 'a.later' })
  const lines = (await exporting).text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as AuditEvent)
  expect(lines.map(({ seq }) => seq)).toEqual(Array.from({ length: lines.length }, (_, i) => i + 1))
  expect(lines.length).toBeGreaterThanOrEqual(251)
  const odd = (await ask('/export?format=ndjson&action=a.odd')).text
    .trim()
    .split('\n')
    .map(line => (JSON.parse(line) as AuditEvent).seq)
  expect(odd).toEqual(Array.from({ length: 125 }, (_, i) => 2 * i + 2))
})

/** A reader of RFC 4180 that knows nothing of the writer. */
function parse(text: string): string[][] {
  const record = /(?:"((?:[^"]|"")*)"|([^",\r\n]*))(,|\r\n)/gy
  const rows: string[][] = [[]]
  for (let match = record.exec(text); match; match = record.exec(text)) {
    rows.at(-1)?.push(match[1]?.replaceAll('""', '"') ?? match[2] ?? '')
    if (match[3] === '\r\n') rows.push([])
  }
  expect(rows.pop()).toEqual([])
  return rows
}
