import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type Client, newServiceKey, newUser } from '../clients'
import { newSignUp, type Problem, type UserView } from '../http-client'

onEachBacking('users', open => {
  let backing: Backing
  let bingo: RunningBingo
  let users: string
  let service: Client
  beforeAll(async () => {
    backing = await open()
    bingo = await startBingo(backing.options)
    users = `${bingo.url}/api/v1/users`
    service = await newServiceKey(backing)
  })
  afterAll(async () => {
    await bingo.stop()
    await backing.dispose()
  })
  const send: Client['send'] = (method, url, body, headers) => service.send(method, url, body, headers)
  const signUp = async (over?: Record<string, unknown>) => (await send<UserView>('POST', users, newSignUp(over))).body

  describe('signing up', () => {
    test('every field at fault is named once, and nothing is kept', async () => {
      const { status, headers, body } = await send<Problem>('POST', users, {
        username: 'a',
        email: 'nope',
        password: 'short',
        nickname: '',
        role: 'root',
      })
      expect(status).toBe(422)
      expect(headers.get('content-type')).toBe('application/problem+json')
      expect(body.code).toBe('Unprocessable.Fields')
      expect(body.errors?.map(error => error.pointer).toSorted()).toEqual(['/email', '/nickname', '/password', '/role', '/username'])
      expect(body.requestId).toBe(headers.get('x-request-id') as string)
      expect(JSON.stringify(body)).not.toContain('short')
    })
    test('a password that is common, or the account itself, is refused', async () => {
      const names = newSignUp()
      for (const password of ['password1', 'Baseball', '1234567890', names.username, names.email.toUpperCase()]) {
        const { status, body } = await send<Problem>('POST', users, { ...names, password })
        expect([password, status, body.code]).toEqual([password, 422, 'Unprocessable.PasswordWeak'])
        expect(body.errors?.[0]?.pointer).toBe('/password')
      }
    })
    test('a username or e-mail address that is taken is refused, in whatever case, and the username is named first', async () => {
      const first = newSignUp()
      await send('POST', users, first)
      const taken = await send<Problem>('POST', users, newSignUp({ username: ` ${first.username.toUpperCase()} ` }))
      expect([taken.status, taken.body.code]).toEqual([409, 'Conflict.UsernameTaken'])
      const registered = await send<Problem>('POST', users, newSignUp({ email: first.email.toUpperCase() }))
      expect([registered.status, registered.body.code]).toEqual([409, 'Conflict.EmailTaken'])
      expect((await send<Problem>('POST', users, first)).body.code).toBe('Conflict.UsernameTaken')
    })
    test('a user is made, answered with its place and its tag, and never with its password', async () => {
      const input = newSignUp({ username: ' Grace.Hopper ', nickname: 'Grace 💥', email: ' Grace@Example.COM ' })
      const { status, headers, body } = await send<UserView>('POST', users, input)
      expect(status).toBe(201)
      expect(body).toEqual({
        id: body.id,
        username: 'grace.hopper',
        email: 'grace@example.com',
        nickname: 'Grace 💥',
        status: 'active',
        createdAt: body['createdAt'],
        updatedAt: body['createdAt'],
        version: 1,
      })
      expect(headers.get('location')).toBe(`/api/v1/users/${body.id}`)
      expect(headers.get('etag')).toBe('"1"')
      expect(Date.now() - Date.parse(body['createdAt'] as string)).toBeLessThan(10_000)
    })
    test('a user without a nickname has none, rather than null', async () => {
      expect(Object.keys(await signUp())).not.toContain('nickname')
    })
  })

  describe('one user', () => {
    test('there is no user under an id that does not exist, or cannot', async () => {
      for (const id of ['01890a5d-ac96-774b-bcce-b302099a8057', 'nope', '%00', "'%20or%201=1", '%E0%A4%A', '..%2f', 'x'.repeat(300)]) {
        for (const method of ['GET', 'DELETE']) {
          const { status, body } = await send<Problem>(method, `${users}/${id}`)
          expect([id, method, status, body.code.split('.')[0]]).toEqual([id, method, 404, 'NotFound'])
        }
      }
    })
    test('a user is read by itself, with its tag', async () => {
      const { user, send } = await newUser(bingo.url)
      const { status, headers, body } = await send<UserView>('GET', `${users}/${user.id}`)
      expect([status, headers.get('etag')]).toEqual([200, '"1"'])
      expect(body).toEqual(user)
    })
    test('HEAD tells what GET would', async () => {
      const user = await signUp()
      const response = await fetch(`${users}/${user.id}`, { method: 'HEAD', headers: service.headers })
      expect([response.status, response.headers.get('etag'), await response.text()]).toEqual([200, '"1"', ''])
    })
  })

  describe('changing a user', () => {
    test('what is not to be changed is refused', async () => {
      const user = await signUp()
      for (const patch of [
        { username: 'other' },
        { status: 'suspended' },
        { id: user.id },
        { version: 9 },
        { passwordHash: 'x' },
        { email: null },
        { nickname: 5 },
      ]) {
        const { status } = await send('PATCH', `${users}/${user.id}`, patch)
        expect([patch, status]).toEqual([patch, 422])
      }
      expect((await send('GET', `${users}/${user.id}`)).body).toEqual(user)
    })
    test('a change of another version than the one seen is refused', async () => {
      const user = await signUp()
      const url = `${users}/${user.id}`
      for (const tag of ['"2"', 'W/"2"', '1', 'nonsense', '"99", "2"', '']) {
        const { status, body } = await send<Problem>('PATCH', url, { nickname: 'x' }, { 'if-match': tag })
        expect([tag, status, body.code]).toEqual([tag, 412, 'FailedPrecondition.VersionMismatch'])
      }
      expect((await send('DELETE', url, undefined, { 'if-match': '"2"' })).status).toBe(412)
      expect((await send('GET', url)).body).toEqual(user)
    })
    test('an address that another user has is refused', async () => {
      const [one, other] = [await signUp(), await newUser(bingo.url)]
      const patch = { email: one.email, currentPassword: other.password }
      const { status, body } = await other.send<Problem>('PATCH', `${users}/${other.user.id}`, patch)
      expect([status, body.code]).toEqual([409, 'Conflict.EmailTaken'])
    })
    test('a merge patch sets, removes and leaves alone', async () => {
      const { user, password: currentPassword, send } = await newUser(bingo.url, { nickname: 'Old' })
      const url = `${users}/${user.id}`
      const set = await send<UserView>('PATCH', url, '{"nickname":"New"}', {
        'content-type': 'application/merge-patch+json',
        'if-match': '"7", "1"',
      })
      expect([set.status, set.body['nickname'], set.body.version, set.headers.get('etag')]).toEqual([200, 'New', 2, '"2"'])
      const removed = await send<UserView>('PATCH', url, { nickname: null }, { 'if-match': '*' })
      expect(removed.body).not.toHaveProperty('nickname')
      expect([removed.body.version, removed.body.email]).toEqual([3, user.email])
      const moved = await send<UserView>('PATCH', url, { email: ` NEW-${user.email}`, currentPassword })
      expect(moved.body.email).toBe(`new-${user.email}`)
      expect((await send('GET', url)).body).toEqual(moved.body)
    })
    test('an empty patch changes nothing', async () => {
      const user = await signUp()
      expect((await send('PATCH', `${users}/${user.id}`, {})).body).toEqual(user)
    })
    test('a removed user is gone, and its name is free again', async () => {
      const input = newSignUp()
      const { body } = await send<UserView>('POST', users, input)
      const answer = await send('DELETE', `${users}/${body.id}`, undefined, { 'if-match': '"1"' })
      expect([answer.status, answer.body]).toEqual([204, undefined as never])
      expect((await send('GET', `${users}/${body.id}`)).status).toBe(404)
      expect((await send('DELETE', `${users}/${body.id}`)).status).toBe(404)
      expect((await send('POST', users, input)).status).toBe(201)
    })
  })

  describe('the list of users', () => {
    test('a query that cannot be meant is refused with the parameter', async () => {
      const refused: [string, string | undefined][] = [
        ['pageSize=-1', 'pageSize'],
        ['pageSize=ten', 'pageSize'],
        ['pageSize=1.5', 'pageSize'],
        ['status=gone', 'status'],
        ['orderBy=passwordHash', 'orderBy'],
        ['orderBy=createdAt;drop table user', 'orderBy'],
        ['filter=x', 'filter'],
        ['pageSize=1&pageSize=2', 'pageSize'],
        ['pageToken=forged', undefined],
        ['status=%00', undefined],
        ['status=%ff', undefined],
      ]
      for (const [query, parameter] of refused) {
        const { status, body } = await send<Problem>('GET', `${users}?${query}`)
        expect([query, status, body.code.split('.')[0], body.errors?.[0]?.pointer]).toEqual([query, 400, 'InvalidArgument', parameter])
      }
    })
    test('pages hold every user once, newest first, and end', async () => {
      const made = []
      for (let i = 0; i < 5; i++) made.push((await signUp()).id)
      const seen: string[] = []
      let pageToken = ''
      do {
        const { status, body } = await send<{ items: UserView[]; nextPageToken: string }>(
          'GET',
          `${users}?pageSize=3&pageToken=${pageToken}`,
        )
        expect(status).toBe(200)
        seen.push(...body.items.map(user => user.id))
        pageToken = body.nextPageToken
      } while (pageToken)
      expect(seen.slice(0, 5)).toEqual(made.toReversed())
      expect(new Set(seen).size).toBe(seen.length)
    })
    test('it can be ordered by name, narrowed by status, and no page is larger than 100', async () => {
      const byName = await send<{ items: UserView[] }>('GET', `${users}?orderBy=username%20asc&pageSize=1000`)
      const names = byName.body.items.map(user => user.username)
      expect(names).toEqual(names.toSorted())
      expect(names.length).toBeLessThanOrEqual(100)
      expect((await send<{ items: UserView[] }>('GET', `${users}?status=suspended`)).body.items).toEqual([])
    })
  })
})
