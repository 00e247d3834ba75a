import { afterAll, beforeAll, expect, test } from 'bun:test'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { openBrowser } from '../browser'
import { type AdministratorClient, administratorPassword, backingIn, newAdministrator, newUser } from '../clients'
import { until } from '../conformance/cache-fixture'
import { escapes, formulas, scripts } from '../corpora'
import { askingAs, fieldsOfAnyText, freeFields, notStored } from '../texts-kept'

/** What somebody writes to harm whoever looks at it: stored in every field that takes it, and looked at in every way that there is. */
const folder = temporaryFolder()
const env = { BINGO_DATABASE_URL: backingIn(folder.path).url, BINGO_SESSION_PER_ACCOUNT_MAX: '1000' }
/** In this order, so that scripts are what lists of the newest begin with. */
const corpus = [...formulas, ...scripts]
let bingo: RunningBingo
let root: AdministratorClient
let admin: string
let asRoot: ReturnType<typeof askingAs>
let places: ReturnType<typeof fieldsOfAnyText>
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api,admin,scheduler', env })
  admin = `${bingo.urls['admin']}/admin/v1`
  root = await newAdministrator(bingo.urls['admin'] ?? '', env)
  asRoot = askingAs(root, admin)
  const servers = { api: bingo.urls['api'] ?? '', admin: bingo.urls['admin'] ?? '' }
  places = fieldsOfAnyText({ ...servers, root, person: await newUser(servers.api) })
}, 60_000)
afterAll(async () => {
  expect(await bingo.stop()).toBe(0)
  folder[Symbol.dispose]()
})

test('every field that takes any text is one that is tried, or stores nothing as it is', async () => {
  const fields = await freeFields()
  const reasons = Object.values(notStored)
  expect(fields.length).toBeGreaterThan(20)
  expect([...new Set(fields)].filter(field => !Object.hasOwn(places, field) && !reasons.some(reason => reason.test(field)))).toEqual([])
  expect(Object.keys(places).filter(field => !fields.includes(field))).toEqual([])
})

/** How much of a text a field keeps; what is too long for one is stored in the others. */
const longest: Record<string, number> = { nickname: 64, name: 64 }
const fits = (place: string, text: string) => text.length <= (longest[place.split('/').at(-1) ?? ''] ?? 200)

test('is stored in every field as it is', async () => {
  for (const [place, put] of Object.entries(places)) for (const text of corpus) if (fits(place, text)) await put(text)
  // Nobody asks whether a name or an address is a formula.
  for (const [username, email] of [
    ['-1-1', '=1+1@example.com'],
    ['--cmd', '+1@example.com'],
  ])
    await asRoot('POST', '/users', { username, email })
  for (const text of corpus.filter(each => /^[\u0020-\u007e]*$/.test(each)))
    await root.send('POST', `${admin}/sessions`, { username: root.username, password: administratorPassword }, { 'user-agent': text })
  for (const [i, text] of escapes.entries()) await asRoot('POST', '/roles', { name: `escape${i}`, summary: text, permissions: [] })
}, 240_000)

const headersOf = ({ headers }: Response) => ({
  nosniff: headers.get('x-content-type-options'),
  csp: headers.get('content-security-policy'),
})
const safe = { nosniff: 'nosniff', csp: "default-src 'none'; frame-ancestors 'none'" }
const get = (url: string) => fetch(url, { headers: root.headers })
const stringsIn = (value: unknown): string[] =>
  typeof value === 'string'
    ? [value]
    : typeof value === 'object' && value !== null
      ? Object.entries(value).flatMap(([name, inner]) => [name, ...stringsIn(inner)])
      : []

/** Every page of a list. */
async function everything(path: string): Promise<string[]> {
  const found: string[] = []
  let pageToken = ''
  do {
    const response = await get(`${admin}${path}${path.includes('?') ? '&' : '?'}pageSize=100&pageToken=${pageToken}`)
    expect([path, headersOf(response), response.headers.get('content-type')]).toEqual([
      path,
      safe,
      expect.stringMatching(/^application\/json/),
    ])
    const body = (await response.json()) as { items: unknown[]; nextPageToken: string }
    found.push(...stringsIn(body.items))
    pageToken = body.nextPageToken
  } while (pageToken !== '')
  return found
}
const lists = ['/users', '/api-keys', '/roles', '/sessions', '/tasks?queue=mail&state=scheduled', '/audit-events']

test('comes back in JSON as it was written, which no browser takes for a page', async () => {
  for (const path of lists) {
    const found = new Set(await everything(path))
    const isWanted = (text: string) => path !== '/sessions' || /^[\u0020-\u007e]*$/.test(text)
    const limit = ['/users', '/api-keys'].includes(path) ? 64 : 200
    const wanted = corpus.filter(text => text.length <= limit && isWanted(text))
    // A header is without the blanks around it.
    expect([path, wanted.filter(text => !found.has(text) && !found.has(text.trim()))]).toEqual([path, []])
  }
}, 60_000)

test('is said again in problems as text, which no browser takes for a page', async () => {
  for (const text of corpus) {
    const encoded = encodeURIComponent(text)
    const asked = [
      get(`${admin}/roles/${encoded}`),
      get(`${admin}/${encoded}`),
      get(`${admin}/users?status=${encoded}`),
      get(`${admin}/users?${encoded}=1`),
      fetch(`${admin}/roles`, {
        method: 'POST',
        headers: { ...root.headers, 'content-type': 'application/json' },
        body: JSON.stringify({ [text]: text }),
      }),
      fetch(`${admin}/roles`, { method: 'POST', headers: { ...root.headers, 'content-type': 'application/json' }, body: text }),
    ]
    for (const response of await Promise.all(asked)) {
      expect([text, response.status, headersOf(response)]).toEqual([text, expect.any(Number), safe])
      expect(response.status).toBeWithin(400, 500)
      expect(response.headers.get('content-type')).toBe('application/problem+json')
      expect(await response.json()).toMatchObject({ status: response.status })
    }
  }
}, 60_000)

/** As RFC 4180 says, written for this test alone. */
function fieldsOf(csv: string): string[] {
  const fields: string[] = []
  for (let at = 0; at < csv.length; ) {
    let text = ''
    if (csv[at] === '"') {
      for (at++; csv[at] !== '"' || csv[at + 1] === '"'; at++) {
        if (csv[at] === '"') at++
        text += csv[at]
      }
      at++
    } else for (; at < csv.length && csv[at] !== ',' && csv[at] !== '\r'; at++) text += csv[at]
    fields.push(text)
    at += csv[at] === '\r' ? 2 : 1
  }
  return fields
}

/** What a spreadsheet would compute; blanks before it are cut by some. */
const isFormula = (field: string) => /^\s*[=+\-@\uff1d\uff0b\uff0d\uff20]/.test(field) && !/^-?\d+(\.\d+)?$/.test(field)

test('a formula that somebody has stored is text in every file that a spreadsheet opens, and exact in those for programs', async () => {
  expect([isFormula('=1+1'), isFormula("'=1+1"), isFormula(' @A'), isFormula('-1')]).toEqual([true, false, true, false])
  expect(fieldsOf('a,"b ""c"", d",,1\r\n"e\r\nf",2\r\n')).toEqual(['a', 'b "c", d', '', '1', 'e\r\nf', '2'])
  const files: Record<string, string> = {}
  for (const format of ['csv', 'ndjson'] as const) {
    const { id } = await asRoot('POST', '/user-exports', { format })
    await until(async () => (await asRoot('GET', `/user-exports/${id}`))['state'] === 'done', 30_000)
    for (const [name, path] of [
      [`users ${format}`, `/user-exports/${id}/content`],
      [`events ${format}`, `/audit-events/export?format=${format}`],
    ] as const) {
      const response = await get(`${admin}${path}`)
      expect([name, response.status, headersOf(response)]).toEqual([name, 200, safe])
      expect([name, response.headers.get('content-disposition')]).toEqual([name, expect.stringMatching(/^attachment; filename=/)])
      files[name] = await response.text()
    }
    const { stdout } = await runBingo(['audit', 'export', '--format', format], { env })
    files[`printed ${format}`] = stdout
  }
  for (const [name, text] of Object.entries(files)) {
    const isCsv = name.endsWith('csv')
    const found = isCsv
      ? fieldsOf(text)
      : text
          .trim()
          .split('\n')
          .flatMap(line => stringsIn(JSON.parse(line)))
    if (isCsv) expect([name, found.filter(isFormula)]).toEqual([name, []])
    const all = found.join('\n')
    const wanted = name.startsWith('users') ? corpus.filter(each => each.length <= 64) : []
    expect([name, wanted.filter(each => !all.includes(each))]).toEqual([name, []])
  }
}, 90_000)

test('a script that somebody has stored runs nowhere in a browser: not in Swagger, nor where an answer is opened as a page', async () => {
  const browser = await openBrowser()
  try {
    const page = await browser.newPage({ viewport: { width: 1280, height: 900 } })
    const happened: string[] = []
    const own = new Set([bingo.urls['admin'], (bingo.urls['admin'] ?? '').replace('127.0.0.1', 'localhost')])
    page.on('dialog', dialog => {
      happened.push(dialog.message())
      void dialog.dismiss()
    })
    page.on('request', request => {
      const { origin, protocol } = new URL(request.url())
      if (protocol.startsWith('http') && !own.has(origin)) happened.push(request.url())
    })
    const pwned = () => page.evaluate('typeof pwned')
    // It would be seen.
    await page.setContent(`<p>${scripts[7]}`)
    await page.waitForFunction('typeof pwned === "number"')

    await page.goto(`${bingo.urls['admin']}/swagger`)
    await page.getByLabel('Access token of an administrator').fill(root.credential)
    await page.getByRole('button', { name: 'Show' }).click()
    for (const [operationId, parameter, value] of [
      ['listRoles', 'pageSize', '60'],
      ['listUsers', 'pageSize', '30'],
      ['listAuditEvents', 'action', 'api-key.create'],
    ] as const) {
      const operation = page.locator(`[id$="-${operationId}"]`).first()
      await operation.locator('.opblock-summary-control').click()
      await operation.getByRole('button', { name: 'Try it out' }).click()
      await operation.getByPlaceholder(parameter, { exact: true }).fill(value)
      await operation.getByRole('button', { name: 'Execute' }).click()
      const answer = operation.locator('.live-responses-table .response-col_description').last()
      await answer.waitFor()
      expect([operationId, await answer.textContent()]).toEqual([operationId, expect.stringContaining('onerror=pwned=1')])
      expect([operationId, await pwned()]).toEqual([operationId, 'undefined'])
    }

    const origin = (bingo.urls['admin'] ?? '').replace('127.0.0.1', 'localhost')
    await page.goto(`${origin}/swagger`)
    const body = JSON.stringify({ username: root.username, password: administratorPassword, transport: 'cookie' })
    const logIn = `fetch('/admin/v1/sessions', { method: 'POST', headers: { 'content-type': 'application/json' }, body: ${JSON.stringify(body)} }).then(({ status }) => status)`
    expect(await page.evaluate(logIn)).toBe(201)
    for (const path of [
      ...lists.map(each => `${each}${each.includes('?') ? '&' : '?'}pageSize=100`),
      ...scripts.map(each => `/roles/${encodeURIComponent(each)}`),
    ]) {
      const shown = await page.goto(`${origin}/admin/v1${path}`).catch(() => undefined)
      // What is no page of any kind is kept as a file.
      if (shown) expect([path, await pwned(), await page.evaluate('document.scripts.length')]).toEqual([path, 'undefined', 0])
    }
    expect(happened).toEqual([])
  } finally {
    await browser.close()
  }
}, 240_000)

test('is obeyed by no terminal, be it in the log or in what commands print', async () => {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  const obeyed = /[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202a-\u202e]/
  expect(escapes.filter(each => obeyed.test(each))).toHaveLength(escapes.length)
  for (const words of [
    ['admin', 'list'],
    ['task', 'list'],
    ['task', 'list', '--state=scheduled'],
    ['schedule', 'list'],
    ['audit', 'verify'],
  ]) {
    const { stdout, stderr, code } = await runBingo(words, { env })
    expect([words, code, obeyed.exec(stdout + stderr)]).toEqual([words, 0, null])
  }
  // A line of the log that is none would have been refused by whoever reads it here.
  expect(bingo.log.length).toBeGreaterThan(corpus.length)
  expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
})
