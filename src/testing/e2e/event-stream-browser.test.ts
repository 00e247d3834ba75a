import { expect, test } from 'bun:test'
import { startBingo, temporaryFolder } from '../bingo'
import { openBrowser } from '../browser'
import { administratorPassword as password, backingIn, newAdministrator } from '../clients'
import { until } from '../conformance/cache-fixture'

/** A page with the EventSource of a real browser, and the cookies of a session. */

interface Seen {
  types: string[]
  names: string[]
  /** As EventSource has it: 0 while it connects, 1 while it is open, 2 when it does not try again. */
  state: number
}

/** What of a browser's the page uses. */
interface Source {
  readyState: number
  addEventListener(type: string, take: (event: { data: string }) => void): void
}

/** Runs in the page. */
const listen = (url: string) => {
  const seen = { types: [] as string[], names: [] as string[] }
  const Made = EventSource as unknown as new (url: string) => Source
  const source = new Made(url)
  for (const type of ['schedules', 'end'])
    source.addEventListener(type, event => {
      seen.types.push(type)
      const { items = [] } = JSON.parse(event.data) as { items?: { name: string }[] }
      if (type === 'schedules') seen.names = items.map(({ name }) => name)
    })
  Object.assign(globalThis, { seen: () => ({ ...seen, state: source.readyState }) })
}

test('in a browser, a page goes on listening when its process is replaced, until its administrator has logged out', async () => {
  using folder = temporaryFolder()
  const env = { BINGO_DATABASE_URL: backingIn(folder.path).url }
  let bingo = await startBingo({ roles: 'admin', env })
  const origin = bingo.urls['admin'] ?? ''
  const root = await newAdministrator(origin, env)
  const browser = await openBrowser()
  const page = await browser.newPage()
  const own = origin.replace('127.0.0.1', 'localhost')
  await page.goto(`${own}/swagger`)
  const call = (method: string, path: string, body?: object) =>
    page.evaluate(
      async ({ method, path, body }) => {
        const json = { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }
        return (await fetch(path, { method, ...(body && json) })).status
      },
      { method, path: `/admin/v1${path}`, body },
    )
  expect(await call('POST', '/sessions', { username: root.username, password, transport: 'cookie' })).toBe(201)
  await page.evaluate(listen, '/admin/v1/events?topics=schedules')
  const seen = () => page.evaluate('seen()') as Promise<Seen>
  await until(async () => (await seen()).types.length === 1)
  const schedule = { name: 'made', cron: '0 3 1 1 *', task: 'user.export', payload: { format: 'csv' } }
  expect(await call('POST', '/schedules', schedule)).toBe(201)
  await until(async () => (await seen()).names.includes('made'))

  // Its page is not asked to do anything.
  await bingo.stop()
  expect((await seen()).types).toEqual(['schedules', 'schedules', 'end'])
  bingo = await startBingo({ roles: 'admin', env, args: [`--admin.port=${new URL(origin).port}`] })
  await until(async () => (await seen()).state === 1, 15_000)
  // It was told by its last id that nothing has changed.
  expect(await call('DELETE', '/schedules/made')).toBe(204)
  await until(async () => (await seen()).names.length === 0)
  expect((await seen()).types).toEqual(['schedules', 'schedules', 'end', 'schedules'])

  expect(await call('DELETE', '/sessions/current')).toBe(204)
  await until(async () => (await seen()).state === 2, 15_000)
  expect((await seen()).types.slice(4)).toEqual(['end'])
  await browser.close()
  expect(await bingo.stop()).toBe(0)
}, 90_000)
