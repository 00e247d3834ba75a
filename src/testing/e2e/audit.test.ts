import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { AuditEvent, AuditEventPage } from '@/modules/audit-event/schema'
import { auditRows, putBack } from '../audit-logs'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import { type Problem, send } from '../http-client'

const password = 'correct horse battery'
const person = { username: 'ada-lovelace', email: 'ada@example.com', password: 'quite another horse' }

interface LoggedIn extends Record<string, unknown> {
  accessToken: string
  refreshToken: string
  id: string
  administrator: { id: string }
}

onEachBacking('the audit log of the executable', open => {
  const folder = temporaryFolder()
  let backing: Backing
  let bingo: RunningBingo
  let admin: string
  let root: LoggedIn
  const run = (...args: string[]) => runBingo(args, { env: { ...backing.options.env, BINGO_LOG_LEVEL: 'error' }, cwd: folder.path })
  const logIn = (username: string, secret = password) => send<LoggedIn>('POST', `${admin}/sessions`, { username, password: secret })
  const ask = <T extends Record<string, unknown> = LoggedIn>(method: string, path: string, token: string, body?: unknown) =>
    send<T>(method, `${admin}${path}`, body, { authorization: `Bearer ${token}` })
  const events = async (query = '') =>
    (await ask<AuditEventPage & Record<string, unknown>>('GET', `/audit-events?pageSize=100${query}`, root.accessToken)).body.items
  const idOf = async (username: string) =>
    (await send<LoggedIn>('POST', `${bingo.urls['api']}/api/v1/users`, { ...person, username, email: `${username}@example.com` })).body.id

  beforeAll(async () => {
    backing = await open()
    bingo = await startBingo({ ...backing.options, roles: 'api,admin', cwd: folder.path })
    admin = `${bingo.urls['admin']}/admin/v1`
    await Bun.write(`${folder.path}/password`, password)
    for (const [username, roles] of [
      ['grace', 'root'],
      ['hopper', 'root'],
    ] as const)
      expect(
        (await run('admin', 'create', `--username=${username}`, `--password-file=${folder.path}/password`, `--roles=${roles}`)).code,
      ).toBe(0)
    root = (await logIn('grace')).body
  }, 90_000)
  afterAll(async () => {
    expect(await bingo.stop()).toBe(0)
    expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
    await backing.dispose()
    folder[Symbol.dispose]()
  }, 30_000)

  test('every sign-in, refusal and change of an administrator is one event, which says who, what, where from and in which request', async () => {
    const id = await idOf('ada-lovelace')
    const from = (await events())[0]?.seq ?? 0
    const actor = `admin:${root.administrator.id}`
    const done: [action: string, work: () => Promise<{ status: number; headers: Headers }>, expected: object][] = [
      [
        'user.suspend',
        () => ask('POST', `/users/${id}/suspend`, root.accessToken),
        { object: `user:${id}`, before: { status: 'active' }, after: { status: 'suspended' } },
      ],
      [
        'user.restore',
        () => ask('POST', `/users/${id}/restore`, root.accessToken),
        { object: `user:${id}`, before: { status: 'suspended' }, after: { status: 'active' } },
      ],
      [
        'api-key.create',
        () => ask('POST', '/api-keys', root.accessToken, { name: 'nightly', scopes: ['users:read'] }),
        { after: { name: 'nightly', scopes: ['users:read'] } },
      ],
      ['user-export.create', () => ask('POST', '/user-exports', root.accessToken, { format: 'csv' }), { after: { format: 'csv' } }],
      [
        'audit-event.export',
        () => fetch(`${admin}/audit-events/export?format=ndjson`, { headers: { authorization: `Bearer ${root.accessToken}` } }),
        { after: { format: 'ndjson' } },
      ],
    ]
    const requestIds: (string | null)[] = []
    for (const [action, work] of done) {
      const { status, headers } = await work()
      expect([action, status < 300]).toEqual([action, true])
      requestIds.push(headers.get('x-request-id'))
    }
    const written = (await events()).filter(({ seq }) => seq > from).toReversed()
    expect(written).toMatchObject(
      done.map(([action, , expected], i) => ({
        action,
        actor,
        actorName: 'grace',
        outcome: 'done',
        requestId: requestIds[i],
        ...expected,
      })),
    )
    // Whoever reads the action knows how its object is spelled.
    for (const { action, object } of written) if (object !== undefined) expect(object).toStartWith(`${action.split('.')[0]}:`)
    for (const { address } of written) expect(address).toMatch(/^(127\.0\.0\.1|::1)$/)

    const other = (await logIn('hopper')).body
    expect((await logIn('hopper', 'wrong')).status).toBe(401)
    expect((await logIn('nobody-at-all', 'wrong')).status).toBe(401)
    expect((await ask('DELETE', '/sessions/current', other.accessToken)).status).toBe(204)
    // Nobody waits for what is said of a refusal, so it may come later than what is done after it.
    await until(async () => (await events()).slice(0, 4).filter(({ action }) => action === 'admin-session.refused').length === 2)
    const order = ['admin-session.create', 'admin-session.refused', 'admin-session.end']
    const sessions = (await events())
      .slice(0, 4)
      .toSorted((a, b) => order.indexOf(a.action) - order.indexOf(b.action) || Number(!a.object) - Number(!b.object))
    expect(sessions).toMatchObject([
      { action: 'admin-session.create', actor: `admin:${other.administrator.id}`, actorName: 'hopper', outcome: 'done' },
      {
        action: 'admin-session.refused',
        object: `administrator:${other.administrator.id}`,
        outcome: 'refused',
        reason: 'Unauthenticated.LogInRefused',
      },
      { action: 'admin-session.refused', outcome: 'refused', reason: 'Unauthenticated.LogInRefused' },
      { action: 'admin-session.end', actor: `admin:${other.administrator.id}`, object: sessions[0]?.object ?? '' },
    ])
    // What was typed may be a password in the wrong field.
    expect([sessions[2]?.object, JSON.stringify(sessions[2])]).toEqual([undefined, expect.not.stringContaining('nobody-at-all')])
    expect(JSON.stringify(await events())).not.toMatch(/correct horse|bk_|br_|eyJ/)
  }, 30_000)

  test('what a user does with their own account is no event', async () => {
    const from = (await events())[0]?.seq
    const api = `${bingo.urls['api']}/api/v1`
    const id = await idOf('charles-babbage')
    const { body } = await send<LoggedIn>('POST', `${api}/sessions`, { login: 'charles-babbage', password: person.password })
    expect((await send('DELETE', `${api}/users/${id}`, undefined, { authorization: `Bearer ${body.accessToken}` })).status).toBe(204)
    expect((await events())[0]?.seq).toBe(from)
  })

  test('a refresh token that is used again is written down, with whose session ends by it', async () => {
    const env = { ...backing.options.env, BINGO_SESSION_GRACE_MS: '0' }
    const strict = await startBingo({ ...backing.options, env, roles: 'admin', cwd: folder.path })
    const at = `${strict.url}/admin/v1/sessions`
    const { body } = await send<LoggedIn>('POST', at, { username: 'hopper', password })
    const refresh = () => send<LoggedIn & Problem>('POST', `${at}/refresh`, { refreshToken: body.refreshToken })
    expect([(await refresh()).status, (await refresh()).status]).toEqual([200, 401])
    expect((await events('&outcome=refused'))[0]).toMatchObject({
      ...{ action: 'admin-session.refused', reason: 'Unauthenticated.RefreshTokenInvalid' },
      before: { administrator: `administrator:${body.administrator.id}` },
    })
    expect(await strict.stop()).toBe(0)
  }, 30_000)

  test('a flood of refused requests leaves few events, and how many were left out is there when the process has ended', async () => {
    const server = await startBingo({ ...backing.options, roles: 'admin', cwd: folder.path })
    const guess = () => send('POST', `${server.url}/admin/v1/sessions`, { username: 'hopper', password: 'wrong' })
    const from = (await events())[0]?.seq ?? 0
    for (let i = 0; i < 30; i++) await guess()
    expect(await server.stop()).toBe(0)
    const written = (await events()).filter(({ seq }) => seq > from)
    expect(written.map(({ action }) => action)).toEqual([
      'audit-event.leave-out',
      ...Array.from({ length: 10 }, () => 'admin-session.refused'),
    ])
    expect(written[0]).toMatchObject({ after: { count: 20 } })
  }, 60_000)

  test('the command line verifies it, exports it, and finds what was changed with exit code 1', async () => {
    const verified = await run('audit', 'verify')
    expect([verified.stderr, verified.code]).toEqual(['', 0])
    const head = /^head (\d+:[\w-]{43})$/m.exec(verified.stdout)?.[1] ?? ''
    const seq = Number(head.split(':')[0])
    expect(verified.stdout).toStartWith(`the audit log is whole: ${seq} events\n`)
    expect((await run('audit', 'verify', `--head=${head}`)).stdout).toContain(`it goes on from the head that was noted, ${seq}`)
    expect(JSON.parse((await run('audit', 'verify', '--json')).stdout)).toEqual({
      isWhole: true,
      head: { seq, hash: head.split(':')[1] },
      events: seq,
      begunAt: expect.stringMatching(/^\d{4}-.*Z$/),
      removedUpTo: 0,
    })

    const exported = await run('audit', 'export', '--format=ndjson')
    const lines = exported.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as AuditEvent)
    expect([exported.stderr, lines.map(each => each.seq)]).toEqual(['', Array.from({ length: seq + 1 }, (_, i) => i + 1)])
    expect(lines.at(-1)).toMatchObject({ action: 'audit-event.export', actor: 'commandLine', after: { format: 'ndjson' } })
    const csv = await run('audit', 'export', '--action=user.suspend')
    expect(
      csv.stdout
        .split('\r\n')
        .filter(Boolean)
        .map(line => line.split(',')[0]),
    ).toEqual(['seq', String(lines.find(({ action }) => action === 'user.suspend')?.seq)])

    const db = await openAgain(backing)
    const whole = await auditRows(db)
    for (const [sql, seqs] of [
      [`update "auditEvent" set "actorName" = 'mallory' where "seq" = 3`, 3],
      ['delete from "auditEvent" where "seq" = 2', 2],
      [`delete from "auditEvent" where "seq" = ${seq + 2}`, seq + 2],
    ] as const) {
      await db.run(sql)
      const { stdout, stderr, code } = await run('audit', 'verify')
      expect([stdout, stderr.split('\n')[0]?.split(':').slice(0, 2).join(':'), code]).toEqual([
        '',
        `bingo: the audit log is broken at event ${seqs}`,
        1,
      ])
      expect(JSON.parse((await run('audit', 'verify', '--json')).stdout)).toMatchObject({ isWhole: false, seq: seqs })
      await putBack(db, whole)
    }
    await db.close()
    expect((await run('audit', 'verify')).code).toBe(0)
    const gone = await run('audit', 'verify', `--head=${seq + 100}:${head.split(':')[1]}`)
    expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining('the head was set back')])
  }, 90_000)

  test('what cannot be asked for on the command line is refused with what it takes', async () => {
    for (const [args, message] of [
      [[], 'bingo audit takes verify or export'],
      [['verify', '--format=csv'], 'bingo audit verify has no flag --format'],
      [['verify', '--head=12'], '--head is SEQ:HASH'],
      [['export', '--format=xls'], '--format is one of csv, ndjson'],
      [['export', '--from=yesterday'], '--from is an instant such as'],
      [['export', '--outcome=perhaps'], '--outcome is one of done, refused, failed'],
    ] as const) {
      const { code, stderr, stdout } = await run('audit', ...args)
      expect([args, code, stdout, stderr.includes(message)]).toEqual([args, 64, '', true])
    }
  }, 30_000)
})
