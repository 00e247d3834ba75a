import { afterAll, beforeAll, expect, test } from 'bun:test'
import { scopes, userScopes } from '@/core/scopes'
import { assembleCast, type Cast, type Person } from '../access-cast'
import { temporaryFolder } from '../bingo'
import { send } from '../http-client'
import { type BytesClient, rawClient } from '../rpc/raw-client'
import { bytesOf, type DeclaredMethod, declaredMethods, rpcFixtures } from '../rpc/fixtures'
import { type ServiceTokens, serviceTokensOf } from '../service-tokens'
import { eventually } from '../eventually'

/**
 * Every method of gRPC × everybody who may call it, on the executable. Which methods there are, and what they ask for, is read from the
 * code; so a new one without a fixture fails, and so does one whose rules are not enforced.
 */

const methods = await declaredMethods()

let cast: Cast
let rpc: BytesClient
let services: ServiceTokens
/** Whose things are asked for. */
let ada: Person
let bob: Person
const folder = temporaryFolder()
beforeAll(async () => {
  cast = await assembleCast(folder.path, [])
  rpc = rawClient(cast.rpc)
  services = await serviceTokensOf(cast.database)
  ada = await cast.newPerson()
  bob = await cast.newPerson()
}, 120_000)
afterAll(async () => {
  rpc.close()
  await services.close()
  await cast.close()
  folder[Symbol.dispose]()
})

async function call({ name, desc }: DeclaredMethod, of: Person, credential: string | undefined, more: Record<string, string> = {}) {
  const fixture = rpcFixtures[name]
  if (!fixture) throw new Error(`give ${name} a fixture`)
  const { input, ...options } = fixture(of)
  return rpc.raw(`/${name}`, bytesOf(desc, input), {
    ...options,
    metadata: credential === undefined ? more : { ...more, authorization: `Bearer ${credential}` },
  })
}

/** Who may, and who may not and why; said apart from the code that decides. */
interface Callers {
  may: [who: string, credential: string | undefined][]
  mayNot: [who: string, credential: string | undefined, code: string][]
}

function callers({ access }: DeclaredMethod): Callers {
  const found: Callers = { may: [], mayNot: [] }
  const has = (rule: string) => access.includes(rule)
  const isOpen = has('everyone')
  const judge = (may: boolean, who: string, credential: string | undefined, code: string) =>
    void (may || isOpen ? found.may.push([who, credential]) : found.mayNot.push([who, credential, code]))
  const scopeOf = (pattern: RegExp) => access.flatMap(rule => pattern.exec(rule)?.[1] ?? [])[0]
  const keyScope = scopeOf(/^(?:apiKey|serviceKey)\((.+)\)$/)
  const serviceScope = scopeOf(/^service\((.+)\)$/)
  const owns = has('user') || has('owner')
  const notForYou = 'PermissionDenied.NotForYou'
  const notYours = has('owner') && !has('user') ? 'PermissionDenied.NotYours' : notForYou

  judge(false, 'nobody known', undefined, 'Unauthenticated.Credentials')
  for (const [who, credential] of Object.entries({ ...cast.invalid.api, ...services.invalid }))
    judge(false, who, credential, 'Unauthenticated.Token')
  judge(owns, 'the user', ada.token, notForYou)
  judge(has('user'), 'another user', bob.token, notYours)
  const isTheirs = userScopes.some(scope => scope === keyScope)
  const theirs = isTheirs ? notYours : keyScope === undefined ? notForYou : 'PermissionDenied.Scope'
  judge(isTheirs && owns, 'a key of the user', ada.keys.full, theirs)
  judge(isTheirs && has('user'), 'a key of another user', bob.keys.full, theirs)
  judge(keyScope !== undefined && !has('user'), 'a key of a service', cast.serviceKeys.full, notForYou)
  if (keyScope !== undefined) {
    judge(false, 'a key of the user without the scope', isTheirs ? ada.keys.allBut[keyScope] : ada.keys.full, 'PermissionDenied.Scope')
    judge(false, 'a key of a service without the scope', cast.serviceKeys.allBut[keyScope], 'PermissionDenied.Scope')
  }
  judge(serviceScope !== undefined, 'a service with every scope', services.full, notForYou)
  const unscoped = serviceScope === undefined ? notForYou : 'PermissionDenied.ServiceScope'
  judge(false, 'a service without a scope', services.none, unscoped)
  for (const scope of scopes) {
    judge(scope === serviceScope, `a service with ${scope} alone`, services.only[scope], unscoped)
    if (scope === serviceScope) judge(false, 'a service with every other scope', services.allBut[scope], unscoped)
  }
  return found
}

test('there is a fixture for every method, and none for another; each declares who may call it', () => {
  expect(methods.length).toBeGreaterThan(3)
  expect(Object.keys(rpcFixtures).toSorted()).toEqual(methods.map(({ name }) => name).toSorted())
  for (const { name, access } of methods) expect([name, access.length > 0]).toEqual([name, true])
})

const grpcCodes: Readonly<Record<string, number>> = { Unauthenticated: 16, PermissionDenied: 7 }

for (const method of methods)
  test(`${method.name}: ${method.access.join(' or ')}`, async () => {
    const { may, mayNot } = callers(method)
    for (const [who, credential, error] of mayNot) {
      const answer = await call(method, ada, credential)
      expect([who, answer.code, answer.error?.code]).toEqual([who, grpcCodes[error.split('.')[0] ?? ''] ?? 0, error])
      expect([who, answer.messages]).toEqual([who, []])
    }
    for (const [who, credential] of may) {
      const { code, details, messages } = await call(method, ada, credential)
      expect([who, code, details]).toEqual([who, 0, expect.any(String)])
      expect([who, messages.length]).toEqual([who, 1])
    }
    expect([may.length > 0, mayNot.length > 10]).toEqual([true, true])
  }, 60_000)

test('whoever is known and is refused is in the log, and no credential is', async () => {
  const [method] = methods
  if (!method) throw new Error('there is no method')
  const denialOf = (requestId: string) =>
    cast.bingo.log.find(line => line.level === 'warn' && line.msg === 'access denied' && line['requestId'] === requestId)
  for (const [requestId, credential, actor] of [
    ['refused-user', bob.token, `user:${bob.id}`],
    ['refused-service', services.none, 'service:matrix'],
  ] as const) {
    await call(method, ada, credential, { 'x-request-id': requestId })
    await eventually(() => denialOf(requestId) !== undefined)
    expect(denialOf(requestId)).toMatchObject({ server: 'rpc', actor })
  }
  expect(JSON.stringify(cast.bingo.log)).not.toContain(services.none)
})

test('the token of a service is taken by no other server', async () => {
  for (const [face, path] of [
    ['api', '/api/v1/users'],
    ['admin', '/admin/v1/users'],
  ] as const) {
    const { status } = await send('GET', `${cast.bingo.urls[face]}${path}`, undefined, { authorization: `Bearer ${services.full}` })
    expect([face, status]).toEqual([face, 401])
  }
})
