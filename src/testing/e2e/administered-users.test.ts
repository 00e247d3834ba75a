import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { OpenDatabase } from '@/infra/database/driver'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type AdministratorClient, logIn, newAdministrator, newUser, type UserClient } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import { newSignUp, type Problem, send, type UserView } from '../http-client'
import { mailboxOf } from '../mailbox'
import { startMailServer, type TestMailServer } from '../smtp'

const chosen = 'another horse battery'
interface UserPage {
  items: UserView[]
  nextPageToken: string
}

onEachBacking('users, as administrators see to them with the executable', open => {
  let backing: Backing
  let mail: TestMailServer
  let bingo: RunningBingo
  let db: OpenDatabase
  let grace: AdministratorClient
  beforeAll(async () => {
    backing = await open()
    mail = await startMailServer()
    const env = { ...backing.options.env, BINGO_MAIL_URL: mail.url, BINGO_ACCOUNT_SIGN_UP: 'open' }
    bingo = await startBingo({ ...backing.options, env, roles: 'api,admin,scheduler' })
    db = await openAgain(backing)
    grace = await newAdministrator(bingo.urls['admin'] ?? '', env)
  }, 60_000)
  afterAll(async () => {
    await db.close()
    expect(await bingo.stop()).toBe(0)
    await mail.close()
    await backing.dispose()
  }, 30_000)

  const users = (path = '') => `${bingo.urls['admin']}/admin/v1/users${path}`
  const api = (path: string) => `${bingo.urls['api']}/api/v1${path}`
  const reset = (code: string) => send('POST', api('/password-resets/confirm'), { code, password: chosen })
  const isIn = async (user: UserClient) => (await user.send('GET', api('/me'))).status === 200
  /** What was written down of somebody, the last first. */
  const actionsOn = async (id: string) =>
    (await db.all('select "action" from "auditEvent" where "object" = ? order by "seq" desc', [`user:${id}`], { from: 'primary' })).map(
      row => String(row['action']),
    )

  test('somebody for whom an account is made chooses the password by the mail that they are sent, and logs in', async () => {
    const { username, email } = newSignUp()
    const made = await grace.send<UserView>('POST', users(), { username, email, nickname: 'Somebody' })
    expect([made.status, made.headers.get('location'), made.headers.get('etag')]).toEqual([201, `/admin/v1/users/${made.body.id}`, '"1"'])
    expect(JSON.stringify(made.body)).not.toContain('assword')
    const mailbox = mailboxOf(mail, email)
    const { code, text } = await mailbox.next('An account was made for you')
    expect(text).toContain(`Hello ${username}`)
    expect((await reset(code)).status).toBe(204)
    expect((await reset(code)).status).toBe(422)
    expect(await logIn(bingo.urls['api'] ?? '', username, chosen)).toHaveProperty('accessToken')
    const shown = await grace.send('GET', users(`/${made.body.id}`))
    expect(shown.body).toMatchObject({ username, nickname: 'Somebody', sessionCount: 1, apiKeyCount: 0, lastSeenAt: expect.any(String) })
    // Not twice, not with a password, not as anything else.
    for (const [body, status] of [
      [{ username, email: `x${email}` }, 409],
      [{ username: `${username}x`, email }, 409],
      [{ username: `${username}x`, email: `x${email}`, password: chosen }, 422],
      [{ username: `${username}x`, email: `x${email}`, status: 'suspended' }, 422],
    ] as const)
      expect([body, (await grace.send('POST', users(), body)).status]).toEqual([body, status])
    expect(await actionsOn(made.body.id)).toEqual(['user.create'])
  }, 30_000)

  test('users are found by name, address and id, a page at a time, and what is asked wrongly is refused', async () => {
    const some = await Promise.all([1, 2, 3].map(() => newUser(bingo.urls['api'] ?? '')))
    const first = some[0] as UserClient
    const found = async (query: string) => (await grace.send<UserPage>('GET', users(`?${query}`))).body
    const names = some.map(({ user }) => user.username).toSorted()
    expect((await found(`search=${first.user.username}`)).items.map(({ id }) => id)).toContain(first.user.id)
    expect((await found(`search=${first.user.email.toUpperCase()}`)).items.map(({ id }) => id)).toEqual([first.user.id])
    expect((await found(`search=${first.user.id}`)).items.map(({ id }) => id)).toEqual([first.user.id])
    const prefix = (names[0] ?? '').replace(/\d+$/, '')
    const seen: string[] = []
    for (let token = '', more = true; more; more = token !== '') {
      const page = await found(`search=${prefix}&status=active&pageSize=2${token && `&pageToken=${encodeURIComponent(token)}`}`)
      seen.push(...page.items.map(({ username }) => username))
      token = page.nextPageToken
    }
    expect(seen).toEqual(seen.toSorted())
    expect(seen).toEqual(expect.arrayContaining(names))
    for (const query of ['search=a&search=b', `search=${'a'.repeat(255)}`, 'status=dead', 'pageToken=x', 'search=a%00b', 'searc=a'])
      expect([query, (await grace.send('GET', users(`?${query}`))).status]).toEqual([query, 400])
  }, 30_000)

  test('a user who is logged out everywhere logs in again, one who is sent a code chooses another password', async () => {
    const user = await newUser(bingo.urls['api'] ?? '')
    const path = (verb: string) => users(`/${user.user.id}/${verb}`)
    expect(await isIn(user)).toBe(true)
    expect((await grace.send('POST', path('end-sessions'))).body).toEqual({ endedCount: 1 })
    expect(await isIn(user)).toBe(false)
    expect(await logIn(bingo.urls['api'] ?? '', user.user.username, user.password)).toHaveProperty('accessToken')
    expect((await grace.send('POST', path('send-reset'))).status).toBe(202)
    const again = await grace.send<Problem>('POST', path('send-reset'))
    expect([again.status, again.body.code, Number(again.headers.get('retry-after')) > 0]).toEqual([
      429,
      'ResourceExhausted.MessageOften',
      true,
    ])
    const { code } = await mailboxOf(mail, user.user.email).next('Choose a new password')
    expect((await reset(code)).status).toBe(204)
    expect(await logIn(bingo.urls['api'] ?? '', user.user.username, chosen)).toHaveProperty('accessToken')
    expect(await actionsOn(user.user.id)).toEqual(['user.send-reset', 'user.end-sessions'])
  }, 30_000)

  test('a user is deleted by whoever has seen what they delete, and is told', async () => {
    const user = await newUser(bingo.urls['api'] ?? '')
    const at = users(`/${user.user.id}`)
    const { headers } = await grace.send('GET', at)
    expect((await grace.send('DELETE', at, undefined, { 'if-match': '"77"' })).status).toBe(412)
    expect((await grace.send('DELETE', at, undefined, { 'if-match': headers.get('etag') ?? '' })).status).toBe(204)
    for (const [method, path] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/end-sessions'],
      ['POST', '/send-reset'],
      ['POST', '/suspend'],
    ] as const)
      expect([path, (await grace.send(method, `${at}${path}`)).status]).toEqual([path, 404])
    await until(async () => !(await isIn(user)))
    await mailboxOf(mail, user.user.email).next('Your account was deleted')
    expect(await actionsOn(user.user.id)).toEqual(['user.delete'])
  }, 30_000)
})
