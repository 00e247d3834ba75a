import { afterAll, beforeAll, expect, test } from 'bun:test'
import SwaggerParser from '@apidevtools/swagger-parser'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { openBrowser } from '../browser'
import { backingIn, type Client, newAdministrator, newServiceKey } from '../clients'

const folder = temporaryFolder()
const env = { BINGO_DATABASE_URL: backingIn(folder.path).url }
let bingo: RunningBingo
let operator: Client
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api,admin', env })
  operator = await newAdministrator(bingo.urls['admin'] ?? '', env)
})
afterAll(async () => {
  await bingo.stop()
  folder[Symbol.dispose]()
})

interface Operation {
  operationId: string
  summary: string
  description: string
  tags: string[]
  security: unknown[]
  parameters?: { name: string; in: string }[]
  'x-access': string[]
  requestBody?: { content: Record<string, { schema: { additionalProperties?: boolean } }> }
  responses: Record<string, { description: string; content?: Record<string, unknown> }>
}
interface Document {
  openapi: string
  paths: Record<string, Record<string, Operation>>
  components: { securitySchemes: object }
}
const document = async (role: string) => (await operator.send<Document>('GET', `${bingo.urls[role]}/swagger/json`)).body

for (const role of ['api', 'admin']) {
  test(`the document of the ${role} server is valid OpenAPI 3.1`, async () => {
    const shown = await document(role)
    expect(shown.openapi).toBe('3.1.0')
    await SwaggerParser.validate(structuredClone(shown) as never)
  })
}

test('the validator finds what @elysiajs/swagger leaves out', async () => {
  const shown = await document('api')
  const operation = shown.paths['/api/v1/users']?.['post'] as Operation
  Reflect.deleteProperty(operation.responses['201'] as object, 'description')
  await expect(SwaggerParser.validate(shown as never)).rejects.toThrow()
})

test('every operation says its name, summary, tag, security, access and all its answers', async () => {
  const { paths } = await document('api')
  const operations = Object.values(paths).flatMap(item => Object.values(item))
  const names = operations.map(({ operationId }) => operationId)
  expect(names).toEqual(expect.arrayContaining(['changeUser', 'deleteUser', 'getUser', 'listUsers', 'logIn', 'signUp']))
  expect(new Set(names).size).toBe(names.length)
  for (const { operationId, summary, tags, security, responses, ...operation } of operations) {
    expect([operationId, summary, tags]).toEqual([operationId, expect.any(String), [expect.any(String)]])
    expect([operationId, security.length > 0]).toEqual([operationId, !operation['x-access'].includes('everyone')])
    expect(operation['x-access'].length).toBeGreaterThan(0)
    for (const status of ['400', '406', '500', '503']) expect(Object.keys(responses)).toContain(status)
    if (operation.requestBody) for (const status of ['413', '415', '422']) expect(Object.keys(responses)).toContain(status)
    for (const [status, { description, content = {} }] of Object.entries(responses)) {
      expect(description).not.toBe('')
      const type = status === '204' ? [] : status < '400' ? ['application/json'] : ['application/problem+json']
      expect([operationId, status, Object.keys(content)]).toEqual([operationId, status, type])
    }
  }
})

test('what changes something takes an Idempotency-Key, but for what answers with a secret', async () => {
  const { paths } = await document('api')
  const taking = Object.values(paths).flatMap(item =>
    Object.entries(item).flatMap(([method, { operationId, parameters = [] }]) => {
      const isThere = parameters.some(({ name }) => name === 'Idempotency-Key')
      return isThere === ['post', 'patch'].includes(method) ? [] : [operationId]
    }),
  )
  expect(taking.toSorted()).toEqual(['createApiKey', 'createChatLinkCode', 'logIn', 'refreshSession'])
})

test('bodies are documented as JSON only, and refuse unknown fields', async () => {
  const { paths } = await document('api')
  const signUp = paths['/api/v1/users']?.['post']?.requestBody
  const patch = paths['/api/v1/users/{id}']?.['patch']?.requestBody
  expect(Object.keys(signUp?.content ?? {})).toEqual(['application/json'])
  expect(Object.keys(patch?.content ?? {})).toEqual(['application/json', 'application/merge-patch+json'])
  for (const body of [signUp, patch]) expect(body?.content['application/json']?.schema.additionalProperties).toBe(false)
})

test('a password is nowhere in what the document says is returned', async () => {
  const { paths } = await document('api')
  for (const item of Object.values(paths))
    for (const { responses } of Object.values(item)) expect(JSON.stringify(responses)).not.toMatch(/password/i)
})

test('every operation says what it needs: nothing, a token, or a key with its scope', async () => {
  const [api, admin] = [await document('api'), await document('admin')]
  const security = (shown: Document, path: string, method: string) => shown.paths[path]?.[method]?.security
  expect(security(api, '/api/v1/users', 'post')).toEqual([])
  expect(security(api, '/api/v1/sessions', 'get')).toEqual([{ accessToken: [] }])
  expect(security(api, '/api/v1/me', 'get')).toEqual([{ accessToken: [] }, { apiKey: ['users:read'] }])
  expect(security(api, '/api/v1/users', 'get')).toEqual([{ serviceKey: ['users:read'] }])
  expect(security(api, '/api/v1/users/{id}', 'get')).toEqual([{ accessToken: [] }, { apiKey: ['users:read'] }])
  expect(security(admin, '/admin/v1/schedules', 'get')).toEqual([
    { accessToken: ['schedules:read'] },
    { sessionCookie: ['schedules:read'] },
  ])
  expect(api.paths['/api/v1/users']?.['get']?.description).toEndWith('Access: serviceKey(users:read).')
  // What no route of it takes is in no document.
  const schemes = [api, admin].map(({ components }) => Object.keys(components.securitySchemes))
  expect(schemes).toEqual([
    ['accessToken', 'apiKey', 'serviceKey'],
    ['accessToken', 'sessionCookie'],
  ])
  for (const { paths } of [api, admin])
    for (const { security, 'x-access': access, responses } of Object.values(paths).flatMap(item => Object.values(item))) {
      const isOpen = access.includes('everyone')
      expect([access, security.length === 0]).toEqual([access, isOpen])
      if (!isOpen) expect(Object.keys(responses)).toEqual(expect.arrayContaining(['401', '403']))
    }
})

test('in a browser, the admin server shows its document for the token of an administrator alone, and tries out with it', async () => {
  const browser = await openBrowser()
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    const requested = new Set<string>()
    page.on('request', request => void requested.add(new URL(request.url()).origin))
    await page.goto(`${bingo.urls['admin']}/swagger`)
    const token = page.getByLabel('Access token of an administrator')
    const show = page.getByRole('button', { name: 'Show' })
    for (const [wrong, said] of [
      ['forged', 'is not valid'],
      ['no\u20ack', 'or the token is none'],
    ] as const) {
      await token.fill(wrong)
      await show.click()
      await page.getByRole('alert').filter({ hasText: said }).waitFor()
    }
    expect(await page.locator('.opblock').count()).toBe(0)
    await token.fill(operator.credential)
    await show.click()
    const operation = page.locator('#operations-Schedules-listSchedules')
    await operation.locator('.opblock-summary-control').click()
    await operation.getByRole('button', { name: 'Try it out' }).click()
    await operation.getByRole('button', { name: 'Execute' }).click()
    const status = operation.locator('.live-responses-table .response-col_status').last()
    await status.waitFor()
    expect((await status.textContent())?.trim() ?? '').toStartWith('200')
    expect([...requested]).toEqual([bingo.urls['admin'] as string])
    expect(await page.evaluate('Object.keys(localStorage).length + Object.keys(sessionStorage).length')).toBe(0)
  } finally {
    await browser.close()
  }
}, 90_000)

test('in a browser, a person opens Swagger, tries "Sign up" out, and the user is there; nothing leaves the host', async () => {
  const browser = await openBrowser()
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    const requested = new Set<string>()
    const complaints: string[] = []
    page.on('request', request => void requested.add(new URL(request.url()).origin))
    page.on('console', message => void (message.type() === 'error' && complaints.push(message.text())))
    page.on('pageerror', error => void complaints.push(error.message))
    await page.goto(`${bingo.urls['api']}/swagger`)

    const operation = page.locator('#operations-Users-signUp')
    await operation.locator('.opblock-summary-control').click()
    await operation.getByRole('button', { name: 'Try it out' }).click()
    const body = { username: 'browser', email: 'browser@example.com', password: 'correct horse battery' }
    await operation.locator('textarea.body-param__text').fill(JSON.stringify(body))
    await operation.getByRole('button', { name: 'Execute' }).click()
    const status = operation.locator('.live-responses-table .response-col_status').last()
    await status.waitFor()
    expect((await status.textContent())?.trim() ?? '').toStartWith('201')

    const service = await newServiceKey(backingIn(folder.path))
    const { body: list } = await service.send<{ items: { username: string }[] }>('GET', `${bingo.urls['api']}/api/v1/users`)
    expect(list.items.map(({ username }) => username)).toEqual(['browser'])
    expect([...requested]).toEqual([bingo.urls['api'] as string])
    expect(complaints).toEqual([])
  } finally {
    await browser.close()
  }
}, 90_000)
