import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Backing, onEachBacking } from '../backings'
import { executable, type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { newRole } from '../clients'
import { until } from '../conformance/cache-fixture'
import { type Problem, send } from '../http-client'

/** What a change may take to be known everywhere. */
const knownWithinMs = 2000
const password = 'correct horse battery'

interface LoggedIn extends Record<string, unknown> {
  accessToken: string
  refreshToken: string
  administrator: { id: string; username: string; permissions: string[] }
}

interface Made extends Record<string, unknown> {
  id: string
  code: string
  items: { id: string; roles: { id: string }[] }[]
  administrator: { id: string; hasPassword: boolean }
  invitation: { code: string }
}

onEachBacking('administrators of the executable', (open, name) => {
  const folder = temporaryFolder()
  let backing: Backing
  let admin: RunningBingo
  let url: string
  beforeAll(async () => {
    backing = await open()
    admin = await startBingo({ ...backing.options, roles: 'admin', cwd: folder.path })
    url = `${admin.url}/admin/v1`
  }, 60_000)
  afterAll(async () => {
    expect(await admin.stop()).toBe(0)
    expect(admin.log.filter(({ level }) => level === 'error')).toEqual([])
    await backing.dispose()
    folder[Symbol.dispose]()
  }, 30_000)

  const passwordFile = async (text = `${password}\n`) => {
    const path = `${folder.path}/${crypto.randomUUID()}`
    await Bun.write(path, text)
    return `--password-file=${path}`
  }
  const command = (...args: string[]) => runBingo(['admin', ...args], { env: backing.options.env ?? {}, cwd: folder.path })
  const create = async (username: string, ...more: string[]) => command('create', `--username=${username}`, await passwordFile(), ...more)
  const logIn = async (username: string, secret = password) => send<LoggedIn>('POST', `${url}/sessions`, { username, password: secret })
  const ask = (path: string, token: string, method = 'GET') =>
    send<Problem>(method, `${url}${path}`, undefined, { authorization: `Bearer ${token}` })
  /** Until it is answered so; it must not take longer than a change may. */
  const soon = async (status: number, path: string, token: string) => {
    const startedMs = performance.now()
    await until(async () => (await ask(path, token)).status === status)
    expect(performance.now() - startedMs).toBeLessThan(knownWithinMs)
  }

  test('there is no administrator at first, which the log says with what to do, and no name and password gets in', async () => {
    await until(() => admin.log.some(({ msg, level }) => level === 'warn' && msg.includes('bingo admin create --username NAME')))
    expect((await command('list')).stdout).toBe('')
    for (const [username, secret] of [
      ['admin', 'admin'],
      ['root', 'root'],
      ['admin', 'password'],
      ['bingo', 'bingo'],
    ] as const)
      expect((await logIn(username, secret)).status).toBe(401)
    expect((await ask('/schedules', '')).status).toBe(401)
  })

  test('one that the command line has made logs in, does what it may, looks at its sessions and logs out', async () => {
    expect(await create('grace')).toMatchObject({ code: 0, stdout: 'grace  active  root\n', stderr: '' })
    const { status, body } = await logIn('Grace')
    expect([status, body.administrator]).toEqual([201, expect.objectContaining({ username: 'grace', permissions: ['*'] })])
    expect(JSON.stringify(body)).not.toContain('argon2')
    expect((await ask('/schedules', body.accessToken)).status).toBe(200)
    const next = await send<LoggedIn>('POST', `${url}/sessions/refresh`, { refreshToken: body.refreshToken })
    expect(next.status).toBe(200)
    const other = (await logIn('grace')).body
    const sessions = (await ask('/sessions', next.body.accessToken)).body['items'] as { id: string; isCurrent: boolean }[]
    expect(sessions.map(({ isCurrent }) => isCurrent)).toEqual([false, true])
    expect((await ask(`/sessions/${sessions[0]?.id}`, next.body.accessToken, 'DELETE')).status).toBe(204)
    expect((await ask('/sessions', other.accessToken)).status).toBe(401)
    expect((await ask('/sessions/current', next.body.accessToken, 'DELETE')).status).toBe(204)
    expect((await ask('/schedules', next.body.accessToken)).status).toBe(401)
  }, 30_000)

  test('what another process changes of an administrator holds within two seconds', async () => {
    const [schedules, exports] = [await newRole(backing, ['schedules:read']), await newRole(backing, ['users:export'])]
    await create('ada', `--roles=${schedules}`)
    const { accessToken, refreshToken } = (await logIn('ada')).body
    expect((await ask('/schedules', accessToken)).status).toBe(200)
    const denied = await ask('/user-exports', accessToken)
    expect([denied.status, denied.body.code]).toEqual([403, 'PermissionDenied.Permission'])
    expect(await command('roles', '--username=ada', `--roles=${exports}`)).toMatchObject({ code: 0, stdout: `ada  active  ${exports}\n` })
    await soon(403, '/schedules', accessToken)
    await soon(200, '/user-exports', accessToken)
    expect((await command('suspend', '--username=ada')).code).toBe(0)
    await soon(401, '/user-exports', accessToken)
    expect((await send('POST', `${url}/sessions/refresh`, { refreshToken })).status).toBe(401)
    expect((await logIn('ada')).body['code']).toBe('PermissionDenied.AdministratorSuspended')
    expect((await command('restore', '--username=ada')).code).toBe(0)
    // The sessions of before stay ended.
    expect((await ask('/user-exports', accessToken)).status).toBe(401)
    const again = (await logIn('ada')).body
    expect((await ask('/user-exports', again.accessToken)).status).toBe(200)
    expect((await command('password', '--username=ada', await passwordFile('another horse battery'))).code).toBe(0)
    await soon(401, '/user-exports', again.accessToken)
    expect([(await logIn('ada')).status, (await logIn('ada', 'another horse battery')).status]).toEqual([401, 201])
  }, 60_000)

  test('roles and administrators are made by administrators, of what they hold, and whoever is invited chooses a password', async () => {
    const { accessToken: root } = (await logIn('grace')).body
    const as =
      (token: string) =>
      (method: string, path: string, body?: unknown, headers: Record<string, string> = {}) =>
        send<Made>(method, `${url}${path}`, body, { authorization: `Bearer ${token}`, ...headers })
    const grace = as(root)
    const { body: known } = await grace('GET', '/permissions')
    expect(JSON.stringify(known.items)).toContain('{"name":"users:read","summary":"See users"}')
    const role = await grace('POST', '/roles', {
      name: 'deputy',
      permissions: ['admins:write', 'admins:read', 'roles:write', 'users:read'],
    })
    expect([role.status, role.headers.get('location'), role.headers.get('etag')]).toEqual([201, `/admin/v1/roles/${role.body.id}`, '"1"'])
    const made = await grace('POST', '/admins', { username: ' Deputy ', roleIds: [role.body.id] })
    const { administrator, invitation } = made.body
    expect([made.status, made.headers.get('location'), administrator.hasPassword]).toEqual([
      201,
      `/admin/v1/admins/${administrator.id}`,
      false,
    ])
    expect((await logIn('deputy', '')).status).toBe(422)
    expect((await logIn('deputy', invitation.code)).status).toBe(401)
    const accept = (code: string, secret: string) => send<Made>('POST', `${url}/invitations/accept`, { code, password: secret })
    expect((await accept(invitation.code, 'correct horse')).body).toMatchObject({ username: 'deputy' })
    expect((await accept(invitation.code, 'correct horse')).body).toMatchObject({ code: 'Unprocessable.InvitationInvalid' })
    const { accessToken } = (await logIn('deputy', 'correct horse')).body
    const deputy = as(accessToken)
    // Neither root nor a role of more than they hold is theirs to give; root is nobody's to take but root's.
    const { items } = (await deputy('GET', '/admins?search=grace')).body
    const id = items[0]?.id ?? ''
    const rootRole = items[0]?.roles[0]?.id ?? ''
    for (const [method, path, body] of [
      ['POST', '/roles', { name: 'more', permissions: ['users:suspend'] }],
      ['PATCH', `/roles/${role.body.id}`, { permissions: ['users:suspend'] }],
      ['POST', '/admins', { username: 'accomplice', roleIds: [rootRole] }],
      ['PATCH', `/admins/${administrator.id}`, { roleIds: [rootRole] }],
      ['PATCH', `/admins/${id}`, { roleIds: [] }],
      ['POST', `/admins/${id}/suspend`, undefined],
      ['POST', `/admins/${id}/invitations`, undefined],
      ['DELETE', `/admins/${id}`, undefined],
    ] as const) {
      const refused = await deputy(method, path, body)
      expect([method, path, refused.status, refused.body.code]).toEqual([method, path, 403, 'PermissionDenied.NotHeld'])
    }
    expect((await deputy('PATCH', `/roles/${rootRole}`, { permissions: [] })).status).toBe(403)
    expect((await grace('PATCH', `/roles/${rootRole}`, { permissions: [] })).body.code).toBe('Unprocessable.BuiltIn')
    expect((await grace('DELETE', `/admins/${administrator.id}`, undefined, { 'if-match': '"99"' })).status).toBe(412)
    const reset = await grace('POST', `/admins/${administrator.id}/invitations`)
    expect([reset.status, (await deputy('GET', '/me')).status]).toEqual([201, 200])
    expect((await accept(reset.body.code, 'another horse battery')).status).toBe(200)
    await soon(401, '/me', accessToken)
    expect((await grace('DELETE', `/roles/${role.body.id}`)).body.code).toBe('Unprocessable.RoleHeld')
    expect((await grace('DELETE', `/admins/${administrator.id}`)).status).toBe(204)
    expect((await grace('DELETE', `/roles/${role.body.id}`)).status).toBe(204)
    expect((await logIn('deputy', 'another horse battery')).status).toBe(401)
  }, 60_000)

  test('guesses are slowed down over all processes', async () => {
    const second = await startBingo({ ...backing.options, roles: 'admin', cwd: folder.path })
    const statuses: number[] = []
    for (let i = 0; i < 8; i++) {
      const at = i % 2 === 0 ? url : `${second.url}/admin/v1`
      const answer = await send('POST', `${at}/sessions`, { username: 'nobody-there', password: 'wrong' })
      statuses.push(answer.status)
      if (answer.status === 429) expect(Number(answer.headers.get('retry-after'))).toBeGreaterThanOrEqual(1)
    }
    expect(statuses.slice(0, 6)).toEqual([401, 401, 401, 401, 401, 429])
    await second.stop()
  }, 60_000)

  test('the command line says what is wrong, and takes no password as a flag or from a variable', async () => {
    const cases: [string[], number, string][] = [
      [['create', '--username=x', await passwordFile()], 1, '/username'],
      [['create', '--username=grace', await passwordFile()], 1, 'There is an administrator of this name. Choose another.'],
      [['create', '--username=alan', await passwordFile('too short')], 1, '/password'],
      [['create', '--username=alan', '--password-file=/nowhere'], 1, 'cannot read the password from /nowhere'],
      [['create', '--username=alan', await passwordFile('x'.repeat(2000))], 1, 'is no password'],
      [['create', '--username=alan', '--password=correct horse'], 64, 'there is no flag --password'],
      [['create', '--username=alan'], 1, 'nobody is at the terminal'],
      [['create', await passwordFile()], 64, 'needs --username'],
      [['create', '--username=alan', '--roles=eaters', await passwordFile()], 1, 'there is no role eaters'],
      [['suspend', '--username=grace', '--roles=root'], 64, 'has no flag --roles'],
      [['suspend', '--username=nobody'], 1, 'There is no such administrator'],
      [['suspend', '--username=grace'], 1, 'last active administrator'],
      [['roles', '--username=grace', '--roles='], 1, 'last active administrator'],
      [['roles', '--username=grace'], 64, 'needs --roles'],
      [['delete', '--username=ada'], 64, 'say --yes'],
      [['delete', '--username=grace', '--yes'], 1, 'last active administrator'],
      [['destroy'], 64, 'bingo admin takes create, list'],
    ]
    for (const [args, code, said] of cases) {
      const done = await command(...args)
      expect([args, done.code, done.stdout]).toEqual([args, code, ''])
      expect(done.stderr).toContain(said)
      expect(done.stderr).not.toContain('stack')
    }
    const names = (JSON.parse((await command('list', '--json')).stdout) as { username: string }[]).map(({ username }) => username)
    expect(names).toEqual(['ada', 'grace'])
  }, 60_000)

  if (name === 'sqlite')
    test('whoever is at the terminal is asked twice, and what is typed is not shown', async () => {
      const asked = async (first: string, second: string) => {
        let shown = ''
        const child = Bun.spawn([executable, 'admin', 'create', '--username=alan'], {
          env: { PATH: process.env['PATH'] ?? '', ...backing.options.env },
          cwd: folder.path,
          terminal: {
            data(terminal, bytes) {
              const text = new TextDecoder().decode(bytes)
              shown += text
              if (text.includes('Password: ')) terminal.write(first)
              if (text.includes('Once more: ')) terminal.write(second)
            },
          },
        })
        return { code: await child.exited, shown }
      }
      const differs = await asked(`${password}\r`, 'correct horse buttery\r')
      expect([differs.code, differs.shown]).toEqual([1, expect.stringContaining('the two passwords differ')])
      const given = await asked(`${password}\u0003`, '')
      expect([given.code, given.shown]).toEqual([1, expect.stringContaining('nothing was changed')])
      const made = await asked(`wrong\u0015correct horsee\u007f battery\r`, `${password}\r`)
      expect([made.code, made.shown]).toEqual([0, expect.stringContaining('alan  active  root')])
      for (const { shown } of [differs, given, made]) expect(shown).not.toContain('horse')
      expect((await logIn('alan')).status).toBe(201)
    }, 30_000)
})
