import { afterAll, beforeAll, expect, test } from 'bun:test'
import { revocationMaxMs } from '@/core/revocations'
import { type Backing, onEachBacking, openBacking, testOn } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type AdministratorClient, newAdministrator, newUser } from '../clients'
import { until } from '../conformance/cache-fixture'
import { newSignUp, send } from '../http-client'
import { startOwn } from '../servers'

interface Nodes {
  /** Serves both, and takes the changes. */
  here: RunningBingo
  /** Serves the API. */
  there: RunningBingo
  /** Serves nobody, and works the queues. */
  scheduler: RunningBingo
  administrator: AdministratorClient
  change(patch: object): Promise<{ body: Record<string, unknown>; changedAtMs: number }>
}

async function startNodes({ options: { env = {}, args = [] } }: Pick<Backing, 'options'>): Promise<Nodes> {
  // One after another, since with --migrate both would.
  const start = (roles: string) => startBingo({ roles, args, env })
  const [here, there, scheduler] = [await start('api,admin'), await start('api'), await start('scheduler')]
  const admin = here.urls['admin'] ?? ''
  const administrator = await newAdministrator(admin, env)
  return {
    ...{ here, there, scheduler, administrator },
    async change(patch) {
      const { status, body } = await administrator.send('PATCH', `${admin}/admin/v1/settings`, patch)
      if (status !== 200) throw new Error(`answered ${status}: ${JSON.stringify(body)}`)
      return { body, changedAtMs: performance.now() }
    },
  }
}

const stop = ({ here, there, scheduler }: Nodes) => Promise.all([here, there, scheduler].map(each => each.stop()))

/** Looks until it is so. @returns how long after the change; milliseconds */
async function soAfterMs(changedAtMs: number, isSo: () => Promise<boolean> | boolean): Promise<number> {
  for (;;) {
    const askedMs = performance.now() - changedAtMs
    if (await isSo()) return askedMs
    if (askedMs > 10 * revocationMaxMs) throw new Error('it is never so')
    await Bun.sleep(10)
  }
}

const asApi = (node: RunningBingo, path: string) => `${node.urls['api']}/api/v1${path}`
const signsUp = async (node: RunningBingo) => (await send('POST', asApi(node, '/users'), newSignUp())).status
const answers = async (node: RunningBingo, path = '/users') => (await send('GET', asApi(node, path))).status
const levelsOf = (node: RunningBingo, from: number) => node.log.slice(from).map(({ level }) => level)

/** What it said last that the level of its log is. */
const levelSaid = (node: RunningBingo) => node.log.findLast(({ msg }) => msg === 'the settings have changed')?.['logLevel']

onEachBacking('settings that change while everything runs', (open, name) => {
  let backing: Backing
  let nodes: Nodes
  beforeAll(async () => {
    backing = await open()
    nodes = await startNodes(backing)
  }, 90_000)
  afterAll(async () => {
    await stop(nodes)
    await backing.dispose()
  })

  test('the API server is closed for maintenance on all nodes within two seconds, and the admin server is not', async () => {
    const { here, there, change, administrator } = nodes
    const user = await newUser(here.urls['api'] ?? '')
    const { body, changedAtMs } = await change({ maintenance: { isOn: true, message: 'Moving until 14:00.', retryAfterSeconds: 90 } })
    expect(body['inEffect']).toMatchObject({ maintenance: { isOn: true, message: 'Moving until 14:00.' } })
    // At once where it was said.
    expect(await answers(here)).toBe(503)
    expect(await soAfterMs(changedAtMs, async () => (await answers(there)) === 503)).toBeLessThan(revocationMaxMs)
    for (const node of [here, there]) {
      const refused = await user.send('GET', asApi(node, '/me'))
      expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '90'])
      expect(refused.body).toMatchObject({ code: 'Unavailable.Maintenance', detail: 'Moving until 14:00.' })
      for (const path of ['/livez', '/readyz', '/swagger', '/swagger/json', '/.well-known/jwks.json'])
        expect([path, (await fetch(`${node.urls['api']}${path}`)).status]).toEqual([path, 200])
    }
    expect((await administrator.send('GET', `${here.urls['admin']}/admin/v1/users`)).status).toBe(200)
    const opened = await change({ maintenance: null })
    expect(await soAfterMs(opened.changedAtMs, async () => (await user.send('GET', asApi(there, '/me'))).status === 200)).toBeLessThan(
      revocationMaxMs,
    )
  }, 30_000)

  test('nobody signs up any more on any node once it is closed, and an administrator still makes accounts', async () => {
    const { here, there, change, administrator } = nodes
    expect([await signsUp(here), await signsUp(there)]).toEqual([201, 201])
    const { changedAtMs } = await change({ signUp: 'closed' })
    expect(await signsUp(here)).toBe(403)
    expect(await soAfterMs(changedAtMs, async () => (await signsUp(there)) === 403)).toBeLessThan(revocationMaxMs)
    const { username, email } = newSignUp()
    const made = await administrator.send('POST', `${here.urls['admin']}/admin/v1/users`, { username, email })
    expect([made.status, made.headers.get('location')]).toEqual([201, `/admin/v1/users/${made.body['id']}`])
    const opened = await change({ signUp: null })
    expect(await soAfterMs(opened.changedAtMs, async () => (await signsUp(there)) === 201)).toBeLessThan(revocationMaxMs)
  }, 30_000)

  test('the level of the log changes in every process, also in one that serves nobody', async () => {
    const { here, there, scheduler, change, administrator } = nodes
    const { changedAtMs } = await change({ logLevel: 'debug' })
    for (const node of [there, scheduler])
      expect(await soAfterMs(changedAtMs, () => levelSaid(node) === 'debug')).toBeLessThan(revocationMaxMs)
    const before = there.log.length
    await fetch(`${there.urls['api']}/livez`)
    await soAfterMs(performance.now(), () => levelsOf(there, before).includes('debug'))
    // Those who sign up are sent a message, which the scheduler does.
    const worked = scheduler.log.length
    await signsUp(here)
    // Elsewhere there is no mail server, so the task is tried again, which is no debugging.
    const said = name === 'sqlite' ? 'debug' : 'info'
    await soAfterMs(performance.now(), () => levelsOf(scheduler, worked).includes(said))
    const back = await change({ logLevel: null })
    expect(await soAfterMs(back.changedAtMs, () => levelSaid(there) === 'info')).toBeLessThan(revocationMaxMs)
    const from = there.log.length
    await fetch(`${there.urls['api']}/livez`)
    await answers(there)
    await soAfterMs(performance.now(), () => levelsOf(there, from).length > 0)
    expect(levelsOf(there, from)).not.toContain('debug')
    // What administrators do is in it, so none of them makes it silent.
    for (const logLevel of ['warn', 'error', 'silent'])
      expect((await administrator.send('PATCH', `${here.urls['admin']}/admin/v1/settings`, { logLevel })).status).toBe(422)
  }, 60_000)

  test('a process that is started obeys what was changed before, with its first answer', async () => {
    const { change } = nodes
    await change({ maintenance: { isOn: true }, logLevel: 'info' })
    const { env = {}, args = [] } = backing.options
    const late = await startBingo({ roles: 'api', args, env: { ...env, BINGO_LOG_LEVEL: 'debug' } })
    expect((await fetch(`${late.urls['api']}/livez`)).status).toBe(200)
    expect(await answers(late)).toBe(503)
    await soAfterMs(performance.now(), () => late.log.some(({ msg }) => msg === 'request failed'))
    // The probe before it would be one.
    expect(late.log.filter(({ level, msg }) => level === 'debug' && msg === 'request')).toEqual([])
    await late.stop()
    await change({ maintenance: null, logLevel: null })
  }, 30_000)
})

testOn(
  ['mysql', 'redis'],
  'within two seconds the other node is closed for maintenance, while Redis is away',
  async () => {
    await using redis = await startOwn('redis')
    const backing = (await openBacking('mysql')) as Backing
    const env = { ...backing.options.env, BINGO_REDIS_URL: redis.url }
    const nodes = await startNodes({ options: { ...backing.options, env } })
    await redis.kill()
    await until(async () => (await fetch(`${nodes.here.urls['api']}/readyz`)).ok)
    for (const on of [true, false]) {
      const { changedAtMs } = await nodes.change({ maintenance: { isOn: on } })
      // Nobody may list users without a key, once it is open again.
      const wanted = on ? 503 : 401
      expect(await soAfterMs(changedAtMs, async () => (await answers(nodes.there)) === wanted)).toBeLessThan(revocationMaxMs)
    }
    await stop(nodes)
    await backing.dispose()
  },
  120_000,
)
