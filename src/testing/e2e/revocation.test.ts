import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'bun:test'
import { revocationMaxMs } from '@/core/revocations'
import { type Backing, onEachBacking, openBacking, testOn } from '../backings'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { administratorPassword, type Client, clientWith, logIn, newAdministrator, newUser } from '../clients'
import { until } from '../conformance/cache-fixture'
import { send } from '../http-client'
import { startOwn } from '../servers'

/** What somebody is told who was let in a moment before. */
const refused = { out: 401, denied: 403 } as const

interface Node {
  api: string
  admin: string
}
interface Nodes {
  here: Node
  there: Node
  env: Record<string, string>
  administrator: Client
}

/** A change, whom it concerns, and what they are answered from then on. */
interface Change {
  who: Client
  at: 'api' | 'admin'
  path: string
  becomes: keyof typeof refused
  make(): Promise<unknown>
}

const ok = async (answering: Promise<{ status: number; body: unknown }>) => {
  const { status, body } = await answering
  if (status >= 300) throw new Error(`answered ${status}: ${JSON.stringify(body)}`)
}

const sessionsPath = '/api/v1/sessions'

/** Each is made on one node, and felt on the other. */
const changes: Record<string, (nodes: Nodes) => Promise<Change>> = {
  'who has logged out': async ({ here }) => {
    const who = await newUser(here.api)
    return { who, ...ofUser('out'), make: () => ok(who.send('DELETE', `${here.api}${sessionsPath}/current`)) }
  },
  'whose session was ended from another': async ({ here }) => {
    const who = await newUser(here.api)
    const { body } = await who.send<{ items: { id: string }[] }>('GET', `${here.api}${sessionsPath}`)
    const other = clientWith((await logIn(here.api, who.user.username, who.password)).accessToken)
    return { who, ...ofUser('out'), make: () => ok(other.send('DELETE', `${here.api}${sessionsPath}/${body.items[0]?.id}`)) }
  },
  'whose refresh token was used again': async ({ here }) => {
    const who = await newUser(here.api)
    const refresh = () => send('POST', `${here.api}${sessionsPath}/refresh`, { refreshToken: who.refreshToken })
    await ok(refresh())
    return { who, ...ofUser('out'), make: async () => expect((await refresh()).status).toBe(401) }
  },
  'whose password was changed': async ({ here }) => {
    const who = await newUser(here.api)
    const other = clientWith((await logIn(here.api, who.user.username, who.password)).accessToken)
    const input = { currentPassword: who.password, password: 'another battery of horses' }
    return { who, ...ofUser('out'), make: () => ok(other.send('POST', `${here.api}/api/v1/me/password`, input)) }
  },
  'who was suspended': async ({ here, administrator }) => {
    const who = await newUser(here.api)
    const suspend = `${here.admin}/admin/v1/users/${who.user.id}/suspend`
    return { who, ...ofUser('out'), make: () => ok(administrator.send('POST', suspend)) }
  },
  'whose sessions were ended by an administrator': async ({ here, administrator }) => {
    const who = await newUser(here.api)
    const end = `${here.admin}/admin/v1/users/${who.user.id}/end-sessions`
    return { who, ...ofUser('out'), make: () => ok(administrator.send('POST', end)) }
  },
  'who was deleted by an administrator': async ({ here, administrator }) => {
    const who = await newUser(here.api)
    return { who, ...ofUser('out'), make: () => ok(administrator.send('DELETE', `${here.admin}/admin/v1/users/${who.user.id}`)) }
  },
  'who has removed the account': async ({ here }) => {
    const who = await newUser(here.api)
    return { who, ...ofUser('out'), make: () => ok(who.send('DELETE', `${here.api}/api/v1/users/${who.user.id}`)) }
  },
  'an administrator whose role was taken': nodes => ofAdministrator(nodes, 'denied', ['roles', '--roles=']),
  'an administrator whose role was changed': async nodes =>
    ofOthers(nodes, 'denied', ({ role }) => ['PATCH', `/roles/${role}`, { permissions: [] }]),
  'an administrator who was given other roles': nodes => ofOthers(nodes, 'denied', ({ id }) => ['PATCH', `/admins/${id}`, { roleIds: [] }]),
  'an administrator who was removed': nodes => ofOthers(nodes, 'out', ({ id }) => ['DELETE', `/admins/${id}`]),
  'an administrator who was suspended': nodes => ofAdministrator(nodes, 'out', ['suspend']),
  'an administrator who was given another password': nodes => ofAdministrator(nodes, 'out', ['password', '--password-file']),
}

const ofUser = (becomes: Change['becomes']) => ({ at: 'api' as const, path: sessionsPath, becomes })

/** On the command line, which is a process of its own. */
async function ofAdministrator({ here, env }: Nodes, becomes: Change['becomes'], [action = '', ...args]: string[]): Promise<Change> {
  const who = await newAdministrator(here.admin, env, ['users:read'])
  const { body } = await who.send<{ items: unknown }>('GET', `${here.admin}/admin/v1/users`)
  expect(body.items).toBeArray()
  const folder = temporaryFolder()
  const file = join(folder.path, 'password')
  writeFileSync(file, `${administratorPassword} any more\n`)
  const named = ['--username', who.username, ...args, ...(args.at(-1) === '--password-file' ? [file] : [])]
  const make = async () => {
    const { code, stderr } = await runBingo(['admin', action, ...named], { env })
    folder[Symbol.dispose]()
    if (code !== 0) throw new Error(stderr)
  }
  return { who, at: 'admin', path: '/admin/v1/users', becomes, make }
}

/** By another administrator, on one of the nodes. */
async function ofOthers(
  { here, administrator }: Nodes,
  becomes: Change['becomes'],
  what: (of: { id: string; role: string }) => [method: string, path: string, body?: unknown],
): Promise<Change> {
  const admin = `${here.admin}/admin/v1`
  const ask = async (method: string, path: string, body?: unknown) => {
    const answer = await administrator.send<Made>(method, `${admin}${path}`, body)
    if (answer.status >= 300) throw new Error(`answered ${answer.status}: ${JSON.stringify(answer.body)}`)
    return answer.body
  }
  const name = `a${crypto.randomUUID().slice(0, 8)}`
  const role = await ask('POST', '/roles', { name, permissions: ['users:read'] })
  const made = await ask('POST', '/admins', { username: name, roleIds: [role.id] })
  const password = administratorPassword
  await ok(send('POST', `${admin}/invitations/accept`, { code: made.invitation.code, password }))
  const { body } = await send<{ accessToken: string }>('POST', `${admin}/sessions`, { username: name, password })
  const [method, path, input] = what({ id: made.administrator.id, role: role.id })
  return {
    who: clientWith(body.accessToken),
    at: 'admin',
    path: '/admin/v1/users',
    becomes,
    make: () => ok(administrator.send(method, `${admin}${path}`, input)),
  }
}

interface Made {
  id: string
  administrator: { id: string }
  invitation: { code: string }
}

/** @returns how long after the change was answered somebody was let in for the last time, at most; milliseconds */
async function lastLetInMs({ who, at, path, becomes, make }: Change, { here, there }: Nodes): Promise<number> {
  const status = async (node: Node) => (await who.send('GET', `${node[at]}${path}`)).status
  // Both know them by now, from memory.
  for (const node of [here, there, here, there]) expect(await status(node)).toBe(200)
  await make()
  const changedAtMs = performance.now()
  const lastMs = await Promise.all(
    [here, there].map(async node => {
      for (let last = 0; ; await Bun.sleep(5)) {
        const sentMs = performance.now() - changedAtMs
        const answered = await status(node)
        if (answered === refused[becomes]) return last
        expect(answered).toBe(200)
        last = sentMs
        if (sentMs > 10 * revocationMaxMs) throw new Error('they are let in for ever')
      }
    }),
  )
  // Not by chance: nobody is let in again, on neither node.
  for (let i = 0; i < 3; i++) for (const node of [here, there]) expect(await status(node)).toBe(refused[becomes])
  return Math.max(...lastMs)
}

async function startNodes(env: Record<string, string>, args: readonly string[] = []) {
  const options = { roles: 'api,admin', args, env: { BINGO_SESSION_GRACE_MS: '0', ...env } }
  // One after another, since with --migrate both would.
  const running: RunningBingo[] = [await startBingo(options), await startBingo(options)]
  const [here, there] = running.map(({ urls }) => ({ api: urls['api'] ?? '', admin: urls['admin'] ?? '' })) as [Node, Node]
  const administrator = await newAdministrator(here.admin, env)
  return { nodes: { here, there, env, administrator }, stop: () => Promise.all(running.map(each => each.stop())) }
}

async function expectAllRefused(nodes: Nodes, title: string, beforeChanges: () => Promise<void> = async () => {}): Promise<void> {
  const names = Object.keys(changes)
  const made: Change[] = []
  for (const name of names) made.push((await changes[name]?.(nodes)) as Change)
  await beforeChanges()
  const measured: Record<string, number> = {}
  for (const [i, change] of made.entries()) measured[names[i] ?? ''] = Math.round(await lastLetInMs(change, nodes))
  console.log(`last let in after the change, on any node, ${title}:`, measured)
  expect(Object.entries(measured).filter(([, ms]) => ms > revocationMaxMs)).toEqual([])
}

onEachBacking('within two seconds the other node refuses', (open, name) => {
  let backing: Backing
  let started: Awaited<ReturnType<typeof startNodes>>
  beforeAll(async () => {
    backing = await open()
    started = await startNodes(backing.options.env ?? {}, backing.options.args)
  }, 60_000)
  afterAll(async () => {
    await started.stop()
    await backing.dispose()
  })
  test('everybody whose access has ended', () => expectAllRefused(started.nodes, `on ${name}`), 120_000)
})

testOn(
  ['mysql', 'redis'],
  'within two seconds the other node refuses everybody whose access has ended, while Redis is away',
  async () => {
    await using redis = await startOwn('redis')
    const backing = (await openBacking('mysql')) as Backing
    const { nodes, stop } = await startNodes({ ...backing.options.env, BINGO_REDIS_URL: redis.url }, backing.options.args)
    await expectAllRefused(nodes, 'on mysql without Redis', async () => {
      await redis.kill()
      // The first change is made once this is known to be so.
      await until(async () => (await fetch(`${nodes.here.api}/readyz`)).ok)
    })
    await stop()
    await backing.dispose()
  },
  180_000,
)
