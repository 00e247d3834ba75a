import { afterAll, beforeAll, expect, test } from 'bun:test'
import { Database } from 'bun:sqlite'
import { roles } from '@roles'
import { documentOf, unopened } from '@/http-faces'
import { userScopes } from '@/core/scopes'
import { assembleCast, type Cast, call, heldWith, password, type Person } from '../access-cast'
import { type Face, type Fixture, fixturesOf } from '../access-fixtures'
import { temporaryFolder } from '../bingo'
import { type Answer, send } from '../http-client'

/**
 * Every route × everybody who may come. Which routes there are is read from the code, and what they ask for from the document that the
 * executable gives; so a new route that has no fixture fails, and so does one whose rules are not enforced.
 */

interface Route {
  face: Face
  method: string
  path: string
  operationId: string
  access: readonly string[]
  /** Of its success. */
  status: number
}

async function routesOf(face: Face): Promise<Route[]> {
  const role = roles.find(({ serves }) => serves[0] === face)
  const document = role && (await documentOf(role, unopened, 'test'))
  return routesIn(face, document ?? { paths: {} })
}

type Operations = Record<string, Record<string, { operationId?: string; 'x-access'?: readonly string[]; responses: object }>>
const routesIn = (face: Face, { paths }: { paths: Operations }): Route[] =>
  Object.entries(paths).flatMap(([path, item]) =>
    Object.entries(item).map(([method, operation]) => ({
      ...{ face, method: method.toUpperCase(), path, operationId: operation.operationId ?? '', access: operation['x-access'] ?? [] },
      status: Number(Object.keys(operation.responses).find(status => status.startsWith('2'))),
    })),
  )

const routes = [...(await routesOf('api')), ...(await routesOf('admin'))]
/** What the rule for administrators names, besides that a proof must not be old. */
const namedOf = (access: readonly string[]): string[] =>
  access.flatMap(rule => /^admin\((.+)\)$/.exec(rule)?.[1]?.split(', ') ?? []).filter(name => name !== 'proven')
const isDangerous = ({ access }: Route) => access.some(rule => /^admin\((.+, )?proven\)$/.test(rule))

const permissions = [...new Set(routes.flatMap(({ access }) => namedOf(access)))]

let cast: Cast
const fixtures = fixturesOf(() => cast)
/** Whose things are asked for by those who may not. */
let ada: Person
let bob: Person
const folder = temporaryFolder()
beforeAll(async () => {
  cast = await assembleCast(folder.path, permissions)
  ada = await cast.newPerson()
  bob = await cast.newPerson()
}, 120_000)
afterAll(async () => {
  await cast.close()
  folder[Symbol.dispose]()
})

const ask = ({ face, method, path }: Route, { id = '', query = '', body }: Fixture, credential?: string): Promise<Answer> =>
  send(
    method,
    `${cast.bingo.urls[face]}${path.replace('{id}', id)}${query}`,
    body,
    credential === undefined ? {} : { authorization: `Bearer ${credential}` },
  )

/** Who may, and who may not and why; said apart from the code that decides. */
interface Callers {
  may: [who: string, credential: () => Promise<{ credential: string | undefined; owner: Person }>][]
  mayNot: [who: string, credential: string | undefined, code: string][]
}

function callers(route: Route): Callers {
  const { face, path, access } = route
  const own = async (of: (person: Person) => string) => {
    const owner = await cast.newPerson()
    return { credential: of(owner), owner }
  }
  // Who is deleted or suspended is of no use to the next.
  const others = async (credential: string | undefined) => ({
    credential,
    owner: path.includes('/users/{id}') ? await cast.newPerson() : ada,
  })
  const found: Callers = { may: [], mayNot: [] }
  const judge = (may: boolean, who: string, credential: string, code: string, make = () => others(credential)) =>
    void (may ? found.may.push([who, make]) : found.mayNot.push([who, credential, code]))
  const invalid = Object.entries(cast.invalid[face])
  if (access.includes('everyone')) {
    found.may.push(
      ['nobody known', () => others(undefined)],
      ...invalid.map(([who, credential]) => [who, () => others(credential)] as Callers['may'][number]),
    )
  } else {
    found.mayNot.push(['nobody known', undefined, 'Unauthenticated.Credentials'])
    for (const [who, credential] of invalid) found.mayNot.push([who, credential, 'Unauthenticated.Token'])
  }
  const isOpen = access.includes('everyone')
  if (face === 'api') {
    const [isUsers, isOwners] = [access.includes('user'), access.includes('owner')]
    const scope = access.flatMap(rule => /^(?:apiKey|serviceKey)\((.+)\)$/.exec(rule)?.[1] ?? [])[0]
    judge(isOpen || isUsers || isOwners, 'the user', ada.token, 'PermissionDenied.NotForYou', () => own(({ token }) => token))
    if (!isUsers) judge(isOpen, 'another user', bob.token, isOwners ? 'PermissionDenied.NotYours' : 'PermissionDenied.NotForYou')
    const [full, service] = [({ keys }: Person) => keys.full, cast.serviceKeys]
    // Whether keys of users can have the scope at all.
    const isTheirs = scope !== undefined && userScopes.some(each => each === scope)
    const owns = isUsers || isOwners
    const theirs =
      scope === undefined
        ? 'PermissionDenied.NotForYou'
        : !isTheirs
          ? 'PermissionDenied.Scope'
          : owns
            ? 'PermissionDenied.NotYours'
            : 'PermissionDenied.NotForYou'
    judge(isOpen || (isTheirs && owns), 'a key of the user', ada.keys.full, theirs, () => own(full))
    if (!isUsers) judge(isOpen, 'a key of another user', bob.keys.full, theirs)
    // What is a user's own is nothing that a service has.
    judge(isOpen || (scope !== undefined && !isUsers), 'a key of a service', service.full, 'PermissionDenied.NotForYou')
    if (scope !== undefined) {
      const without = isTheirs ? ada.keys.allBut[scope] : ada.keys.full
      judge(isOpen, 'a key of the user without the scope', without ?? '', 'PermissionDenied.Scope')
      judge(isOpen, 'a key of a service without the scope', service.allBut[scope] ?? '', 'PermissionDenied.Scope')
    }
  } else {
    const enough = namedOf(access)
    const any = async () => ({
      credential: (await call('POST', `${cast.admin}/sessions`, { username: 'root', password })).accessToken,
      owner: await cast.newPerson(),
    })
    if (isDangerous(route)) found.mayNot.push(['an administrator whose proof is old', cast.unproven, 'Unauthenticated.Proof'])
    judge(true, 'an administrator who may do everything', cast.root, '', enough.length === 0 && !isOpen ? any : undefined)
    for (const permission of enough) judge(true, `an administrator with ${permission} alone`, cast.only[permission] ?? '', '')
    if (enough.length > 0) {
      const denied = 'PermissionDenied.Permission'
      judge(isOpen, 'an administrator without a permission', cast.powerless, denied)
      for (const [name, credential] of Object.entries(cast.only))
        if (!heldWith(name).some(held => enough.includes(held))) judge(isOpen, `an administrator with ${name} alone`, credential, denied)
      // Where several permissions are enough, nobody has all but one of them and may not.
      if (enough.length === 1) judge(isOpen, 'an administrator with every other', cast.allBut[enough[0] ?? ''] ?? '', denied)
    }
  }
  return found
}

/** Everything that is stored, but for when something was last used, what is only kept for a while, and the audit log, which tells of refusals. */
function stored(): string {
  const db = new Database(cast.database, { readonly: true })
  try {
    const tables = db
      .query("select name from sqlite_master where type = 'table' and name not in ('guess', 'auditEvent', 'auditHead', 'process')")
      .all() as { name: string }[]
    return JSON.stringify(
      tables.map(({ name }) => [
        name,
        (db.query(`select * from "${name}"`).all() as Record<string, unknown>[]).map(({ lastUsedAt: _, ...row }) =>
          'lastUsedAt' in row || name === 'apiKey' || name === 'session' ? { ...row, updatedAt: 0, version: 0 } : row,
        ),
      ]),
      (_, value) => (typeof value === 'bigint' ? String(value) : value),
    )
  } finally {
    db.close()
  }
}

test('there is a fixture for every route, and none for another', async () => {
  for (const face of ['api', 'admin'] as const) {
    expect(Object.keys(fixtures[face]).toSorted()).toEqual(
      routes
        .filter(route => route.face === face)
        .map(({ operationId }) => operationId)
        .toSorted(),
    )
    const { body } = await send<{ paths: Operations }>('GET', `${cast.bingo.urls[face]}/swagger/json`, undefined, {
      authorization: `Bearer ${cast.root}`,
    })
    // What the executable serves is what is asked below.
    expect(routesIn(face, body)).toEqual(routes.filter(route => route.face === face))
  }
})

for (const route of routes) {
  const make = fixtures[route.face][route.operationId]
  test(`${route.face}: ${route.method} ${route.path}: ${route.access.join(' or ')}`, async () => {
    if (!make) throw new Error(`give ${route.operationId} a fixture`)
    const { may, mayNot } = callers(route)
    const target = await make(ada)
    const before = stored()
    for (const [who, credential, code] of mayNot) {
      const { status, headers, body } = await ask(route, target, credential)
      expect([who, status, body?.['code']]).toEqual([who, code.startsWith('Unauthenticated') ? 401 : 403, code])
      expect([who, headers.get('www-authenticate') !== null]).toEqual([who, status === 401 || code.endsWith('Scope')])
    }
    expect(stored()).toBe(before)
    for (const [who, come] of may) {
      const { credential, owner } = await come()
      const fixture = await make(owner)
      const { status, body } = await ask(route, fixture, credential)
      // It came to the handler: what the fixture sends has the right form.
      expect([who, body?.['code']]).not.toEqual([who, 'Unprocessable.Fields'])
      if (fixture.refusedAlone !== undefined && who.endsWith(' alone')) expect([who, body?.['code']]).toEqual([who, fixture.refusedAlone])
      else expect([who, status, status >= 400 ? body : '']).toEqual([who, fixture.status ?? route.status, status >= 400 ? body : ''])
    }
    expect(may.length).toBeGreaterThan(0)
    // What is a user's own is not there for another.
    if (route.access.includes('user') && route.path.includes('{id}'))
      expect([(await ask(route, await make(ada), bob.token)).status, (await ask(route, await make(bob), bob.token)).status]).toEqual([
        404,
        route.status,
      ])
  }, 60_000)
}

test('what is not of the API is public, but for the document of the admin server', async () => {
  for (const face of ['api', 'admin'] as const) {
    for (const path of ['/livez', '/readyz', '/swagger', '/swagger/start.js']) {
      for (const headers of [{}, { authorization: 'Bearer garbage' }])
        expect([path, (await fetch(`${cast.bingo.urls[face]}${path}`, { headers })).status]).toEqual([path, 200])
    }
  }
  const document = `${cast.bingo.urls['admin']}/swagger/json`
  for (const [who, credential] of [['nobody', undefined], ...Object.entries(cast.invalid.admin)] as const) {
    const answer = await fetch(document, { headers: credential === undefined ? {} : { authorization: `Bearer ${credential}` } })
    expect([who, answer.status, (await answer.text()).includes('user-exports')]).toEqual([who, 401, false])
  }
  for (const credential of [cast.root, ...Object.values(cast.only)])
    expect((await fetch(document, { headers: { authorization: `Bearer ${credential}` } })).status).toBe(200)
  expect((await fetch(`${cast.bingo.urls['api']}/swagger/json`)).status).toBe(200)
})
