import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Browser, Page } from 'playwright-core'
import { type RunningBingo, startBingo, temporaryFolder } from '../bingo'
import { openBrowser } from '../browser'
import { administratorPassword as password, backingIn, newAdministrator, newUser } from '../clients'
import { until } from '../conformance/cache-fixture'

/** What pages of others can do with the session that an administrator has in a real browser: see docs/security.md. */
const folder = temporaryFolder()
const env = { BINGO_DATABASE_URL: backingIn(folder.path).url }
let bingo: RunningBingo
let browser: Browser
let admin: string
/** Serves the page of an attacker, on another port: other origins of the same site, and by another name of this machine of another site. */
const attacker = Bun.serve({
  port: 0,
  hostname: 'localhost',
  fetch: () => new Response('<!doctype html><title>You have won</title>', { headers: { 'content-type': 'text/html' } }),
})
beforeAll(async () => {
  bingo = await startBingo({ roles: 'api,admin', env })
  admin = (bingo.urls['admin'] ?? '').replace('127.0.0.1', 'localhost')
  browser = await openBrowser()
}, 60_000)
afterAll(async () => {
  await browser.close()
  await attacker.stop(true)
  expect(await bingo.stop()).toBe(0)
  folder[Symbol.dispose]()
})

interface Attempt {
  method: string
  path: string
  body?: string
  type?: string
}

/** As a script of the page sends it, with cookies. @returns the status, or that the browser did not let it through */
const fetched = (page: Page, { method, path, body, type }: Attempt): Promise<number | string> =>
  page.evaluate(
    async ({ url, method, body, type }) => {
      const headers = type === undefined ? {} : { 'content-type': type }
      const given = body === undefined ? {} : { body }
      return fetch(url, { method, credentials: 'include', headers, ...given }).then(
        ({ status }) => status,
        () => 'not let through',
      )
    },
    { url: `${admin}/admin/v1${path}`, method, body, type },
  )

/** As a form of the page sends it, which no preflight comes before. */
async function submitted(page: Page, path: string): Promise<void> {
  const answered = page.waitForResponse(response => response.url().endsWith(path))
  await page.setContent(`<form method="post" enctype="text/plain" action="${admin}/admin/v1${path}"><button>Win</button></form>`)
  await page.getByRole('button', { name: 'Win' }).click()
  await answered
}

test('in a browser, a page of another origin changes nothing with the session of an administrator, whose own pages do', async () => {
  const { username } = await newAdministrator(bingo.urls['admin'] ?? '', env)
  const { user } = await newUser(bingo.urls['api'] ?? '')
  const context = await browser.newContext()
  const own = await context.newPage()
  await own.goto(`${admin}/swagger`)
  const logIn = { username, password, transport: 'cookie' }
  expect(await fetched(own, { method: 'POST', path: '/sessions', body: JSON.stringify(logIn), type: 'application/json' })).toBe(201)
  const cookies = await context.cookies()
  expect(cookies.map(({ name, httpOnly, secure, sameSite, path }) => [name, httpOnly, secure, sameSite, path])).toEqual(
    ['access', 'refresh'].map(kind => [`__Host-bingo-${kind}`, true, true, 'Strict', '/']),
  )
  expect(await own.evaluate('document.cookie')).toBe('')
  expect(await fetched(own, { method: 'GET', path: '/me' })).toBe(200)

  const [suspend, status] = [
    `/users/${user.id}/suspend`,
    async () => (await own.evaluate(statusOf, `${admin}/admin/v1/users/${user.id}`)) as string,
  ]
  const denied = () => bingo.log.filter(({ msg }) => msg === 'access denied')
  const { port } = attacker
  for (const [host, isSameSite] of [
    ['localhost', true],
    ['127.0.0.1', false],
  ] as const) {
    const page = await context.newPage()
    // The attacker's page has another port; by its other name it is of another site, too.
    await page.route(`http://127.0.0.1:${port}/`, route => route.fulfill({ contentType: 'text/html', body: '<!doctype html>' }))
    await page.goto(`http://${host}:${port}/`)
    const before = denied().length
    expect(await fetched(page, { method: 'POST', path: suspend })).toBe('not let through')
    expect(await fetched(page, { method: 'POST', path: '/sessions/refresh' })).toBe('not let through')
    expect(await fetched(page, { method: 'DELETE', path: '/sessions/current' })).toBe('not let through')
    expect(await fetched(page, { method: 'POST', path: '/sessions', body: JSON.stringify(logIn), type: 'text/plain' })).toBe(
      'not let through',
    )
    await submitted(page, suspend)
    expect(await status()).toBe('active')
    // Browsers send cookies to other ports of their site, so it was the server that refused those; to other sites they send none.
    await until(async () => denied().length > before)
    const codes = denied()
      .slice(before)
      .map(({ code }) => code)
    expect([host, codes.includes('PermissionDenied.CrossOrigin')]).toEqual([host, isSameSite])
    await page.close()
  }
  expect(await fetched(own, { method: 'POST', path: suspend })).toBe(200)
  expect(await status()).toBe('suspended')
  expect(await fetched(own, { method: 'POST', path: '/sessions/refresh' })).toBe(200)
  expect(await fetched(own, { method: 'DELETE', path: '/sessions/current' })).toBe(204)
  expect([await fetched(own, { method: 'GET', path: '/me' }), await context.cookies()]).toEqual([401, []])
}, 90_000)

const statusOf = async (url: string) => ((await (await fetch(url)).json()) as { status: string }).status
