import { describe, expect, test } from 'bun:test'
import type { AuditEntry } from '@/core/audit'
import { AppError } from '@/core/error'
import type { AdminIdentity } from '@/core/identity'
import type { Administrator } from '@/modules/administrator'
import type { SessionBiz } from '@/modules/session'
import { settingsOf } from '@/testing/accounts'
import { failure } from '@/testing/conformance/fixture'
import { fakeDatabase, fakeLog, fakeThrottle } from '@/testing/fakes'
import { adminCalled } from '@/testing/identities'
import { device } from '@/testing/sessions'
import { adminSessionBiz } from './biz'

const [password, rightCode] = ['correct horse', '123456']
const grace: Administrator = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  username: 'grace',
  status: 'active',
  hasPassword: true,
  roles: [{ id: 'r1', name: 'root' }],
  permissions: ['*'],
  createdAt: '2026-01-31T09:05:00.000Z',
  updatedAt: '2026-01-31T09:05:00.000Z',
  version: 1,
}
const tokens = { accessToken: 'eyJ.access', refreshToken: 'br_refresh', expiresInSeconds: 600 }
const logIn = { username: 'grace', password }
const me: AdminIdentity = { ...adminCalled(grace.id), username: 'grace' }
const asking = { identity: me, address: device.address }

/** @param factors ids of the second factor, one for each time that it is asked for; the last for all times after */
function setUp({ factors = [], secondFactor = 'optional', administrator = grace, versions = [], idNamed }: Scene = {}) {
  const log = fakeLog()
  const throttle = { ...fakeThrottle(), isEarly: false }
  const { guess } = throttle
  throttle.guess = (asked, check) =>
    throttle.isEarly ? Promise.reject(new AppError('ResourceExhausted', 'TooEarly', 'It is too early.')) : guess(asked, check)
  const [begun, proven, spent]: [string[], string[], string[]] = [[], [], []]
  const recorded: Pick<AuditEntry, 'action' | 'reason' | 'object'>[] = []
  const next = <T>(list: T[]): T | undefined => (list.length > 1 ? list.shift() : list[0])
  const settings = { ...settingsOf(), admin: { ...settingsOf().admin, secondFactor } }
  const note = ({ action, object, reason }: AuditEntry) =>
    void recorded.push({ action, ...(object && { object }), ...(reason && { reason }) })
  const biz = adminSessionBiz({
    ...{ db: fakeDatabase(), log, throttle, settings },
    administrators: {
      verifyPassword: async (_, given) => (given === password ? administrator : undefined),
      current: async () => ({ ...administrator, version: next(versions) ?? administrator.version }),
      idNamed: async () => idNamed?.() ?? administrator.id,
    },
    factors: {
      idOf: async () => next(factors),
      async prove(_, code) {
        spent.push(code)
        // Good once.
        return code === 'blocked' ? 'blocked' : code === rightCode && spent.filter(each => each === code).length === 1 ? 'right' : 'wrong'
      },
      demand: async (_, code) => void spent.push(code),
    },
    sessions: {
      async openIf(_, accountId, __, holds) {
        begun.push(accountId)
        return (await holds('s1')) ? { tokens, accountId, sessionId: 's1' } : undefined
      },
      verify: async () => ({ accountId: grace.id, sessionId: 's1', expiresAtMs: 7, provenAtMs: 1000 }),
      async prove(_, realm, accountId, sessionId) {
        proven.push(`${realm} ${accountId} ${sessionId}`)
        return 5000
      },
    } as Partial<SessionBiz> as SessionBiz,
    audit: {
      record: async (_, __, entry) => note(entry),
      note: async (_, entry) => note(entry),
      refused: (_, entry, more) => void more().then(also => note({ ...entry, ...also })),
    },
  })
  return { biz, log, throttle, begun, proven, spent, recorded }
}
interface Scene {
  factors?: (string | undefined)[]
  secondFactor?: 'optional' | 'required'
  administrator?: Administrator
  versions?: number[]
  idNamed?: () => Promise<string>
}

describe('logging in with a second factor', () => {
  test('whoever has a second factor needs a code to log in, which is asked of nobody but who knows the password', async () => {
    const { biz, begun, spent, recorded } = setUp({ factors: ['f1'] })
    const wrong = { ...logIn, password: 'another' }
    for (const code of [undefined, rightCode])
      expect(await failure(biz.logIn({ ...wrong, ...(code && { code }) }, device))).toBe('Unauthenticated.LogInRefused')
    expect(spent).toEqual([])
    expect(await failure(biz.logIn(logIn, device))).toBe('Unauthenticated.CodeNeeded')
    expect(await failure(biz.logIn({ ...logIn, code: '000000' }, device))).toBe('Unauthenticated.CodeWrong')
    expect(await failure(biz.logIn({ ...logIn, code: 'blocked' }, device))).toBe('Unauthenticated.CodesBlocked')
    expect(begun).toEqual([])
    const reasons = ['LogInRefused', 'LogInRefused', 'CodeNeeded', 'CodeWrong', 'CodesBlocked'].map(reason => `Unauthenticated.${reason}`)
    expect(recorded.map(({ action, reason }) => [action, reason])).toEqual(reasons.map(reason => ['admin-session.refused', reason]))
    expect(await biz.logIn({ ...logIn, code: rightCode }, device)).toEqual({ tokens, administrator: grace })
    expect(begun).toEqual([grace.id])
  })

  test('asks for no code where there is no second factor, and takes no notice of one', async () => {
    const { biz, spent } = setUp()
    expect(await biz.logIn({ ...logIn, code: '000000' }, device)).toEqual({ tokens, administrator: grace })
    expect(spent).toEqual([])
  })

  test('does not use up a second code when the password has to be checked again', async () => {
    const { biz, begun, spent } = setUp({ factors: ['f1'], versions: [2, 1] })
    await biz.logIn({ ...logIn, code: rightCode }, device)
    expect([begun.length, spent]).toEqual([2, [rightCode]])
  })

  test('needs a code of whoever was logging in while it was set up', async () => {
    const { biz, begun } = setUp({ factors: [undefined, 'f1'] })
    expect(await failure(biz.logIn(logIn, device))).toBe('Unauthenticated.CodeNeeded')
    // The session was there for a moment, and nobody has had its tokens.
    expect(begun).toHaveLength(1)
  })

  test('of a suspended administrator asks for no code', async () => {
    const { biz, spent } = setUp({ factors: ['f1'], administrator: { ...grace, status: 'suspended' } })
    expect(await failure(biz.logIn({ ...logIn, code: rightCode }, device))).toBe('PermissionDenied.AdministratorSuspended')
    expect(spent).toEqual([])
  })

  test('writes no code down', async () => {
    const { biz, log, recorded } = setUp({ factors: ['f1'] })
    await failure(biz.logIn({ ...logIn, code: '717273' }, device))
    expect(JSON.stringify([log.lines, recorded])).not.toContain('717273')
    expect(log.lines).toEqual([
      {
        level: 'info',
        message: 'a log-in was refused',
        fields: { realm: 'admin', reason: 'Unauthenticated.CodeWrong', address: device.address },
      },
    ])
  })
})

test('a refused log-in is answered before it is known whether there is an administrator of the name', async () => {
  const found = Promise.withResolvers<string>()
  const { biz, recorded } = setUp({ idNamed: () => found.promise })
  expect(await failure(biz.logIn({ ...logIn, password: 'another' }, device))).toBe('Unauthenticated.LogInRefused')
  expect(recorded).toEqual([])
  found.resolve('g')
  await Bun.sleep(0)
  expect(recorded).toEqual([{ action: 'admin-session.refused', object: 'administrator:g', reason: 'Unauthenticated.LogInRefused' }])
})

describe('who has logged in', () => {
  const identityOf = async (scene: Scene) => (await setUp(scene).biz.identifier.identify('eyJ'))?.identity

  test('has proven it until some time after the last proof', async () => {
    expect(await identityOf({})).toMatchObject({ username: 'grace', permissions: new Set(['*']), provenUntilMs: 901_000 })
  })

  test('may do nothing but set up a second factor, where everybody needs one', async () => {
    const lacking = await identityOf({ secondFactor: 'required' })
    expect(lacking).toMatchObject({ permissions: new Set(), lacks: 'secondFactor' })
    for (const scene of [{ secondFactor: 'required', factors: ['f1'] }, { secondFactor: 'optional' }] as const) {
      const identity = await identityOf({ ...scene, factors: [...(scene.factors ?? [])] })
      expect(identity).toMatchObject({ permissions: new Set(['*']) })
      expect(identity).not.toHaveProperty('lacks')
    }
  })

  test('is forgotten when a role of theirs changes', async () => {
    const identified = await setUp().biz.identifier.identify('eyJ')
    expect(identified?.subjects).toEqual([`admin:${grace.id}`, 'session:s1', 'adminRole:r1'])
  })
})

describe('a proof', () => {
  test('is the password where there is no second factor, guesses at which are counted as those at a log-in', async () => {
    const { biz, throttle, proven, recorded } = setUp()
    expect(await failure(biz.prove(me, {}, asking))).toBe('Unprocessable.ProofNeeded')
    expect(await failure(biz.prove(me, { code: rightCode }, asking))).toBe('Unprocessable.ProofNeeded')
    expect(await failure(biz.prove(me, { password: 'another' }, asking))).toBe('Unprocessable.PasswordWrong')
    // A proof that does not come is no guess; one that is wrong is seen.
    const tried = { action: 'admin-session.prove', object: `admin-session:${me.sessionId}` }
    expect([proven, recorded.splice(0)]).toEqual([[], [{ ...tried, reason: 'Unprocessable.PasswordWrong' }]])
    throttle.isEarly = true
    expect(await failure(biz.prove(me, { password }, asking))).toBe('ResourceExhausted.TooEarly')
    expect(recorded.splice(0)).toEqual([{ ...tried, reason: 'ResourceExhausted.TooEarly' }])
    throttle.isEarly = false
    expect(await biz.prove(me, { password }, asking)).toEqual({ provenUntil: '1970-01-01T00:15:05.000Z' })
    expect(proven).toEqual([`admin ${grace.id} ${me.sessionId}`])
    expect(recorded).toEqual([{ action: 'admin-session.prove', object: `admin-session:${me.sessionId}` }])
    const counted = { purpose: 'admin log-in', account: 'grace', address: device.address }
    expect(throttle.guesses).toEqual([false, true].map(isRight => ({ ...counted, isRight })))
  })

  test('is a code where there is one, and the password is none then', async () => {
    const { biz, proven, spent } = setUp({ factors: ['f1'] })
    expect(await failure(biz.prove(me, { password }, asking))).toBe('Unprocessable.ProofNeeded')
    expect(proven).toEqual([])
    await biz.prove(me, { password, code: rightCode }, asking)
    expect([spent, proven.length]).toEqual([[rightCode], 1])
  })
})
