import { expect, test } from 'bun:test'
import { roles } from '@roles'
import { documentOf, unopened } from '@/http-faces'

/** What the documents of the servers say that no route says alone. */
async function operationsOf(name: string) {
  const role = roles.find(role => role.name === name)
  const document = role && (await documentOf(role, unopened, 'test'))
  const operations = Object.values(document?.paths ?? {}).flatMap(item => Object.values(item))
  expect(operations.length).toBeGreaterThan(10)
  const schemes = (document?.['components'] as { securitySchemes: Record<string, object> } | undefined)?.securitySchemes ?? {}
  return { operations, schemes, of: (id: string) => operations.find(({ operationId }) => operationId === id) }
}

test('a body that may be left out is not said to be required, and every other is', async () => {
  const { operations, of } = await operationsOf('admin')
  expect(of('refreshSession')?.requestBody?.required).toBe(false)
  const optional = operations.filter(({ requestBody }) => requestBody && requestBody.required !== true)
  expect(optional.map(({ operationId }) => operationId)).toEqual(['refreshSession', 'mendQueue', 'retryTask', 'cancelTask'])
  expect((await operationsOf('api')).of('refreshSession')?.requestBody?.required).toBe(true)
})

test('where sessions of browsers are taken, their cookie is said beside the token, and what keeps pages of others from using it', async () => {
  const [admin, api] = [await operationsOf('admin'), await operationsOf('api')]
  expect(admin.schemes['sessionCookie']).toMatchObject({ type: 'apiKey', in: 'cookie', name: '__Host-bingo-access' })
  expect(admin.of('listUsers')?.security).toEqual([{ accessToken: ['users:read'] }, { sessionCookie: ['users:read'] }])
  const { description, responses } = admin.of('logIn') ?? {}
  for (const said of ['transport', 'Set-Cookie', 'Sec-Fetch-Site', 'Origin', 'PermissionDenied.CrossOrigin'])
    expect(description).toContain(said)
  expect(responses?.['201']?.headers).toContainKey('Set-Cookie')
  expect(api.schemes).not.toContainKey('sessionCookie')
})

test('the headers that clients go by are said of the answers that have them', async () => {
  const { operations, of } = await operationsOf('admin')
  const headers = (id: string, status: string) => Object.keys(of(id)?.responses[status]?.headers ?? {})
  for (const id of ['createUser', 'createAdmin', 'createRole', 'createSchedule'])
    expect(headers(id, '201')).toContainValues(['ETag', 'Location'])
  for (const id of ['getUser', 'suspendUser', 'restoreAdmin', 'changeRole', 'changeSettings']) expect(headers(id, '200')).toContain('ETag')
  for (const id of ['exportAuditEvents', 'getUserExportContent']) expect(headers(id, '200')).toContain('Content-Disposition')
  expect(headers('getUser', '404')).not.toContain('ETag')
  // What takes an If-Match says by something where the tag is from.
  const conditional = operations.filter(({ parameters }) => parameters?.some(({ name }) => name === 'if-match'))
  expect(conditional.length).toBeGreaterThan(5)
  for (const { operationId, responses } of conditional)
    if (responses['200'])
      expect([operationId, Object.keys(responses['200'].headers ?? {})]).toEqual([operationId, expect.arrayContaining(['ETag'])])
})
