import { afterAll, beforeAll, expect, test } from 'bun:test'
import { dirname } from 'node:path'
import { authenticator } from '../authenticator'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo } from '../bingo'
import { type Canaries, canaries, everyFile, everyKey, everyRow } from '../canaries'
import { type AdministratorClient, administratorPassword, type Client, clientWith, newAdministrator } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import { type Answer, send } from '../http-client'
import { mailboxOf } from '../mailbox'
import { startMailServer, type TestMailServer } from '../smtp'

/** None may stand in any other text, so that whatever is found is a leak. */
const secretOf = (what: string) => `canary ${what} ${crypto.randomUUID()}`
const rootKey = Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('base64')
/** Of a mail server that takes it from nobody: its tasks die. */
const refused = 'refused@example.com'

test('whoever looks for a secret finds it, however it is spelled', () => {
  const looked = canaries()
  const secret = secretOf('of the test')
  looked.add('it', secret)
  for (const shift of [0, 1, 2, 3]) {
    const text = Buffer.from(`${'x'.repeat(shift)}${secret}yz`)
    for (const spelled of [text.toString('base64'), text.toString('base64url'), text.toString('hex'), `"${text}"`])
      expect([shift, spelled, looked.foundIn(spelled)]).toEqual([shift, spelled, ['it']])
  }
  expect(looked.foundIn(encodeURIComponent(secret))).toEqual(['it'])
  expect(looked.foundIn('canary of another')).toEqual([])
})

/** What base32 spells. */
function bytesOf(seed: string): Buffer {
  const bits = [...seed].map(letter => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0')).join('')
  return Buffer.from((bits.match(/.{8}/g) ?? []).map(byte => Number.parseInt(byte, 2)))
}

onEachBacking('secrets', open => {
  let backing: Backing
  let mail: TestMailServer
  let bingo: RunningBingo
  let looked: Canaries
  let env: Record<string, string>
  /** What refusals and errors said, and what else is answered without a secret of its own. */
  const answers: string[] = []
  beforeAll(async () => {
    backing = await open()
    mail = await startMailServer({ refuse: address => (address === refused ? 550 : undefined), login: ['shop', mailPassword] })
    looked = canaries()
    looked.add('root key', rootKey)
    looked.add('password of the mail server', mailPassword)
    looked.add('password of an administrator', administratorPassword)
    const url = new URL(mail.url)
    url.username = 'shop'
    url.password = encodeURIComponent(mailPassword)
    env = { ...backing.options.env, BINGO_MAIL_URL: url.href, BINGO_AUTH_KEY: rootKey, BINGO_LOG_LEVEL: 'debug' }
    bingo = await startBingo({ ...backing.options, env, roles: 'api,admin,scheduler' })
  }, 60_000)
  afterAll(async () => {
    await bingo.stop()
    await mail.close()
    await backing.dispose()
  }, 30_000)
  const mailPassword = secretOf('password of the mail server')

  const api = (path: string) => `${bingo.urls['api']}/api/v1${path}`
  const noted = async <T>(asking: Promise<Answer<T>>): Promise<Answer<T>> => {
    const answer = await asking
    answers.push(`${JSON.stringify([...answer.headers])} ${JSON.stringify(answer.body)}`)
    return answer
  }
  const tokens = (body: Record<string, unknown>) => {
    for (const name of ['accessToken', 'refreshToken', 'key']) if (typeof body[name] === 'string') looked.add(name, body[name])
    // What makes a token one is its end; the rest says who.
    if (typeof body['accessToken'] === 'string') looked.add('signature of an access token', body['accessToken'].split('.')[2] ?? '')
    return body as { accessToken: string; refreshToken: string; key: string; id: string }
  }

  test('are in no log line, error, metric, task, dead letter, message, column, key or file', async () => {
    const password = secretOf('password')
    looked.add('password', password)
    const idempotencyKey = `canary-${crypto.randomUUID()}`
    looked.add('Idempotency-Key', idempotencyKey)
    const [username, email] = ['canary-user', 'canary-user@example.com']
    const signUp = { username, email, password }
    for (let i = 0; i < 2; i++)
      expect((await noted(send('POST', api('/users'), signUp, { 'idempotency-key': idempotencyKey }))).status).toBe(201)
    expect((await noted(send('POST', api('/users'), { ...signUp, username: 'canary-two', email: refused }))).status).toBe(201)
    const mailbox = mailboxOf(mail, email)
    const { code: verifying } = await mailbox.next('Welcome')
    looked.add('code that verifies', verifying)

    const logIn = async (given: string) => tokens((await send('POST', api('/sessions'), { login: username, password: given })).body)
    const first = await logIn(password)
    const client = clientWith(first.accessToken)
    const refresh = (refreshToken: string) => send('POST', api('/sessions/refresh'), { refreshToken })
    const second = tokens((await refresh(first.refreshToken)).body)
    tokens((await refresh(second.refreshToken)).body)
    const made = tokens(
      (await client.send('POST', api('/me/api-keys'), { name: 'canary', scopes: ['users:read'], currentPassword: password })).body,
    )
    expect((await noted(clientWith(made.key).send('GET', api(`/users/${made.id}`)))).status).toBe(403)
    await noted(client.send('POST', api('/me/email-verification/confirm'), { code: verifying }))
    await noted(client.send('GET', api('/sessions')))
    await noted(client.send('GET', api('/me/api-keys')))

    await wrongly(client, { password, token: first.accessToken, refreshToken: second.refreshToken, key: made.key })

    expect((await noted(send('POST', api('/password-resets'), { email }))).status).toBe(202)
    const { code: resetting } = await mailbox.next('Choose a new password')
    looked.add('code that resets', resetting)
    const chosen = secretOf('password that was chosen')
    looked.add('password that was chosen', chosen)
    expect((await noted(send('POST', api('/password-resets/confirm'), { code: resetting, password: chosen }))).status).toBe(204)
    const third = await logIn(chosen)
    const changed = secretOf('password that was changed')
    looked.add('password that was changed', changed)
    const change = await noted(
      clientWith(third.accessToken).send('POST', api('/me/password'), { currentPassword: chosen, password: changed }),
    )
    expect([change.status, change.body]).toEqual([204, undefined as never])
    await noted(send('POST', api('/sessions/refresh'), { refreshToken: first.refreshToken }))

    const operator = await newAdministrator(bingo.urls['admin'] ?? '', env)
    looked.add('access token of an administrator', operator.credential)
    const service = tokens(
      (await operator.send('POST', `${bingo.urls['admin']}/admin/v1/api-keys`, { name: 'canary', scopes: ['users:read'] })).body,
    )
    expect((await clientWith(service.key).send('GET', api('/users'))).status).toBe(200)
    await noted(operator.send('GET', `${bingo.urls['admin']}/admin/v1/api-keys`))
    await noted(send('POST', `${bingo.urls['admin']}/admin/v1/sessions`, { username: 'canary', password: administratorPassword }))
    await administers(operator)

    const task = (...words: string[]) => runBingo(['task', ...words], { env })
    await until(async () => (await task('list', '--state=dead', '--json')).stdout.includes('email.send'), 20_000)
    expect(looked.count).toBeGreaterThan(50)
    expect(await everywhere(task)).toEqual([])
  }, 120_000)

  /** What administrators log in with besides their passwords, and what browsers have of theirs. */
  async function administers(operator: AdministratorClient) {
    const admin = (path: string) => `${bingo.urls['admin']}/admin/v1${path}`
    const { username } = operator
    const begun = await operator.send<{ secret: string; otpauthUri: string }>('POST', admin('/me/second-factor'), {
      currentPassword: administratorPassword,
    })
    const { secret: seed } = begun.body
    looked.add('seed of a second factor', seed)
    for (const spelling of ['hex', 'base64', 'base64url', 'latin1'] as const)
      looked.add('seed of a second factor, as bytes', bytesOf(seed).toString(spelling))
    const app = authenticator(seed)
    const confirmed = await operator.send<{ recoveryCodes: string[] }>('POST', admin('/me/second-factor/confirm'), {
      code: await app.next(),
    })
    const { recoveryCodes } = confirmed.body
    for (const code of recoveryCodes) looked.add('recovery code', code)
    for (const code of recoveryCodes) looked.add('recovery code', code.replaceAll('-', ''))
    const [first = '', second = ''] = recoveryCodes

    const ownPage = { 'sec-fetch-site': 'same-origin' }
    const logIn = (code: string) =>
      send('POST', admin('/sessions'), { username, password: administratorPassword, code, transport: 'cookie' }, ownPage)
    const kept = (await logIn(first)).headers.getSetCookie().map(cookie => cookie.split(';')[0] ?? '')
    expect(kept).toHaveLength(2)
    for (const cookie of kept) looked.add(`cookie ${cookie.split('=')[0]}`, cookie.slice(cookie.indexOf('=') + 1))
    const headers = { cookie: kept.join('; ') }
    expect((await noted(send('GET', admin('/me'), undefined, headers))).status).toBe(200)
    expect((await noted(send('POST', admin('/me/second-factor'), {}, headers))).status).toBe(403)
    expect((await noted(logIn(first))).status).toBe(401)
    const renewed = await send('POST', admin('/sessions/refresh'), undefined, { ...headers, ...ownPage })
    for (const cookie of renewed.headers.getSetCookie()) {
      const [, name = '', value = ''] = /^([^=]+)=([^;]+)/.exec(cookie) ?? []
      if (value) looked.add(`cookie ${name}, renewed`, value)
    }
    await noted(operator.send('POST', admin('/sessions/current/proof'), { code: second }))
    await noted(operator.send('POST', admin('/sessions/current/proof'), { code: second }))

    const made = await operator.send<{ invitation: { code: string } }>('POST', admin('/admins'), { username: 'canary-admin', roleIds: [] })
    const { code } = made.body.invitation
    looked.add('code of an invitation', code)
    const password = secretOf('password of an administrator')
    looked.add('password that an administrator has chosen', password)
    const accept = (given: string) => noted(send('POST', admin('/invitations/accept'), { code, password: given }))
    expect([(await accept('short')).status, (await accept(password)).status, (await accept(password)).status]).toEqual([422, 200, 422])

    for (const secret of [seed, code, ...kept, recoveryCodes[3] ?? '', password]) {
      const encoded = encodeURIComponent(secret)
      await noted(
        send('POST', admin('/sessions'), { username: secret.slice(0, 64), password: secret.slice(0, 128), code: secret.slice(0, 64) }),
      )
      await noted(operator.send('POST', admin('/roles'), { name: secret, permissions: [secret] }))
      await noted(operator.send('POST', admin('/admins'), { username: secret, roleIds: [secret] }))
      await noted(
        send('GET', admin('/users'), undefined, { authorization: `Bearer ${encoded}x`, cookie: `__Host-bingo-access=${encoded}x` }),
      )
      await operator.send('GET', admin(`/admins/${encoded}`))
    }
    for (const path of ['/me', '/admins', '/roles', '/sessions', '/audit-events?pageSize=100'])
      await noted(operator.send('GET', admin(path)))
    const exported = await fetch(admin('/audit-events/export?format=ndjson'), { headers: operator.headers })
    answers.push(await exported.text())
  }

  /** Secrets where they do not belong, since people paste them into the wrong place. */
  async function wrongly(
    client: Client,
    { password, token, refreshToken, key }: Record<'password' | 'token' | 'refreshToken' | 'key', string>,
  ) {
    for (const secret of [password, token, refreshToken, key]) {
      const headers = { authorization: `Bearer ${encodeURIComponent(secret)}x` }
      await noted(client.send('POST', api('/users'), { username: secret, email: secret, password: 'short', nickname: secret }))
      await noted(client.send('POST', api('/sessions'), { login: secret.slice(0, 100), password: secret }))
      await noted(client.send('POST', api('/sessions'), `{"login":"${secret}","password":"${secret}`))
      await noted(client.send('PATCH', api('/me'), { [`x${secret.slice(0, 3)}`]: secret }))
      await noted(client.send('GET', api('/users'), undefined, headers))
      await noted(client.send('GET', api(`/users?access_token=${encodeURIComponent(secret)}`)))
      await noted(
        client.send('GET', api('/me'), undefined, {
          'if-match': encodeURIComponent(secret),
          'x-request-id': `${encodeURIComponent(secret)} `,
        }),
      )
      await noted(
        client.send(
          'POST',
          api('/users'),
          {},
          { 'idempotency-key': encodeURIComponent(secret).slice(0, 200), cookie: `x=${encodeURIComponent(secret)}` },
        ),
      )
      // What stands in a path is said to whoever sent it, as the instance of the problem.
      await client.send('GET', api(`/users/${encodeURIComponent(secret)}`))
    }
  }

  /** Where secrets are, and which. */
  async function everywhere(task: (...words: string[]) => Promise<{ stdout: string }>): Promise<[string, string[]][]> {
    const db = await openAgain(backing)
    const states = ['waiting', 'active', 'scheduled', 'done', 'dead']
    const listed = await Promise.all(
      states.map(async state => [`tasks: ${state}`, (await task('list', `--state=${state}`, '--json')).stdout] as const),
    )
    const file = backing.url.startsWith('sqlite:') ? backing.url.slice('sqlite:'.length) : undefined
    const places: (readonly [string, string])[] = [
      ...bingo.log.map(line => [`log: ${line.msg}`, JSON.stringify(line)] as const),
      ['stderr', bingo.stderr()],
      ['metrics', await (await fetch(`${bingo.ops}/metrics`)).text()],
      ...answers.map(text => [`answer: ${text.slice(0, 60)}`, text] as const),
      ...listed,
      ...(await everyRow(db)),
      ...(file === undefined
        ? await everyKey(env['BINGO_REDIS_URL'] ?? '', env['BINGO_REDIS_PREFIX'] ?? '')
        : await everyFile(dirname(file))),
      // A code is in the message that brings it, and in no other.
      ...mail.received.map(({ source }) => [`mail: ${source.slice(0, 60)}`, source.replaceAll(/=\r?\n/g, '')] as const),
    ]
    await db.close()
    expect(places.filter(([, text]) => text !== '').length).toBeGreaterThan(20)
    return places.flatMap(([place, text]): [string, string[]][] => {
      const isOfCode = (name: string) => place.startsWith('mail:') && name.startsWith('code that')
      const found = looked.foundIn(text).filter(name => !isOfCode(name))
      return found.length > 0 ? [[place, found]] : []
    })
  }
})
