import { afterAll, beforeAll, expect, test } from 'bun:test'
import { openBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo } from '../bingo'
import { type Client, newAdministrator, newUser } from '../clients'
import { bombard, type Targets } from '../hostile/bombard'
import type { ApiDocument } from '../hostile/document'
import { randomOf } from '../hostile/random'

/** The same seed makes the same requests: `BINGO_TEST_SEED=12345 bun test src/testing/e2e/hostile-root.test.ts`. */
const seed = Number(process.env['BINGO_TEST_SEED'] ?? 20_261_123)
const requests = 2000
const renewedEvery = 320

let bingo: RunningBingo
let dispose: () => Promise<void>
let env: Record<string, string>
beforeAll(async () => {
  const backing = await openBacking('sqlite')
  if (!backing) throw new Error('SQLite is always there')
  dispose = backing.dispose
  env = { ...backing.options.env, BINGO_HTTP_TRUSTED_PROXIES: '127.0.0.1/32' }
  bingo = await startBingo({ ...backing.options, env, roles: 'api,admin' })
}, 60_000)
afterAll(async () => {
  await bingo.stop()
  await dispose()
})

let count = 0
/** Wrong tries slow down whoever is at the same address, so honest callers come from others. */
const from = () => ({ 'x-forwarded-for': `10.2.${++count >> 8}.${count & 255}` })

type Made = Record<string, string>

const newRoot = () => newAdministrator(bingo.urls['admin'] ?? '', env, undefined, from())

/** One of each thing that root can do something to. */
async function newTargets(root: Client): Promise<Targets> {
  const origin = bingo.urls['admin'] ?? ''
  const ask = async <T = Made>(method: string, path: string, body?: unknown): Promise<T> =>
    (await root.send<T & Record<string, unknown>>(method, `${origin}/admin/v1${path}`, body)).body
  // Whoever came before may have closed it.
  await ask('PATCH', '/settings', { maintenance: null, signUp: null, logLevel: null })
  const user = await newUser(bingo.urls['api'] ?? '', {}, from())
  const name = `hostile-${crypto.randomUUID().slice(0, 8)}`
  const role = await ask('POST', '/roles', { name, permissions: ['users:read'] })
  const { administrator } = await ask<{ administrator: Made }>('POST', '/admins', { username: name, roleIds: [role['id']] })
  const task = { task: 'user.export', payload: { format: 'csv' } }
  const things: Record<string, readonly (string | undefined)[]> = {
    roles: [role['id'], '00000000-0000-7000-8000-000000000000'],
    admins: [administrator['id'], (await ask<{ administrator: Made }>('GET', '/me')).administrator['id']],
    users: [user.user.id],
    'api-keys': [(await ask('POST', '/api-keys', { name, scopes: ['users:read'] }))['id']],
    'user-exports': [(await ask('POST', '/user-exports', { format: 'csv' }))['id']],
    schedules: [(await ask('POST', '/schedules', { name, cron: '0 0 1 1 *', ...task }))['id'], name],
    queues: ['default', 'mail', 'bulk'],
    tasks: [(await ask('POST', '/tasks', task))['id']],
    'audit-events': [(await ask<{ items: Made[] }>('GET', '/audit-events')).items[0]?.['id']],
    sessions: (await ask<{ items: Made[] }>('GET', '/sessions')).items.map(each => each['id']),
  }
  const known = (ids: readonly (string | undefined)[] = []) => ids.filter(id => id !== undefined)
  const all = Object.values(things).flatMap(known)
  expect(all.length).toBeGreaterThan(12)
  return { credentials: [undefined], ids: all, idsOf: template => known(things[template.split('/')[3] ?? '']) }
}

async function isStillRoot(root: Client): Promise<boolean> {
  const { body } = await root.send('GET', `${bingo.urls['admin']}/admin/v1/me`)
  return Bun.deepEquals(body['permissions'], ['*'])
}

test(`no request of ${requests.toLocaleString('en-US')} hostile ones of root, who may do everything, is an error of the admin server`, async () => {
  let root = await newRoot()
  let targets = await newTargets(root)
  const origin = bingo.urls['admin'] ?? ''
  const { body: document } = await root.send<ApiDocument & Record<string, unknown>>('GET', `${origin}/swagger/json`)
  const { faults, statuses, reached } = await bombard(origin, {
    ...{ random: randomOf(seed), document, count: requests },
    async targets(begun) {
      // Root logs out, suspends itself, gives its role away.
      if (!(await isStillRoot(root))) root = await newRoot()
      if (begun > 0 && begun % renewedEvery === 0) targets = await newTargets(root)
      return targets
    },
    aimed: request => ({ ...request, headers: { ...request.headers, authorization: root.headers.authorization } }),
  })
  expect({ seed, count: faults.length, faults: faults.slice(0, 10) }).toEqual({ seed, count: 0, faults: [] })
  expect(reached).toBeGreaterThan(0.7)
  expect(statuses[503] ?? 0).toBeLessThan(requests / 100)
}, 240_000)

test('after all that it is well, nothing was an error of ours, and the audit log is whole', async () => {
  expect((await fetch(`${bingo.ops}/readyz`)).status).toBe(200)
  expect(await (await fetch(`${bingo.ops}/metrics`)).text()).not.toMatch(/status="500"/)
  expect(bingo.log.filter(({ level }) => level === 'error')).toEqual([])
  expect(await runBingo(['audit', 'verify'], { env })).toMatchObject({ code: 0, stdout: expect.stringMatching(/^the audit log is whole/) })
})
