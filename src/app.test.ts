import { expect, test } from 'bun:test'
import { Glob } from 'bun'
import { roles } from '@roles'
import { everyone, user } from '@/core/access'
import { loadConfig } from '@/core/config/load'
import { type Controller, controller } from '@/core/controller'
import { type AnyModule, buildModules, defineModule } from '@/core/module'
import { StartError } from '@/core/error'
import { scopes } from '@/core/scopes'
import type { Ports } from '@/core/ports'
import { defineTask, handle } from '@/core/queue/task'
import { defineRole, refuseIdleTasks, type Role } from '@/core/role'
import { secret, Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import { type AnyTable, defineTable } from '@/core/table'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { declaredMethods } from '@/testing/rpc/fixtures'
import { createApp, modulesOf, permissionsOf, queuesOf, tablesOf, tasksOf } from './app'
import { unopened } from './http-faces'

/** What a route must say for itself; an empty list when it says it all. */
function faults(controllers: readonly Controller[]): string[] {
  return controllers.flatMap(({ routes }) =>
    routes.flatMap(({ method, path, hooks, handler }) => {
      const { body, parse, response, query, detail = {} } = hooks as RouteHooks
      const says = {
        'declares access': (detail['x-access'] ?? []).length > 0,
        'has an operationId': typeof detail['operationId'] === 'string',
        'has a summary': typeof detail['summary'] === 'string',
        'reads its body as JSON': !body || parsers(parse).join() === 'json',
        'refuses unknown fields in its body': !body || body.additionalProperties === false,
        'refuses unknown query parameters': !query || query.additionalProperties === false,
        'refuses an Idempotency-Key where it answers with what is shown once': givesOnce(response) === (detail['x-secrets'] === true),
        'says of ETag and Location when it sets them, and only then': setsWhatItSays(String(handler), detail['x-sets']),
        'answers with no secret': Object.values(response ?? {}).every(answer => !holdsSecret(answer)),
        'declares its answer, and no more than it':
          Object.values(response ?? {}).length > 0 && Object.values(response ?? {}).every(isClosed),
      }
      return Object.entries(says).flatMap(([rule, holds]) => (holds ? [] : [`${method} ${path} does not hold: ${rule}`]))
    }),
  )
}

interface ObjectSchema {
  type?: string
  additionalProperties?: boolean
}
interface RouteHooks {
  body?: ObjectSchema
  query?: ObjectSchema
  parse?: string | readonly (string | { fn: unknown })[]
  response?: Record<string, ObjectSchema>
  detail?: Record<string, unknown> & { 'x-access'?: string[]; 'x-sets'?: string[] }
}

const parsers = (parse: RouteHooks['parse']) =>
  [parse ?? []].flat().map(one => (typeof one === 'string' ? one : (one as { fn: unknown }).fn))
const isClosed = (schema: ObjectSchema) => schema.type !== 'object' || schema.additionalProperties === false

/** Whether a token, a key or what takes the place of one is in an answer. */
const givesOnce = (response: RouteHooks['response']) =>
  /"(accessToken|refreshToken|key|secret|code|secret|recoveryCodes)":\{/.test(JSON.stringify(response ?? {}))

/** By its source: which calls of core/etag.ts it makes. */
const setsWhatItSays = (source: string, said: readonly string[] = []) =>
  /\btagged(Weakly)?\(/.test(source) === said.includes('ETag') &&
  /\bcreated\(|\['location'\]|\.location/.test(source) === said.includes('Location')

/** Whether a column marked as secret is somewhere in a schema. */
const holdsSecret = (schema: object): boolean =>
  ('secret' in schema && schema.secret === true) ||
  Object.values(schema).some(inner => typeof inner === 'object' && inner !== null && holdsSecret(inner))

test('every route of every role declares who may call it, and takes and gives no more than it says', () => {
  const faces = [...buildModules(modulesOf(roles), unopened).values()]
  const controllers = faces.flatMap(({ api, admin, bot }) => [api, admin, bot].filter(face => face !== undefined))
  expect(controllers.flatMap(({ routes }) => routes).length).toBeGreaterThan(4)
  expect(faults(controllers)).toEqual([])
})

test('every scope of an API key is of use at some route, and every route that takes keys names one that they can have', () => {
  const routes = [...buildModules(modulesOf(roles), unopened).values()].flatMap(({ api }) => api?.routes ?? [])
  const named = routes.flatMap(({ hooks }) => (hooks as RouteHooks).detail?.['x-access'] ?? [])
  const taken = named.flatMap(name => /^(?:apiKey|serviceKey)\((.+)\)$/.exec(name)?.[1] ?? [])
  expect(new Set<string>(taken)).toEqual(new Set<string>(scopes))
})

test('every task that does what a permission guards says which, and a module declares it', () => {
  const declared = permissionsOf(roles).map(({ name }) => name)
  const byHand = Object.fromEntries(tasksOf(roles).map(({ name, rules }) => [name, rules.byHand]))
  expect(byHand).toMatchObject({ 'user.export': 'users:export', 'email.send': 'users:reset', 'account.startReset': 'never' })
  for (const [name, needed] of Object.entries(byHand)) {
    if (name.startsWith('housekeeping.')) expect([name, needed]).toEqual([name, 'never'])
    if (needed !== undefined && needed !== 'never') expect([name, declared]).toEqual([name, expect.arrayContaining([needed])])
  }
})

test('every permission that a route asks for is declared by a module, and every scope has one of its name', () => {
  const routes = [...buildModules(modulesOf(roles), unopened).values()].flatMap(({ admin }) => admin?.routes ?? [])
  const named = routes.flatMap(({ hooks }) => (hooks as RouteHooks).detail?.['x-access'] ?? [])
  const asked = named.flatMap(name => /^admin\(([a-z-]+:[a-z-]+)/.exec(name)?.[1] ?? [])
  expect(asked.length).toBeGreaterThan(4)
  expect(permissionsOf(roles).map(({ name }) => name)).toEqual([...new Set([...asked, ...scopes])].toSorted())
})

const withOwnDetail = (hooks: { detail?: object }) => ({ ...hooks, detail: { ...hooks.detail } })

test('the check bites', () => {
  const Thing = Type.Object({ a: Type.String() }, { additionalProperties: false })
  const good = {
    body: Thing,
    parse: 'json',
    response: { 200: Thing },
    access: [everyone()],
    detail: { operationId: 'x', summary: 'X' },
  } as const
  // A copy each time: Elysia writes what a macro adds into the route's own `detail`.
  const one = (hooks: object) =>
    faults([controller({ prefix: '/things', tags: ['Things'] }).post('', () => ({ a: '' }), withOwnDetail(hooks) as typeof good)])
  expect(one(good)).toEqual([])
  const { access: _, ...undeclared } = good
  expect(one(undeclared)).toHaveLength(1)
  expect(one({ ...good, access: [] })).toHaveLength(1)
  expect(one({ ...good, detail: {} })).toHaveLength(2)
  expect(one({ ...good, parse: undefined })).toHaveLength(1)
  expect(one({ ...good, body: Type.Object({}) })).toHaveLength(1)
  expect(one({ ...good, query: Type.Object({}) })).toHaveLength(1)
  expect(one({ ...good, response: { 200: Type.Object({}) } })).toHaveLength(1)
  const leaky = Type.Array(Type.Object({ a: secret(Type.String()) }, { additionalProperties: false }))
  expect(one({ ...good, response: { 200: leaky } })).toHaveLength(1)
  expect(one({ ...good, response: {} })).toHaveLength(1)
  expect(one({ ...good, sets: ['ETag'] })).toHaveLength(1)
  expect(one({ ...good, sets: ['Location'] })).toHaveLength(1)
})

/** What a schema exports that `defineTable` made. */
const tablesIn = (exported: object): AnyTable[] =>
  Object.values(exported).filter(value => typeof value === 'object' && value !== null && 'columns' in value && 'softDelete' in value)

test('no two modules serve the same service of gRPC', async () => {
  expect((await declaredMethods()).length).toBeGreaterThan(0)
})

test('every table that a module defines is one of its tables, so that it is migrated and compared', async () => {
  const defined: string[] = []
  for (const path of new Glob('modules/*/schema.ts').scanSync(import.meta.dir))
    defined.push(...tablesIn(await import(`./${path}`)).map(({ name }) => name))
  expect(defined).toContain('user')
  expect(tablesOf(roles).map(({ name }) => name)).toEqual(expect.arrayContaining(defined))
  expect(tablesIn({ things: defineTable('thing', {}), Thing: Type.Object({}), name: 'thing' })).toHaveLength(1)
})

const task = defineTask('a.do', Type.Object({}), { queue: 'slow' })
const doer = defineModule({
  name: 'a',
  needs: [],
  tasks: [task],
  create: () => ({ biz: {}, faces: { tasks: [handle(task, async () => {})] } }),
})
const role = (name: string, works: Role['works'], modules: AnyModule[]) =>
  defineRole({ name, summary: '', modules, serves: [], ...(works && { works }) })

test('every task of every module waits in a queue that some role with its handler works', () => {
  expect(tasksOf(roles).length).toBeGreaterThan(0)
  expect(queuesOf(roles)).toContain('default')
  refuseIdleTasks(roles)
})

test('a task that nobody would do is refused with the file that lacks its module or its queue', () => {
  const slow = { slow: { concurrency: 1 } }
  const user = defineModule({ name: 'b', needs: [], uses: { doer }, create: () => ({ biz: {}, faces: {} }) })
  refuseIdleTasks([role('api', undefined, [doer]), role('worker', slow, [doer])])
  for (const [some, remedy] of [
    [[role('api', undefined, [doer]), role('worker', slow, [])], 'add a to the modules of roles/worker.ts, which works that queue'],
    // A role does what its own modules handle, not what those use.
    [[role('worker', slow, [user])], 'add a to the modules of roles/worker.ts'],
    [
      [role('worker', { other: { concurrency: 1 } }, [doer])],
      'no role works that queue; name it in the works of one that has the module a, such as roles/worker.ts',
    ],
  ] as const) {
    expect(() => refuseIdleTasks(some)).toThrow(StartError)
    expect(() => refuseIdleTasks(some)).toThrow(`nobody would do the task a.do of the queue slow: ${remedy}`)
  }
})

test('a task that its module does not both list and handle is said as what its author can mend', () => {
  const unhandled = defineModule({ ...doer, create: () => ({ biz: {}, faces: {} }) })
  const { tasks: _, ...unlisted } = doer
  for (const module of [unhandled, defineModule(unlisted)]) {
    expect(() => buildModules([module], unopened)).toThrow(StartError)
    expect(() => buildModules([module], unopened)).toThrow('the module a must both list the task a.do')
  }
})

test('a server whose routes nobody could call is refused with the modules that recognize its callers', () => {
  const { config } = loadConfig({ env: {}, flags: {}, readFile: () => '' })
  const surroundings = { config, log: fakeLog(), metrics: fakeMetrics(), readiness: new Readiness(), version: 'test' }
  const wired = (changed: Role, allRoles: readonly Role[]) => () => createApp([changed], {} as Ports, [], { ...surroundings, allRoles })
  for (const [name, remedy] of [
    ['api', 'add user-session or api-key to roles/api.ts'],
    ['admin', 'add admin-session to roles/admin.ts'],
    ['bot', 'add one to roles/bot.ts whose faces have identifiers: { bot }'],
  ] as const) {
    const own = roles.find(each => each.name === name) as Role
    const routes = controller({ prefix: '/mine', tags: ['Mine'] }).get('', () => ({}), { access: [user()] } as object)
    const mine = defineModule({ name: 'mine', needs: [], create: () => ({ biz: {}, faces: { [name]: routes } }) })
    const changed = { ...own, modules: [mine] }
    expect(wired(changed, [...roles, changed])).toThrow(
      `nobody could call GET /mine of the ${name} server, since no module of its role recognizes callers; ${remedy}`,
    )
  }
})
