import { createHmac } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { Database } from 'bun:sqlite'
import { type ScopeName, scopes, userScopes } from '@/core/scopes'
import { type RunningBingo, runBingo, startBingo } from './bingo'
import { send } from './http-client'

/** Everybody who may come to a server, and everything that may be sent as a credential, on the compiled executable. */
export interface Cast {
  bingo: RunningBingo
  api: string
  admin: string
  /** Of the gRPC server: `127.0.0.1:41234`. */
  rpc: string
  /** Path of the database, for those who look whether anything has changed. */
  database: string
  root: string
  /** Of the same administrator, who has proven too long ago who it is. */
  unproven: string
  newPerson(): Promise<Person>
  serviceKeys: Keys
  /** An administrator without a permission. */
  powerless: string
  /** By permission: an administrator with it alone, and one with all but it. */
  only: Record<string, string>
  allBut: Record<string, string>
  /** What is no credential of a server, by why. */
  invalid: Record<'api' | 'admin', Record<string, string>>
  close(): Promise<void>
}

/** A user who has logged in. */
export interface Person {
  id: string
  username: string
  token: string
  refreshToken: string
  /** Another session. */
  sessionId: string
  keys: Keys
}
export interface Keys {
  /** With every scope that such keys can have. */
  full: string
  /** By scope that they can have: with every other. */
  allBut: Record<string, string>
  id: string
}

export const password = 'correct horse battery'
/** What is also needed to do something with a permission: who makes a key must hold what it may. */
const needed: Record<string, readonly string[]> = { 'api-keys:write': ['users:read'] }
/** What whoever has a permission alone holds. */
export const heldWith = (permission: string): readonly string[] => [permission, ...(needed[permission] ?? [])]
const unlimited = Object.fromEntries(
  ['READ', 'WRITE', 'CREDENTIALS', 'ANONYMOUS'].map(kind => [`BINGO_LIMIT_${kind}_PER_MINUTE`, '10000000']),
)
/** Clocks of servers may differ by so much. */
const skewMs = 5000

interface Tokens extends Record<string, unknown> {
  accessToken: string
  refreshToken: string
  id: string
  key: string
  items: { id: string; isCurrent: boolean }[]
  administrator: { id: string }
  invitation: { code: string }
}

export async function call(method: string, url: string, body?: unknown, credential?: string) {
  const answer = await send<Tokens>(method, url, body, credential === undefined ? {} : { authorization: `Bearer ${credential}` })
  if (answer.status >= 400) throw new Error(`${method} ${url} was answered ${answer.status}: ${JSON.stringify(answer.body)}`)
  return answer.body
}

let count = 0

/** @param permissions that routes ask for */
export async function assembleCast(folder: string, permissions: readonly string[]): Promise<Cast> {
  const database = `${folder}/bingo.db`
  const env = { BINGO_DATABASE_URL: `sqlite:${database}`, BINGO_SESSION_PER_ACCOUNT_MAX: '1000', ...unlimited }
  const bingo = await startBingo({ roles: 'api,admin', env })
  // Its tokens expire at once, and are as good as those of the other while they do not.
  const hasty = await startBingo({ roles: 'api,admin', env: { ...env, BINGO_AUTH_ACCESS_TTL_MS: '1000' } })
  const [api, admin] = [`${bingo.urls['api']}/api/v1`, `${bingo.urls['admin']}/admin/v1`]

  async function newPerson(at = api): Promise<Person> {
    count++
    const account = { username: `person${count}`, email: `person${count}@example.com`, password }
    const { id } = await call('POST', `${at}/users`, account)
    const logIn = () => call('POST', `${at}/sessions`, { login: account.username, password })
    const { accessToken: token, refreshToken } = await logIn()
    await logIn()
    const { items } = await call('GET', `${at}/sessions`, undefined, token)
    const keys = await makeKeys(`${at}/me/api-keys`, token, userScopes, { currentPassword: password })
    return { id, username: account.username, token, refreshToken, sessionId: items.find(({ isCurrent }) => !isCurrent)?.id ?? '', keys }
  }

  async function firstAdministrator(): Promise<Tokens> {
    const file = `${folder}/password`
    writeFileSync(file, password)
    const made = await runBingo(['admin', 'create', '--username=root', `--password-file=${file}`], { env })
    if (made.code !== 0) throw new Error(made.stderr)
    return logInAsAdmin(admin, 'root')
  }
  const logInAsAdmin = (at: string, username: string) => call('POST', `${at}/sessions`, { username, password })

  const { accessToken: root, refreshToken: rootRefresh } = await firstAdministrator()

  /** @param granted of a role of its own */
  async function administrator(username: string, granted: readonly string[]): Promise<Tokens> {
    const role = await call('POST', `${admin}/roles`, { name: username, permissions: granted }, root)
    const { invitation } = await call('POST', `${admin}/admins`, { username, roleIds: [role.id] }, root)
    await call('POST', `${admin}/invitations/accept`, { code: invitation.code, password })
    return logInAsAdmin(admin, username)
  }
  const { accessToken: unproven } = await logInAsAdmin(admin, 'root')
  agedProof(database, unproven)
  const { accessToken: powerless } = await administrator('powerless', [])
  const only: Record<string, string> = {}
  const allBut: Record<string, string> = {}
  for (const [i, permission] of permissions.entries()) {
    only[permission] = (await administrator(`only-${i}`, heldWith(permission))).accessToken
    allBut[permission] = (
      await administrator(
        `all-but-${i}`,
        permissions.filter(each => each !== permission),
      )
    ).accessToken
  }

  const person = await newPerson()
  const expiring = {
    api: (await call('POST', `${hasty.urls['api']}/api/v1/sessions`, { login: person.username, password })).accessToken,
    admin: (await logInAsAdmin(`${hasty.urls['admin']}/admin/v1`, 'root')).accessToken,
  }
  const suspended = await newPerson()
  await call('POST', `${admin}/users/${suspended.id}/suspend`, undefined, root)
  const deleted = await newPerson()
  await call('DELETE', `${api}/users/${deleted.id}`, undefined, deleted.token)
  const loggedOut = await call('POST', `${api}/sessions`, { login: person.username, password })
  await call('DELETE', `${api}/sessions/current`, undefined, loggedOut.accessToken)
  const adminLoggedOut = await logInAsAdmin(admin, 'root')
  await call('DELETE', `${admin}/sessions/current`, undefined, adminLoggedOut.accessToken)
  const serviceKeys = await makeKeys(`${admin}/api-keys`, root, scopes)
  const publicKeys = (await call('GET', `${bingo.urls['api']}/.well-known/jwks.json`)) as unknown as { keys: { x: string; kid: string }[] }
  const altered = (token: string) => forgeries(token, publicKeys.keys)
  const never = { garbage: 'garbage', 'an API key that nobody has made': changed(person.keys.full, 6) }
  const invalid = {
    api: {
      ...never,
      ...altered(person.token),
      'an access token that is expired': expiring.api,
      'the access token of a session that is over': loggedOut.accessToken,
      'the access token of a user who is suspended': suspended.token,
      'the API key of a user who is suspended': suspended.keys.full,
      'the access token of a user who is deleted': deleted.token,
      'the API key of a user who is deleted': deleted.keys.full,
      'a refresh token': person.refreshToken,
      'the access token of an administrator': root,
    },
    admin: {
      ...never,
      ...altered(root),
      'an access token that is expired': expiring.admin,
      'the access token of a session that is over': adminLoggedOut.accessToken,
      'a refresh token': rootRefresh,
      'the access token of a user': person.token,
      'the API key of a user': person.keys.full,
      'the API key of a service': serviceKeys.full,
    },
  }
  await Bun.sleep(Math.max(...Object.values(expiring).map(expiresAtMs)) + skewMs + 1000 - Date.now())
  await hasty.stop()
  const close = async () => void (await bingo.stop())
  return {
    bingo,
    api,
    admin,
    rpc: bingo.rpc,
    database,
    root,
    unproven,
    newPerson,
    serviceKeys,
    powerless,
    only,
    allBut,
    invalid,
    close,
  }
}

async function makeKeys(url: string, token: string, may: readonly ScopeName[], more: object = {}): Promise<Keys> {
  const make = (name: string, scopes: readonly ScopeName[]) => call('POST', url, { ...more, name, scopes }, token)
  const full = await make('full', may)
  const allBut: Record<string, string> = {}
  for (const scope of may)
    allBut[scope] = (
      await make(
        scope,
        may.filter(each => each !== scope),
      )
    ).key
  return { full: full.key, allBut, id: full.id }
}

const decoded = (part = '') => JSON.parse(Buffer.from(part, 'base64url').toString()) as Record<string, unknown>
const encoded = (value: object) => Buffer.from(JSON.stringify(value)).toString('base64url')
const expiresAtMs = (token: string) => Number(decoded(token.split('.')[1])['exp']) * 1000
const changed = (text: string, at: number) => `${text.slice(0, at)}${text[at] === 'A' ? 'B' : 'A'}${text.slice(at + 1)}`

/** As if the log-in had been long ago. Nobody has asked for it yet, so no process remembers when it was. */
function agedProof(database: string, token: string): void {
  const db = new Database(database)
  try {
    const { changes } = db.run('update "session" set "provenAt" = "provenAt" - 3600000 where "id" = ?', [
      String(decoded(token.split('.')[1])['sid']),
    ])
    if (changes !== 1) throw new Error('there is no such session')
  } finally {
    db.close()
  }
}

/** @returns the id of a link of a chat account, as /link makes it */
export function linkChatAccount(database: string, kind: 'user' | 'admin', accountId: string): string {
  const db = new Database(database)
  try {
    const [id, now] = [Bun.randomUUIDv7(), Date.now()]
    const columns = ['id', 'platform', 'senderId', 'senderName', 'accountKind', 'accountId', 'provenAt', 'codeHash']
    const stamps = ['createdAt', 'updatedAt', 'version']
    db.run('pragma busy_timeout = 5000')
    db.run(
      `insert into "chatLink" (${[...columns, ...stamps].map(name => `"${name}"`).join(', ')}) values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`,
      [id, 'telegram', id, 'Ada', kind, accountId, now, '', now, now, 1],
    )
    return id
  } finally {
    db.close()
  }
}

/** What somebody could make of a token without the private key. */
function forgeries(token: string, keys: readonly { x: string; kid: string }[]): Record<string, string> {
  const [header = '', payload = '', signature = ''] = token.split('.')
  const claims = decoded(payload)
  const later = encoded({ ...claims, exp: Number(claims['exp']) + 1_000_000 })
  const hmac = encoded({ ...decoded(header), alg: 'HS256' })
  const own = keys.find(({ kid }) => kid === decoded(header)['kid'])
  const secret = Buffer.from(own?.x ?? '', 'base64url')
  return {
    'an access token with another signature': `${header}.${payload}.${changed(signature, 10)}`,
    'an access token that says it is good for longer': `${header}.${later}.${signature}`,
    'an access token of another account': `${header}.${encoded({ ...claims, sub: crypto.randomUUID() })}.${signature}`,
    'an access token without a signature': `${header}.${payload}.`,
    'an access token with the algorithm none': `${encoded({ ...decoded(header), alg: 'none' })}.${payload}.`,
    'an access token signed with the public key': `${hmac}.${payload}.${createHmac('sha256', secret).update(`${hmac}.${payload}`).digest('base64url')}`,
  }
}
