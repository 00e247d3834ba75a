import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { toTimestamp } from '@/core/clock'
import { type ScopeName, scopes } from '@/core/scopes'
import { adminRoleStore } from '@/modules/admin-role/store'
import { makeKey } from '@/modules/api-key/key'
import { apiKeyStore } from '@/modules/api-key/store'
import type { Backing } from './backings'
import { runBingo, temporaryFolder } from './bingo'
import { openAgain } from './conformance/fixture'
import { type Answer, newSignUp, send, type UserView } from './http-client'

/** Somebody who has logged in, or a program with a key: sends requests as `send` does, with its credential. */
export interface Client {
  send<T = Record<string, unknown>>(method: string, url: string, body?: unknown, headers?: Record<string, string>): Promise<Answer<T>>
  credential: string
  /** For what sends requests by itself. */
  headers: { authorization: string }
}

export interface UserClient extends Client {
  user: UserView
  password: string
  refreshToken: string
}

export function clientWith(credential: string): Client {
  const headers = { authorization: `Bearer ${credential}` }
  return { credential, headers, send: (method, url, body, more = {}) => send(method, url, body, { ...headers, ...more }) }
}

type Headers = Record<string, string>
interface LoggedIn extends Record<string, unknown> {
  accessToken: string
  refreshToken: string
}

/** @param origin of the API server: `http://127.0.0.1:41234` */
export async function logIn(origin: string, login: string, password: string, headers: Headers = {}): Promise<LoggedIn> {
  return expected(201, await send<LoggedIn>('POST', `${origin}/api/v1/sessions`, { login, password }, headers))
}

/** Signs up and logs in. @param headers of both requests, such as say from which address they come */
export async function newUser(origin: string, over: Record<string, unknown> = {}, headers: Headers = {}): Promise<UserClient> {
  const input = newSignUp(over)
  const user = expected(201, await send<UserView>('POST', `${origin}/api/v1/users`, input, headers))
  const { accessToken, refreshToken } = await logIn(origin, input.username, input.password, headers)
  return { ...clientWith(accessToken), user, password: input.password, refreshToken }
}

export interface AdministratorClient extends Client {
  username: string
}

export const administratorPassword = 'only an operator knows this'

/**
 * Makes an administrator on the command line, as an operator does, and logs in.
 * @param origin of the admin server
 * @param env of the executable that serves there
 * @param permissions all when absent
 */
export async function newAdministrator(
  origin: string,
  env: Record<string, string> = {},
  permissions?: readonly string[],
  headers: Headers = {},
): Promise<AdministratorClient> {
  const username = `a${crypto.randomUUID().slice(0, 8)}`
  using folder = temporaryFolder()
  const file = join(folder.path, 'password')
  writeFileSync(file, `${administratorPassword}\n`)
  const may = permissions ? ['--roles', await newRole({ url: env['BINGO_DATABASE_URL'] ?? '' }, permissions)] : []
  const { code, stderr } = await runBingo(['admin', 'create', '--username', username, '--password-file', file, ...may], { env })
  if (code !== 0) throw new Error(`no administrator was made: ${stderr}`)
  const { accessToken } = expected(
    201,
    await send<LoggedIn>('POST', `${origin}/admin/v1/sessions`, { username, password: administratorPassword }, headers),
  )
  return { ...clientWith(accessToken), username }
}

/**
 * A role with these permissions, which an administrator made before.
 * @param backing whose tables are there already
 * @returns its name
 */
export async function newRole(backing: Pick<Backing, 'url'>, permissions: readonly string[]): Promise<string> {
  const db = await openAgain(backing)
  const { name } = await adminRoleStore(db).create({ name: `r${crypto.randomUUID()}`, summary: '', permissions: [...permissions] })
  await db.close()
  return name
}

const keyAgeMaxMs = 3_600_000

/**
 * A key of a service, which an administrator made before: it does with all users what it likes, unless other scopes are said.
 * @param backing whose tables are there already
 */
export async function newServiceKey(backing: Pick<Backing, 'url'>, granted: readonly ScopeName[] = scopes): Promise<Client> {
  const { key, keyHash, start } = makeKey()
  const db = await openAgain(backing)
  const expiresAt = toTimestamp(Date.now() + keyAgeMaxMs)
  await apiKeyStore(db).create({ name: 'a service', scopes: [...granted], keyHash, start, expiresAt })
  await db.close()
  return clientWith(key)
}

/** Of a file of SQLite in this folder. */
export const backingIn = (folder: string): { url: string } => ({ url: `sqlite:${folder}/bingo.db` })

function expected<T>(status: number, answer: Answer<T>): T {
  if (answer.status !== status) throw new Error(`answered ${answer.status}: ${JSON.stringify(answer.body)}`)
  return answer.body
}
