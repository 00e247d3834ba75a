import { afterAll, beforeAll, expect, test } from 'bun:test'
import SwaggerParser from '@apidevtools/swagger-parser'
import { chromium } from 'playwright-core'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { send } from '../http-client'

const folder = temporaryFolder()
let bingo: RunningBingo
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api,admin', env: { BINGO_DATABASE_URL: `sqlite:${folder.path}/b.db` } })
})
afterAll(async () => {
  await bingo.stop()
  folder[Symbol.dispose]()
})

interface Operation {
  operationId: string
  summary: string
  tags: string[]
  security: unknown[]
  'x-access': string[]
  requestBody?: { content: Record<string, { schema: { additionalProperties?: boolean } }> }
  responses: Record<string, { description: string; content?: Record<string, unknown> }>
}
interface Document {
  openapi: string
  paths: Record<string, Record<string, Operation>>
}
const document = async (role: string) => (await send<Document>('GET', `${bingo.urls[role]}/swagger/json`)).body

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
  expect(operations.map(({ operationId }) => operationId).toSorted()).toEqual([
    'changeUser',
    'deleteUser',
    'getUser',
    'listUsers',
    'signUp',
  ])
  for (const { operationId, summary, tags, security, responses, ...operation } of operations) {
    expect([operationId, summary, tags]).toEqual([operationId, expect.any(String), ['Users']])
    expect(security).toBeArray()
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

test('in a browser, a person opens Swagger, tries "Sign up" out, and the user is there; nothing leaves the host', async () => {
  const browser = await chromium.launch({
    executablePath: chromiumPath(),
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  })
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

    const { body: list } = await send<{ items: { username: string }[] }>('GET', `${bingo.urls['api']}/api/v1/users`)
    expect(list.items.map(({ username }) => username)).toEqual(['browser'])
    expect([...requested]).toEqual([bingo.urls['api'] as string])
    expect(complaints).toEqual([])
  } finally {
    await browser.close()
  }
}, 30_000)

function chromiumPath(): string {
  const found = Bun.which('chromium') ?? Bun.which('google-chrome')
  if (!found) throw new Error('Chromium is not on this machine; on Debian: apt-get install chromium')
  return found
}
