import { expect } from 'bun:test'
import { roles } from '@roles'
import { documentOf, unopened } from '@/http-faces'
import { newUser, type UserClient } from './clients'
import type { Client } from './clients'
import { scripts } from './corpora'
import type { ApiDocument, JsonSchema } from './hostile/document'

/** Where the servers are, and who asks them. */
export interface Asked {
  /** Of the servers: `http://127.0.0.1:41234`. */
  api: string
  admin: string
  root: Client
  person: UserClient
}

let count = 0
const unique = (prefix: string) => `${prefix}${++count}`
const inAnHour = () => new Date(Date.now() + 3_600_000).toISOString()
const noUser = crypto.randomUUID()

/** What an administrator asks, which must succeed. */
export const askingAs =
  (client: Client, base: string) =>
  async <T = Record<string, string>>(method: string, path: string, body?: unknown): Promise<T> => {
    const answer = await client.send<T & Record<string, unknown>>(method, `${base}${path}`, body)
    if (answer.status >= 300) throw new Error(`${method} ${path} was answered ${answer.status}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }

/** Fields that take any text, as `operation /pointer`, and how it gets there. */
export function fieldsOfAnyText({ api, admin, root, person }: Asked): Record<string, (text: string) => Promise<unknown>> {
  const asRoot = askingAs(root, `${admin}/admin/v1`)
  const asUser = askingAs(person, `${api}/api/v1`)
  return {
    'signUp /nickname': text => newUser(api, { nickname: text }),
    'changeUser /nickname': text => asUser('PATCH', `/users/${person.user.id}`, { nickname: text }),
    // Of a user, who has only so many.
    'createApiKey /name': async text => {
      const { id } = await asUser('POST', '/me/api-keys', { name: text, scopes: ['users:read'], currentPassword: person.password })
      expect(await asUser('GET', `/me/api-keys/${id}`)).toMatchObject({ name: text })
      await asUser('DELETE', `/me/api-keys/${id}`)
    },
    'createUser /nickname': text =>
      asRoot('POST', '/users', { username: unique('made'), email: `${unique('made')}@example.com`, nickname: text }),
    'createServiceKey /name': text => asRoot('POST', '/api-keys', { name: text, scopes: ['users:read'] }),
    'createRole /summary': text => asRoot('POST', '/roles', { name: unique('role'), summary: text, permissions: [] }),
    'changeRole /summary': async text => {
      const { id } = await asRoot('POST', '/roles', { name: unique('role'), permissions: [] })
      await asRoot('PATCH', `/roles/${id}`, { summary: text })
    },
    'createAnnouncement /text': async text => {
      const { id } = await asRoot('POST', '/announcements', { topic: 'news', text, at: inAnHour() })
      expect(await asRoot('POST', `/announcements/${id}/cancel`)).toMatchObject({ text })
    },
    'changeSettings /maintenance/message': text => asRoot('PATCH', '/settings', { maintenance: { isOn: false, message: text } }),
    'enqueueTask /payload': text =>
      asRoot('POST', '/tasks', { task: 'email.send', payload: { userId: noUser, purpose: 'welcome', sealedTo: text }, at: inAnHour() }),
    // What was asked for is in the audit log, whether there was such a task or not.
    ...Object.fromEntries(
      ['retry', 'cancel', 'delete', 'move'].map(verb => [
        `${verb}Tasks /filter/error`,
        (text: string) =>
          asRoot('POST', `/tasks/${verb}`, { queue: 'mail', filter: { error: text }, ...(verb === 'move' && { to: 'default' }) }),
      ]),
    ),
  }
}

/** Fields that take any text, of which none is stored as it is. */
export const notStored: Record<string, RegExp> = {
  'is a secret, and kept as what nobody can read': /\/(password|currentPassword|code|refreshToken)$/,
  'is looked for, and refused when it is not there': /\/(login|username|task|queue|to|pageToken|timeZone|cron)$/,
  'is refused unless its task takes it, of which none takes any text': /Schedule \/payload$/,
  'is read as an instant': /\/(at|deadline)$/,
  'is refused unless it is of plain letters, or kept as a digest': /enqueueTask \/(id|key|group|uniqueKey)$/,
}

/** Strings of a body that may be anything, as `operation /pointer`. */
export async function freeFields(): Promise<string[]> {
  const found: string[] = []
  for (const face of ['api', 'admin'] as const) {
    const role = roles.find(({ serves }) => serves[0] === face)
    if (!role) throw new Error(`no role serves ${face}`)
    const { paths, components } = (await documentOf(role, unopened, 'test')) as unknown as ApiDocument
    const walk = (schema: JsonSchema | undefined, at: string): void => {
      if (!schema) return
      if (schema.$ref) walk(components.schemas[schema.$ref.split('/').at(-1) ?? ''], at)
      for (const each of schema.anyOf ?? []) walk(each, at)
      const isAny = schema.type === undefined && !schema.anyOf && !schema.$ref && !('const' in schema)
      const isText = schema.type === 'string' && !schema.enum && !schema.format
      const takesAll = schema.pattern === undefined || new RegExp(schema.pattern, 'u').test(scripts[0] ?? '')
      if (isAny || (isText && takesAll)) found.push(at)
      for (const [name, inner] of Object.entries(schema.properties ?? {})) walk(inner, `${at}/${name}`)
      walk(schema.items, `${at}/*`)
    }
    for (const { operationId, requestBody } of Object.values(paths).flatMap(item => Object.values(item)))
      walk(requestBody?.content['application/json']?.schema, `${operationId} `)
  }
  return found
}
