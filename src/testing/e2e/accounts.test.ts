import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { userCodeStore } from '@/modules/user-code/store'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { clientWith, logIn, newAdministrator, newServiceKey, newUser, type UserClient } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import { type Problem, send, type UserView } from '../http-client'
import { type Mailbox, mailboxOf } from '../mailbox'
import { startMailServer, type TestMailServer } from '../smtp'

/** What is changed here holds everywhere within so long (see `revocationMaxMs`), and a little for a machine that is busy. */
const everywhereMs = 2000 + 500
const another = 'another horse battery'

/** Another code with the same handle. */
const misspelled = (code: string) => code.slice(0, -2) + (code.endsWith('AA') ? 'BB' : 'AA')

onEachBacking('accounts of the executable', open => {
  let backing: Backing
  let mail: TestMailServer
  let here: RunningBingo
  let there: RunningBingo
  let db: OpenDatabase
  let env: Record<string, string>
  beforeAll(async () => {
    backing = await open()
    mail = await startMailServer()
    const own = { BINGO_MAIL_URL: mail.url, BINGO_LIMIT_CREDENTIALS_PER_MINUTE: '0', BINGO_HTTP_PUBLIC_URL: 'https://shop.example' }
    env = { ...backing.options.env, ...own }
    here = await startBingo({ ...backing.options, env, roles: 'api,admin,scheduler' })
    there = await startBingo({ env, roles: 'api' })
    db = await openAgain(backing)
  }, 60_000)
  afterAll(async () => {
    await db.close()
    expect(await Promise.all([here.stop(), there.stop()])).toEqual([0, 0])
    await mail.close()
    await backing.dispose()
  }, 30_000)

  const api = (path: string, on = here) => `${on.urls['api']}/api/v1${path}`
  /** Somebody who has signed up and read the welcome. */
  async function signedUp(): Promise<{ user: UserClient; mailbox: Mailbox; verifyingCode: string }> {
    const user = await newUser(here.urls['api'] ?? '')
    const mailbox = mailboxOf(mail, user.user.email)
    return { user, mailbox, verifyingCode: (await mailbox.next('Welcome')).code }
  }
  const newKey = (user: UserClient) =>
    user.send<{ key: string }>('POST', api('/me/api-keys'), { name: 'report', scopes: ['users:read'], currentPassword: user.password })
  const requestReset = (email: string) => send('POST', api('/password-resets'), { email })
  const reset = (code: string, password = another) => send<Problem>('POST', api('/password-resets/confirm'), { code, password })
  const statusOn = async (on: RunningBingo, { headers }: Pick<UserClient, 'headers'>) =>
    (await send('GET', api('/me', on), undefined, headers)).status
  const canLogIn = async ({ user }: UserClient, password: string) =>
    (await send('POST', api('/sessions'), { login: user.username, password })).status
  /** A reset that has been asked for; the code is no older than a moment. */
  async function resetCode(user: UserClient, mailbox: Mailbox): Promise<string> {
    expect((await requestReset(user.user.email)).status).toBe(202)
    return (await mailbox.next('Choose a new password')).code
  }

  test('whoever signs up verifies the address with the code of the welcome, once, and only for themselves', async () => {
    const { user, verifyingCode: code } = await signedUp()
    const { user: eve } = await signedUp()
    const confirm = (by: UserClient, given: string) => by.send<Problem>('POST', api('/me/email-verification/confirm'), { code: given })
    expect((await user.send('GET', api('/me'))).body).not.toHaveProperty('emailVerifiedAt')
    expect((await send('POST', api('/me/email-verification/confirm'), { code })).status).toBe(401)
    for (const [by, given] of [
      [eve, code],
      [user, misspelled(code)],
    ] as const)
      expect(await confirm(by, given)).toMatchObject({ status: 422, body: { code: 'Unprocessable.CodeInvalid' } })
    expect(await confirm(user, code)).toMatchObject({ status: 200, body: { emailVerifiedAt: expect.stringMatching(/Z$/) } })
    expect((await confirm(user, code)).status).toBe(422)
    expect((await user.send('GET', api('/me'))).body).toHaveProperty('emailVerifiedAt')
    // Nothing to do, in the same words.
    expect((await user.send('POST', api('/me/email-verification'))).status).toBe(202)
  }, 60_000)

  test('a forgotten password is reset with a code, which ends all sessions and API keys everywhere', async () => {
    const { user, mailbox } = await signedUp()
    const { body: made } = await newKey(user)
    const key = clientWith(made.key)
    for (const on of [here, there]) {
      expect(await statusOn(on, user)).toBe(200)
      expect((await key.send('GET', api(`/users/${user.user.id}`, on))).status).toBe(200)
    }
    const code = await resetCode(user, mailbox)
    const link = `https://shop.example/reset-password#${code}`
    expect(mail.received.some(({ source }) => source.replaceAll(/=\r?\n/g, '').includes(link))).toBe(true)
    expect((await reset(code, 'password')).body.code).toBe('Unprocessable.PasswordWeak')
    expect(await canLogIn(user, user.password)).toBe(201)
    expect((await reset(code)).status).toBe(204)
    expect(await statusOn(here, user)).toBe(401)
    await until(async () => (await statusOn(there, user)) === 401, everywhereMs)
    expect((await send('POST', api('/sessions/refresh', there), { refreshToken: user.refreshToken })).status).toBe(401)
    const keyOn = async (on: RunningBingo) => (await key.send('GET', api(`/users/${user.user.id}`, on))).status
    expect(await keyOn(here)).toBe(401)
    await until(async () => (await keyOn(there)) === 401, everywhereMs)
    expect([await canLogIn(user, user.password), await canLogIn(user, another)]).toEqual([401, 201])
    const { text } = await mailbox.next('Your password was changed')
    expect(text).toContain('API keys that you had made are deleted')
    const { accessToken } = await logIn(here.urls['api'] ?? '', user.user.username, another)
    expect((await clientWith(accessToken).send('GET', api('/me'))).body).toHaveProperty('emailVerifiedAt')
    expect((await reset(code)).body.code).toBe('Unprocessable.CodeInvalid')
    expect(await canLogIn(user, another)).toBe(201)
  }, 60_000)

  test('a code that has expired is void, and so is one that was guessed at five times', async () => {
    const [{ user, mailbox }, { user: other, mailbox: others }] = await Promise.all([signedUp(), signedUp()])
    const code = await resetCode(user, mailbox)
    await userCodeStore(db).updateMany(
      { userId: user.user.id, purpose: 'resetPassword' },
      { expiresAt: new Date(Date.now() - 1).toISOString() },
    )
    expect((await reset(code)).body.code).toBe('Unprocessable.CodeInvalid')

    const guessed = await resetCode(other, others)
    for (let i = 0; i < 5; i++) expect((await reset(misspelled(guessed))).body.code).toBe('Unprocessable.CodeInvalid')
    expect((await reset(guessed)).body.code).toBe('Unprocessable.CodeInvalid')
    for (const each of [user, other]) expect([await canLogIn(each, each.password), await statusOn(here, each)]).toEqual([201, 200])
  }, 60_000)

  test('of a hundred uses of one code at the same time, on two processes, one comes through', async () => {
    const { user, mailbox } = await signedUp()
    const code = await resetCode(user, mailbox)
    const passwords = Array.from({ length: 100 }, (_, i) => `horse battery number ${i}`)
    const answers = await Promise.all(
      passwords.map((password, i) => send<Problem>('POST', api('/password-resets/confirm', i % 2 ? here : there), { code, password })),
    )
    expect(answers.filter(({ status }) => status === 204)).toHaveLength(1)
    const refusals = answers.filter(({ status }) => status !== 204).map(({ body }) => body.code)
    expect(new Set(refusals)).toEqual(new Set(['Unprocessable.CodeInvalid']))
    const winner = passwords[answers.findIndex(({ status }) => status === 204)] ?? ''
    expect(await canLogIn(user, winner)).toBe(201)
    await mailbox.next('Your password was changed')
    expect(mailbox.subjects().filter(subject => subject === 'Your password was changed')).toHaveLength(1)
  }, 60_000)

  test('a request to reset is answered alike whether there is an account or not, and nobody else is written to', async () => {
    const { user, mailbox } = await signedUp()
    const before = mail.received.length
    const unknown = await requestReset('nobody-at-all@example.com')
    const known = await requestReset(user.user.email)
    const same = ({ status, headers, body }: typeof known) => ({ status, body, type: headers.get('content-type') })
    expect(same(unknown)).toEqual(same(known))
    await mailbox.next('Choose a new password')
    expect(mail.received.slice(before).flatMap(({ to }) => to)).toEqual([user.user.email])
  }, 60_000)

  test('a change of the password ends the other sessions on another process, and this one goes on', async () => {
    const { user, mailbox } = await signedUp()
    const other = clientWith((await logIn(there.urls['api'] ?? '', user.user.username, user.password)).accessToken)
    for (const on of [here, there]) for (const each of [user, other]) expect(await statusOn(on, each)).toBe(200)
    const change = (currentPassword: string) => user.send<Problem>('POST', api('/me/password'), { currentPassword, password: another })
    expect(await change('wrong')).toMatchObject({ status: 422, body: { errors: [{ pointer: '/currentPassword' }] } })
    expect(await statusOn(there, other)).toBe(200)
    expect((await change(user.password)).status).toBe(204)
    const changedMs = performance.now()
    expect(await statusOn(here, other)).toBe(401)
    await until(async () => (await statusOn(there, other)) === 401, everywhereMs)
    expect(performance.now() - changedMs).toBeLessThan(everywhereMs)
    for (const on of [here, there]) expect(await statusOn(on, user)).toBe(200)
    expect([await canLogIn(user, user.password), await canLogIn(user, another)]).toEqual([401, 201])
    await mailbox.next('Your password was changed')
  }, 60_000)

  test('another address needs the password, is not verified, and is told to the one before', async () => {
    const { user, mailbox, verifyingCode } = await signedUp()
    await user.send('POST', api('/me/email-verification/confirm'), { code: verifyingCode })
    const code = await resetCode(user, mailbox)
    const email = `new-${user.user.email}`
    const patch = (body: object) => user.send<Problem>('PATCH', api(`/users/${user.user.id}`), body)
    expect((await patch({ email })).body.code).toBe('Unprocessable.PasswordNeeded')
    expect((await patch({ email, currentPassword: 'wrong' })).body.code).toBe('Unprocessable.PasswordWrong')
    expect(await patch({ email, currentPassword: user.password })).toMatchObject({ status: 200, body: { email } })
    await mailbox.next('Your e-mail address was changed')
    // What was sent to the address before is of no use any more.
    expect((await reset(code)).body.code).toBe('Unprocessable.CodeInvalid')
    expect((await user.send('GET', api('/me'))).body).not.toHaveProperty('emailVerifiedAt')
    const { code: verifying } = await mailboxOf(mail, email).next('Confirm your e-mail address')
    const { body } = await user.send('POST', api('/me/email-verification/confirm'), { code: verifying })
    expect(body).toMatchObject({ email, emailVerifiedAt: expect.any(String) })
    const service = await newServiceKey(backing)
    const its = await service.send<Problem>('PATCH', api(`/users/${user.user.id}`), { email: `its-${email}` })
    expect([its.status, its.body.code]).toEqual([403, 'PermissionDenied.EmailNotYours'])
  }, 60_000)

  test('an administrator suspends and restores a user, and whoever is removed leaves nothing', async () => {
    const { user, mailbox } = await signedUp()
    const admin = await newAdministrator(here.urls['admin'] ?? '', env)
    const users = `${here.urls['admin']}/admin/v1/users`
    const { body: made } = await newKey(user)
    const key = clientWith(made.key)
    const keyOn = async (on: RunningBingo) => (await key.send('GET', api(`/users/${user.user.id}`, on))).status
    for (const on of [here, there]) expect([await statusOn(on, user), await keyOn(on)]).toEqual([200, 200])
    expect((await admin.send('POST', `${users}/${user.user.id}/suspend`)).body).toMatchObject({ status: 'suspended' })
    await until(async () => (await statusOn(there, user)) === 401 && (await keyOn(there)) === 401, everywhereMs)
    expect([await statusOn(here, user), await keyOn(here), await canLogIn(user, user.password)]).toEqual([401, 401, 403])
    expect((await admin.send('POST', `${users}/${user.user.id}/restore`)).body).toMatchObject({ status: 'active' })
    // Keys go on; sessions have ended.
    expect([await keyOn(here), await statusOn(here, user)]).toEqual([200, 401])
    const { body: page } = await admin.send<{ items: UserView[] }>('GET', `${users}?status=active&pageSize=100`)
    expect(page.items.map(({ id }) => id)).toContain(user.user.id)
    expect((await admin.send('GET', `${users}/${user.user.id}`)).body).toMatchObject({ id: user.user.id })

    const again = clientWith((await logIn(here.urls['api'] ?? '', user.user.username, user.password)).accessToken)
    for (const on of [here, there]) expect(await statusOn(on, again)).toBe(200)
    // Keys of users cannot, whatever their scopes; nor those of services that change users.
    for (const program of [key, await newServiceKey(backing, ['users:read', 'users:write'])])
      expect((await program.send('DELETE', api(`/users/${user.user.id}`))).status).toBe(403)
    expect((await again.send('DELETE', api(`/users/${user.user.id}`))).status).toBe(204)
    await mailbox.next('Your account was deleted')
    await until(async () => (await statusOn(there, again)) === 401 && (await keyOn(there)) === 401, everywhereMs)
    const left = ['userCode', 'apiKey'].map(table => db.all(`select "id" from "${table}" where "userId" = ?`, [user.user.id]))
    expect(await Promise.all([...left, db.all('select "id" from "session" where "accountId" = ?', [user.user.id])])).toEqual([[], [], []])
  }, 60_000)
})
