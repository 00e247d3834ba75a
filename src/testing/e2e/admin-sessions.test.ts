import { afterAll, beforeAll, expect, test } from 'bun:test'
import { administratorPassword as password, clientWith, newAdministrator } from '../clients'
import { authenticator } from '../authenticator'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { type Answer, send } from '../http-client'

interface LoggedIn extends Record<string, unknown> {
  accessToken: string
  refreshToken: string
  administrator: { id: string }
}
interface Me extends Record<string, unknown> {
  permissions: string[]
  lacks?: string
  secondFactor?: { confirmedAt: string; recoveryCodesLeft: number }
  provenUntil: string
}
/** What a change may take to be known everywhere. */
const knownWithinMs = 2000
/** The shortest that can be set. */
const provenMs = 10_000

onEachBacking('sessions of administrators', open => {
  const folder = temporaryFolder()
  let backing: Backing
  /** Of the first a proof is soon old; the second asks everybody for a second factor. */
  let first: RunningBingo
  let second: RunningBingo
  let env: Record<string, string>
  beforeAll(async () => {
    backing = await open()
    env = { ...backing.options.env, BINGO_ADMIN_PROVEN_MS: String(provenMs) }
    first = await startBingo({ ...backing.options, env, roles: 'admin', cwd: folder.path })
    second = await startBingo({
      ...backing.options,
      env: { ...env, BINGO_ADMIN_SECOND_FACTOR: 'required' },
      roles: 'admin',
      cwd: folder.path,
    })
  }, 60_000)
  afterAll(async () => {
    for (const bingo of [first, second]) {
      expect(await bingo.stop()).toBe(0)
      expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
    }
    await backing.dispose()
    folder[Symbol.dispose]()
  }, 30_000)

  const at = (path: string, on = first) => `${on.url}/admin/v1${path}`
  const logIn = (username: string, code?: string, on = first) =>
    send<LoggedIn>('POST', at('/sessions', on), { username, password, ...(code !== undefined && { code }) })
  const newAdmin = () => newAdministrator(first.url, env)
  const meOf = async (token: string, on = first) => clientWith(token).send<Me>('GET', at('/me', on))
  const said = ({ status, body }: Answer<Record<string, unknown>>) => [status, body?.['code']]

  /** Somebody who has set up a second factor, and what shows that. */
  async function enrolled() {
    const admin = await newAdmin()
    const begun = await admin.send<{ secret: string; otpauthUri: string }>('POST', at('/me/second-factor'), { currentPassword: password })
    expect(begun.status).toBe(201)
    const app = authenticator(begun.body.secret)
    const confirmed = await admin.send<{ recoveryCodes: string[] }>('POST', at('/me/second-factor/confirm'), { code: await app.next() })
    expect(confirmed.status).toBe(200)
    return { ...admin, app, recoveryCodes: confirmed.body.recoveryCodes, seed: begun.body.secret }
  }

  test('a second factor is set up with the password, and a code is needed from then on, each of them once on any process', async () => {
    const admin = await newAdmin()
    const other = (await logIn(admin.username)).body.accessToken
    expect((await meOf(other)).body.secondFactor).toBeUndefined()
    const wrong = await admin.send('POST', at('/me/second-factor'), { currentPassword: 'another password' })
    expect(said(wrong)).toEqual([422, 'Unprocessable.PasswordWrong'])
    const { body } = await admin.send<{ secret: string; otpauthUri: string }>('POST', at('/me/second-factor'), {
      currentPassword: password,
    })
    expect(new URL(body.otpauthUri).searchParams.get('secret')).toBe(body.secret)
    // It counts for nothing yet.
    expect((await logIn(admin.username)).status).toBe(201)
    const app = authenticator(body.secret)
    expect((await admin.send('POST', at('/me/second-factor/confirm'), { code: await app.next() })).status).toBe(200)
    // Sessions that were begun without a code are over.
    await until(async () => (await meOf(other, second)).status === 401)
    expect([(await meOf(other)).status, (await meOf(admin.credential)).status]).toEqual([401, 200])

    const refused = await logIn(admin.username)
    expect([...said(refused), refused.headers.get('www-authenticate')]).toEqual([401, 'Unauthenticated.CodeNeeded', 'Bearer realm="bingo"'])
    expect(said(await send('POST', at('/sessions'), { username: admin.username, password: 'another password', code: '123456' }))).toEqual([
      401,
      'Unauthenticated.LogInRefused',
    ])
    const code = await app.next()
    expect((await logIn(admin.username, code)).status).toBe(201)
    expect(said(await logIn(admin.username, code, second))).toEqual([401, 'Unauthenticated.CodeWrong'])
    expect((await logIn(admin.username, await app.next(), second)).status).toBe(201)
  }, 60_000)

  test('whoever has lost the app uses recovery codes, of which each is good once', async () => {
    const { username, credential, recoveryCodes } = await enrolled()
    const [one = '', two = ''] = recoveryCodes
    expect((await logIn(username, one)).status).toBe(201)
    expect(said(await logIn(username, one, second))).toEqual([401, 'Unauthenticated.CodeWrong'])
    const renewed = await clientWith(credential).send<{ recoveryCodes: string[] }>('POST', at('/me/second-factor/recovery-codes'), {
      code: two,
    })
    expect(renewed.body.recoveryCodes).toHaveLength(10)
    expect(said(await logIn(username, recoveryCodes[2]))).toEqual([401, 'Unauthenticated.CodeWrong'])
    expect((await logIn(username, renewed.body.recoveryCodes[0])).status).toBe(201)
    expect((await meOf(credential)).body.secondFactor?.recoveryCodesLeft).toBe(9)
  }, 60_000)

  test('guesses at codes are slowed down as those at passwords are, also from several processes', async () => {
    const { username } = await enrolled()
    const statuses: number[] = []
    // The first delays are short, and a busy machine may outlast them.
    while (statuses.at(-1) !== 429 && statuses.length < 12)
      statuses.push((await logIn(username, '000000', statuses.length % 2 === 0 ? first : second)).status)
    expect([statuses.slice(0, 4), statuses.at(-1)]).toEqual([[401, 401, 401, 401], 429])
  }, 60_000)

  test('where everybody needs a second factor, who has none can set one up and do nothing else', async () => {
    const admin = await newAdmin()
    const { accessToken } = (await logIn(admin.username, undefined, second)).body
    const client = clientWith(accessToken)
    expect((await meOf(accessToken, second)).body).toMatchObject({ permissions: [], lacks: 'secondFactor' })
    expect(said(await client.send('GET', at('/users', second)))).toEqual([403, 'PermissionDenied.SecondFactor'])
    expect((await client.send('GET', at('/users', first))).status).toBe(200)
    const { body } = await client.send<{ secret: string }>('POST', at('/me/second-factor', second), { currentPassword: password })
    await client.send('POST', at('/me/second-factor/confirm', second), { code: await authenticator(body.secret).next() })
    expect((await client.send('GET', at('/users', second))).status).toBe(200)
    const me = (await meOf(accessToken, second)).body
    expect([me.permissions, me.lacks]).toEqual([['*'], undefined])
  }, 60_000)

  test('what is dangerous needs a proof that is not old, and holds for the session that has given it', async () => {
    const { username, app, recoveryCodes } = await enrolled()
    const [admin, idle] = [await logIn(username, await app.next()), await logIn(username, recoveryCodes[0])].map(({ body }) =>
      clientWith(body.accessToken),
    )
    if (!admin || !idle) throw new Error('both have logged in')
    const removal = async (client: typeof admin, on = first) => client.send('POST', at('/me/second-factor/remove', on), { code: '000000' })
    // Logging in has been a proof: it comes to the code.
    expect(said(await removal(admin))).toEqual([422, 'Unprocessable.CodeWrong'])
    const { provenUntil } = (await meOf(admin.credential)).body
    await Bun.sleep(Math.max(0, Date.parse(provenUntil) - Date.now()) + 1000)
    for (const on of [first, second]) {
      const old = await removal(admin, on)
      expect(said(old)).toEqual([401, 'Unauthenticated.Proof'])
      expect(old.headers.get('www-authenticate')).toContain(`error="insufficient_user_authentication"`)
      expect(old.headers.get('www-authenticate')).toEndWith(`max_age=${provenMs / 1000}`)
    }
    // What is not dangerous goes on.
    expect((await admin.send('GET', at('/users'))).status).toBe(200)
    const prove = (body: object) => admin.send<Me>('POST', at('/sessions/current/proof'), body)
    expect(said(await prove({ password }))).toEqual([422, 'Unprocessable.ProofNeeded'])
    expect(said(await prove({ code: '000000' }))).toEqual([422, 'Unprocessable.CodeWrong'])
    const proven = await prove({ code: recoveryCodes[1] })
    expect([proven.status, Date.parse(proven.body.provenUntil) - Date.now() > provenMs - 5000]).toEqual([200, true])
    const startedMs = performance.now()
    await until(async () => (await removal(admin, second)).status === 422)
    expect(performance.now() - startedMs).toBeLessThan(knownWithinMs)
    expect((await removal(idle)).status).toBe(401)
    expect((await admin.send('POST', at('/me/second-factor/remove'), { code: recoveryCodes[2] })).status).toBe(204)
    expect((await meOf(admin.credential)).body.secondFactor).toBeUndefined()
    expect((await logIn(username)).status).toBe(201)
  }, 90_000)

  test('a change of the password needs the current one and ends the other sessions, and asks for a code all the same', async () => {
    const { username, credential, app } = await enrolled()
    const other = (await logIn(username, await app.next())).body.accessToken
    const change = (currentPassword: string, next: string) =>
      clientWith(credential).send('POST', at('/me/password'), { currentPassword, password: next })
    expect(said(await change('another password', 'a password of my own'))).toEqual([422, 'Unprocessable.PasswordWrong'])
    expect(said(await change(password, 'password12345'))).toEqual([422, 'Unprocessable.PasswordWeak'])
    expect((await meOf(other)).status).toBe(200)
    expect((await change(password, 'a password of my own')).status).toBe(204)
    expect([(await meOf(other)).status, (await meOf(credential)).status]).toEqual([401, 200])
    await until(async () => (await meOf(other, second)).status === 401)
    const again = { username, password: 'a password of my own' }
    expect(said(await send('POST', at('/sessions'), again))).toEqual([401, 'Unauthenticated.CodeNeeded'])
    const code = await app.next()
    expect(said(await logIn(username, code))).toEqual([401, 'Unauthenticated.LogInRefused'])
    expect((await send('POST', at('/sessions'), { ...again, code })).status).toBe(201)
  }, 60_000)

  test('an operator removes a second factor on the command line, which ends the sessions, and nothing else does', async () => {
    const { username, credential, recoveryCodes } = await enrolled()
    const command = (...args: string[]) => runBingo(['admin', ...args], { env, cwd: folder.path })
    await Bun.write(`${folder.path}/password`, `${password}\n`)
    expect((await command('password', `--username=${username}`, `--password-file=${folder.path}/password`)).code).toBe(0)
    expect(said(await logIn(username))).toEqual([401, 'Unauthenticated.CodeNeeded'])
    expect((await logIn(username, recoveryCodes[0])).status).toBe(201)
    expect(await command('remove-second-factor', `--username=${username}`)).toMatchObject({ code: 0 })
    await until(async () => (await meOf(credential)).status === 401)
    const again = await logIn(username)
    expect(again.status).toBe(201)
    const { id } = again.body.administrator
    const asked = at(`/audit-events?action=administrator.remove-second-factor&object=administrator:${id}`)
    const { body } = await clientWith(again.body.accessToken).send<{ items: object[] }>('GET', asked)
    expect(body.items).toEqual([expect.objectContaining({ actor: 'commandLine', outcome: 'done' })])
    const none = await command('remove-second-factor', `--username=${username}`)
    expect([none.code, none.stderr]).toEqual([1, expect.stringContaining('has no second factor')])
  }, 60_000)

  test('in a browser the tokens are in cookies, are renewed by themselves, and gone when it logs out', async () => {
    const { username } = await newAdmin()
    const origin = first.url
    const jar = new Map<string, string>()
    async function ask(method: string, path: string, body?: object, headers: Record<string, string> = { origin }) {
      const cookie = [...jar].map(pair => pair.join('=')).join('; ')
      const answer = await fetch(at(path), {
        method,
        headers: { ...headers, ...(cookie && { cookie }), ...(body && { 'content-type': 'application/json' }) },
        ...(body && { body: JSON.stringify(body) }),
      })
      for (const line of answer.headers.getSetCookie()) {
        const [, name = '', value = ''] = /^([^=]+)=([^;]*)/.exec(line) ?? []
        if (/max-age=0/i.test(line)) jar.delete(name)
        else jar.set(name, value)
      }
      const text = await answer.text()
      return { status: answer.status, text, body: text === '' ? {} : JSON.parse(text) }
    }
    const credentials = { username, password, transport: 'cookie' }
    // A page of somebody else must not log anybody in as somebody else.
    expect((await ask('POST', '/sessions', credentials, {})).body.code).toBe('PermissionDenied.CrossOrigin')
    const loggedIn = await ask('POST', '/sessions', credentials)
    expect([loggedIn.status, Object.keys(loggedIn.body).toSorted()]).toEqual([201, ['administrator', 'expiresInSeconds']])
    expect([...jar.keys()]).toEqual(['__Host-bingo-access', '__Host-bingo-refresh'])
    for (const token of jar.values()) expect(loggedIn.text).not.toContain(token)
    expect((await ask('GET', '/me')).body.administrator.username).toBe(username)
    expect((await ask('POST', '/sessions/current/proof', { password }, {})).body.code).toBe('PermissionDenied.CrossOrigin')
    expect((await ask('POST', '/sessions/current/proof', { password })).status).toBe(200)

    const before = new Map(jar)
    expect((await ask('POST', '/sessions/refresh', undefined, {})).body.code).toBe('PermissionDenied.CrossOrigin')
    const refreshed = await ask('POST', '/sessions/refresh')
    expect([refreshed.status, Object.keys(refreshed.body)]).toEqual([200, ['expiresInSeconds']])
    expect([...jar.values()].some(token => [...before.values()].includes(token))).toBe(false)
    expect((await ask('GET', '/me')).status).toBe(200)
    const kept = new Map(jar)
    expect((await ask('DELETE', '/sessions/current')).status).toBe(204)
    expect(jar.size).toBe(0)
    for (const [name, value] of kept) jar.set(name, value)
    expect((await ask('GET', '/me')).status).toBe(401)
    // What is no good any more is taken away.
    expect([(await ask('POST', '/sessions/refresh')).status, jar.size]).toEqual([401, 0])
    expect((await ask('POST', '/sessions/refresh')).body.code).toBe('InvalidArgument.CookieOnly')
    const lines = JSON.stringify([...first.log, ...second.log])
    for (const token of [...before.values(), ...kept.values()]) expect(lines).not.toContain(token)
  }, 60_000)
})
