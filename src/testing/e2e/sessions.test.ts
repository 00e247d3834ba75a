import { createPublicKey, verify as verifySignature } from 'node:crypto'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { type Client, clientWith, newAdministrator, newUser } from '../clients'
import { type Answer, newSignUp, type Problem, send } from '../http-client'

interface Tokens extends Record<string, unknown> {
  accessToken: string
  refreshToken: string
}
interface SessionList extends Record<string, unknown> {
  items: { id: string; isCurrent: boolean; userAgent?: string; address: string }[]
}

onEachBacking('sessions of users', open => {
  let backing: Backing
  let running: RunningBingo[]
  let [here, there, admin] = ['', '', '']
  let administrator: Client
  beforeAll(async () => {
    backing = await open()
    const options = { ...backing.options, roles: 'api,admin' }
    running = [await startBingo(options)]
    running.push(await startBingo(options))
    here = `${running[0]?.urls['api']}/api/v1`
    there = `${running[1]?.urls['api']}/api/v1`
    admin = running[0]?.urls['admin'] ?? ''
    administrator = await newAdministrator(admin, backing.options.env)
  }, 60_000)
  afterAll(async () => {
    expect(await Promise.all(running.map(each => each.stop()))).toEqual([0, 0])
    const odd = running.flatMap(({ log }) => log.filter(({ level, msg }) => level === 'error' || msg.includes('not as declared')))
    expect(odd).toEqual([])
    await backing.dispose()
  })
  const origin = () => new URL(here).origin
  const logIn = <T = Tokens>(body: unknown, at = here) => send<T>('POST', `${at}/sessions`, body)
  const refresh = <T = Tokens>(refreshToken: string, at = here) => send<T>('POST', `${at}/sessions/refresh`, { refreshToken })
  const said = ({ status, body }: Answer<Problem>) => {
    const { requestId: _, ...rest } = body
    return [status, rest]
  }

  test('begin with the username or the e-mail address, however they are spelled, and give a user and tokens that no cache keeps', async () => {
    const input = newSignUp()
    const { body: user } = await send('POST', `${here}/users`, input)
    for (const login of [input.username, input.email, ` ${input.email.toUpperCase()} `, input.username.toUpperCase()]) {
      const { status, body, headers } = await logIn({ login, password: input.password }, there)
      expect([status, headers.get('cache-control')]).toEqual([201, 'no-store'])
      expect(body).toEqual({ accessToken: expect.any(String), refreshToken: expect.any(String), expiresInSeconds: 600, user })
      expect((await clientWith(body.accessToken).send('GET', `${here}/sessions`)).status).toBe(200)
    }
  })

  test('are refused in the same words for an account that there is not and for a wrong password', async () => {
    const { user } = await newUser(origin())
    const wrong = await logIn<Problem>({ login: user.username, password: 'not the password' })
    const unknown = await logIn<Problem>({ login: 'nobody-of-this-name', password: 'not the password' })
    const noMail = await logIn<Problem>({ login: 'nobody@example.com', password: 'not the password' })
    expect(said(wrong)).toEqual([401, expect.objectContaining({ code: 'Unauthenticated.LogInRefused' })])
    expect([said(unknown), said(noMail)]).toEqual([said(wrong), said(wrong)])
    const names = (answer: Answer<unknown>) => [...answer.headers.keys()].filter(name => name !== 'date').toSorted()
    expect(names(unknown)).toEqual(names(wrong))
  })

  test('of a suspended account do not begin nor go on, and only who knows the password learns why', async () => {
    const { user, password, refreshToken, send: ask } = await newUser(origin())
    expect((await administrator.send('POST', `${admin}/admin/v1/users/${user.id}/suspend`)).status).toBeLessThan(300)
    expect((await ask('GET', `${here}/sessions`)).status).toBe(401)
    expect((await refresh(refreshToken)).status).toBe(401)
    expect(said(await logIn<Problem>({ login: user.username, password }))[1]).toMatchObject({ code: 'PermissionDenied.AccountSuspended' })
    expect((await logIn({ login: user.username, password: 'not the password' })).status).toBe(401)
    expect((await administrator.send('POST', `${admin}/admin/v1/users/${user.id}/restore`)).status).toBeLessThan(300)
    expect((await logIn({ login: user.username, password })).status).toBe(201)
  })

  test('live on when a hundred clients refresh with one token at once on two nodes, with one refresh token', async () => {
    const { refreshToken } = await newUser(origin())
    const answers = await Promise.all(Array.from({ length: 100 }, (_, i) => refresh(refreshToken, i % 2 ? here : there)))
    expect(answers.filter(({ status }) => status !== 200)).toEqual([])
    const [given = '', ...others] = new Set(answers.map(({ body }) => body.refreshToken))
    expect(others).toEqual([])
    for (const { body } of answers.slice(0, 4))
      expect((await clientWith(body.accessToken).send('GET', `${there}/sessions`)).status).toBe(200)
    expect((await refresh(given, there)).status).toBe(200)
  }, 60_000)

  test('are listed to their user, who ends one of them, and logs out', async () => {
    const one = await newUser(origin())
    const { user, password } = one
    const stranger = await newUser(origin())
    const { body } = await send<Tokens>('POST', `${here}/sessions`, { login: user.username, password }, { 'user-agent': 'Phone' })
    const other = clientWith(body.accessToken)
    const list = async () => (await one.send<SessionList>('GET', `${there}/sessions`)).body.items
    const [phone, current] = await list()
    expect(phone).toMatchObject({ userAgent: 'Phone', isCurrent: false, address: '127.0.0.1' })
    expect(current).toMatchObject({ isCurrent: true })
    expect(JSON.stringify([phone, current])).not.toMatch(/seed|generation|accountId/)

    expect((await stranger.send('DELETE', `${here}/sessions/${phone?.id}`)).status).toBe(404)
    expect((await other.send('GET', `${here}/sessions`)).status).toBe(200)
    expect((await one.send('DELETE', `${here}/sessions/${phone?.id}`)).status).toBe(204)
    expect((await one.send('DELETE', `${here}/sessions/${phone?.id}`)).status).toBe(404)
    expect((await other.send('GET', `${here}/sessions`)).status).toBe(401)
    expect((await refresh(body.refreshToken)).status).toBe(401)
    expect((await list()).map(({ id }) => id)).toEqual([current?.id ?? ''])

    expect((await one.send('DELETE', `${here}/sessions/current`)).status).toBe(204)
    expect((await one.send('DELETE', `${here}/sessions/current`)).status).toBe(401)
    expect((await refresh(one.refreshToken)).status).toBe(401)
  })

  test('are asked for with an access token in its place, and with nothing else in no other', async () => {
    const { credential, refreshToken } = await newUser(origin())
    const ask = (headers: Record<string, string>, query = '') => send<Problem>('GET', `${here}/sessions${query}`, undefined, headers)
    const nobody = await ask({})
    expect([nobody.status, nobody.headers.get('www-authenticate')]).toEqual([401, 'Bearer realm="bingo"'])
    const [head, body] = credential.split('.')
    const none = `${Buffer.from('{"alg":"none","typ":"at+jwt"}').toString('base64url')}.${body}.`
    for (const wrong of [refreshToken, none, `${head}.${body}.`, `${credential}x`, 'x']) {
      const answer = await ask({ authorization: `Bearer ${wrong}` })
      expect([answer.status, answer.headers.get('www-authenticate')]).toEqual([401, expect.stringContaining('error="invalid_token"')])
    }
    for (const headers of [
      { authorization: `Basic ${btoa(`x:${credential}`)}` },
      { cookie: `token=${credential}` },
      { 'x-access-token': credential },
    ])
      expect((await ask(headers as Record<string, string>)).status).toBe(401)
    expect((await ask({}, `?access_token=${credential}`)).status).toBe(401)
    expect((await ask({ authorization: `Bearer ${credential}` })).status).toBe(200)
  })

  test('have tokens that mean nothing to the other server', async () => {
    const user = await newUser(origin())
    expect((await user.send('GET', `${admin}/admin/v1/sessions`)).status).toBe(401)
    expect((await administrator.send('GET', `${here}/sessions`)).status).toBe(401)
    expect((await send('POST', `${admin}/admin/v1/sessions/refresh`, { refreshToken: user.refreshToken })).status).toBe(401)
    expect((await refresh(user.refreshToken)).status).toBe(200)
  })

  test('have access tokens that anybody can check with the keys that the API server publishes', async () => {
    const { credential, user } = await newUser(origin())
    const published = await fetch(new URL('/.well-known/jwks.json', there))
    expect([published.headers.get('content-type'), published.headers.get('cache-control')]).toEqual([
      'application/jwk-set+json',
      'public, max-age=300',
    ])
    const { keys } = (await published.json()) as { keys: { kid: string }[] }
    const [head = '', body = '', signature = ''] = credential.split('.')
    const parsed = (part: string) => JSON.parse(Buffer.from(part, 'base64url').toString())
    const key = keys.find(({ kid }) => kid === parsed(head).kid)
    expect(key).toEqual({ kty: 'OKP', crv: 'Ed25519', x: expect.any(String), kid: expect.any(String), alg: 'EdDSA', use: 'sig' } as never)
    const publicKey = createPublicKey({ key: key as never, format: 'jwk' })
    expect(verifySignature(null, Buffer.from(`${head}.${body}`), publicKey, Buffer.from(signature, 'base64url'))).toBe(true)
    expect(parsed(body)).toMatchObject({ iss: 'bingo', aud: 'api', sub: user.id })
    expect((await fetch(`${admin}/.well-known/jwks.json`)).status).toBe(404)
  })

  test('leave no token in the log', async () => {
    const user = await newUser(origin())
    const { body } = await refresh(user.refreshToken)
    const lines = running.map(({ log, stderr }) => JSON.stringify(log) + stderr()).join()
    expect(lines).toContain('a user has logged in')
    for (const token of [user.credential, user.refreshToken, body.accessToken, body.refreshToken]) {
      expect(lines).not.toContain(token)
      expect(lines).not.toContain(token.slice(-30))
    }
  })
})

test('processes that start at once on an empty place take the tokens of each other, and one that starts again those from before', async () => {
  using folder = temporaryFolder()
  const options = { env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/bingo.db` } }
  const both = await Promise.all([startBingo(options), startBingo(options)])
  const users = await Promise.all(both.map(({ url }) => newUser(url)))
  for (const { url } of both) for (const user of users) expect((await user.send('GET', `${url}/api/v1/sessions`)).status).toBe(200)
  await Promise.all(both.map(each => each.stop()))
  const again = await startBingo(options)
  for (const user of users) expect((await user.send('GET', `${again.url}/api/v1/sessions`)).status).toBe(200)
  expect(await again.stop()).toBe(0)
}, 60_000)
