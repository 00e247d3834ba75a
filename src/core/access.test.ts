import { expect, test } from 'bun:test'
import { adminCalled, keyCalled, userCalled } from '@/testing/identities'
import { type Access, admin, apiKey, decide, everyone, owner, user } from './access'
import { anonymous, type Identity } from './identity'

const ada = userCalled('ada')
const bob = userCalled('bob')
const ofAda = { id: 'ada' }
const owners: Record<string, string> = { 'order-1': 'ada' }
const ownOrder = owner(async ({ id = '' }) => owners[id])

/** What is answered: a code, or `yes`. */
const answer = async (identity: Identity, rules: readonly Access[], params: Record<string, string> = {}) =>
  (await decide(identity, rules, params))?.code ?? 'yes'

const all: readonly Identity[] = [
  anonymous,
  ada,
  keyCalled('k', ['things:read']),
  keyCalled('k', ['things:read'], 'ada'),
  adminCalled('root'),
  adminCalled('none', []),
]

test('a route that everyone may call answers everyone, whatever else it says', async () => {
  for (const identity of all) {
    expect(await answer(identity, [everyone()])).toBe('yes')
    expect(await answer(identity, [admin('things:write'), owner(), everyone()])).toBe('yes')
  }
})

test('a route without rules answers nobody', async () => {
  for (const identity of all)
    expect(await answer(identity, [])).toBe(identity.kind === 'anonymous' ? 'Unauthenticated.Credentials' : 'PermissionDenied.NotForYou')
})

test('whom nobody knows is told to log in, wherever somebody may call', async () => {
  for (const rule of [user(), owner(), ownOrder, apiKey('things:read'), admin('things:read')])
    expect(await answer(anonymous, [rule], ofAda)).toBe('Unauthenticated.Credentials')
})

test('user() is whoever has logged in, and nobody else', async () => {
  expect(await answer(ada, [user()])).toBe('yes')
  for (const identity of [keyCalled('k', ['things:read']), keyCalled('k', ['things:read'], 'ada'), adminCalled('root')])
    expect(await answer(identity, [user()])).toBe('PermissionDenied.NotForYou')
})

test('owner() is the user of the path, and no administrator', async () => {
  expect(await answer(ada, [owner()], ofAda)).toBe('yes')
  expect(await answer(bob, [owner()], ofAda)).toBe('PermissionDenied.NotYours')
  expect(await answer(bob, [owner()], {})).toBe('PermissionDenied.NotYours')
  // Ids of different kinds of callers may be the same.
  for (const identity of [adminCalled('ada'), keyCalled('ada', [])])
    expect(await answer(identity, [owner()], ofAda)).toBe('PermissionDenied.NotForYou')
})

test('what belongs to another and what is not there are answered alike', async () => {
  expect(await answer(ada, [ownOrder], { id: 'order-1' })).toBe('yes')
  const [others, nobodys] = await Promise.all([decide(bob, [ownOrder], { id: 'order-1' }), decide(bob, [ownOrder], { id: 'order-2' })])
  expect(others?.code).toBe('NotFound.NotFound')
  expect([others?.code, others?.message, others?.problems]).toEqual([nobodys?.code, nobodys?.message, nobodys?.problems] as never)
})

test('who the owner is, is asked only for callers who could be the owner', async () => {
  let asked = 0
  const counted = owner(async () => {
    asked++
    return 'ada'
  })
  const service = keyCalled('k', ['things:read'])
  for (const identity of [anonymous, adminCalled('root'), service, keyCalled('k', ['other'], 'ada')])
    await answer(identity, [counted, apiKey('things:read'), admin('things:read')])
  expect(asked).toBe(0)
  expect(await answer(ada, [counted])).toBe('yes')
  expect(await answer(keyCalled('k', ['things:read'], 'ada'), [counted, apiKey('things:read')])).toBe('yes')
  expect(asked).toBe(2)
})

test('a key needs the scope, and says which when it does not have it', async () => {
  expect(await answer(keyCalled('k', ['things:read']), [apiKey('things:read')])).toBe('yes')
  const refusal = await decide(keyCalled('k', ['things:write', 'Things:read', 'things']), [apiKey('things:read'), owner()], ofAda)
  expect([refusal?.code, refusal?.problems]).toEqual([
    'PermissionDenied.Scope',
    [{ pointer: 'authorization', detail: 'does not have the scope things:read' }],
  ])
  expect(refusal?.scopes).toEqual(['things:read'])
  expect(await answer(keyCalled('k', ['things:read']), [admin('things:read')])).toBe('PermissionDenied.NotForYou')
})

test('the key of a user may do no more than the user', async () => {
  const adas = keyCalled('k', ['things:read'], 'ada')
  const read = apiKey('things:read')
  expect(await answer(adas, [read])).toBe('PermissionDenied.NotForYou')
  expect(await answer(adas, [read, user()])).toBe('yes')
  expect(await answer(adas, [read, owner()], ofAda)).toBe('yes')
  expect(await answer(adas, [read, owner()], { id: 'bob' })).toBe('PermissionDenied.NotYours')
  expect(await answer(adas, [read, ownOrder], { id: 'order-1' })).toBe('yes')
  expect(await answer(keyCalled('k', ['things:read'], 'bob'), [read, ownOrder], { id: 'order-1' })).toBe('NotFound.NotFound')
  // The user may, and the key may not: it has no scope for it.
  expect(await answer(adas, [owner()], ofAda)).toBe('PermissionDenied.NotForYou')
  expect(await answer(keyCalled('k', [], 'ada'), [apiKey('things:write'), owner()], ofAda)).toBe('PermissionDenied.Scope')
})

test('the key of a service needs the scope alone', async () => {
  for (const rules of [[apiKey('things:read')], [owner(), apiKey('things:read')], [ownOrder, apiKey('things:read')]])
    expect(await answer(keyCalled('k', ['things:read']), rules, { id: 'order-2' })).toBe('yes')
})

test('an administrator needs the permission, or every one, and is told which it is', async () => {
  const rules = [admin('things:write')]
  expect(await answer(adminCalled('a', ['things:write']), rules)).toBe('yes')
  expect(await answer(adminCalled('a', ['*']), rules)).toBe('yes')
  const refusal = await decide(adminCalled('a', ['things:read', 'things:*']), rules, {})
  expect([refusal?.code, refusal?.problems]).toEqual([
    'PermissionDenied.Permission',
    [{ pointer: 'authorization', detail: 'does not have the permission things:write' }],
  ])
  for (const identity of [ada, keyCalled('k', ['things:write', '*'])])
    expect(await answer(identity, rules)).toBe('PermissionDenied.NotForYou')
})

test('whoever is of another kind is told which kinds may, and no key of a user where no user may', async () => {
  const told = async (rules: readonly Access[]) => (await decide(adminCalled('root'), rules, {}))?.problems
  expect(await told([user(), apiKey('things:read')])).toEqual([
    { pointer: 'authorization', detail: 'must be of user or apiKey(things:read)' },
  ])
  expect(await told([apiKey('things:read')])).toEqual([{ pointer: 'authorization', detail: 'must be of serviceKey(things:read)' }])
  expect(await told([])).toEqual([])
})

test('a name that every object has is no owner, scope or permission', async () => {
  for (const name of ['constructor', '__proto__', 'toString']) {
    expect(await answer(userCalled(name), [owner()], Object.create(null))).toBe('PermissionDenied.NotYours')
    expect(await answer(keyCalled('k', []), [apiKey(name)])).toBe('PermissionDenied.Scope')
    expect(await answer(adminCalled('a', []), [admin(name)])).toBe('PermissionDenied.Permission')
  }
})
