import { describe, expect, test } from 'bun:test'
import { AppError } from '@/core/error'
import type { Guess, Throttle } from '@/core/throttle'
import type { Opened, SessionBiz } from '@/modules/session'
import { failure } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { device } from '@/testing/sessions'
import { userSessionBiz } from './biz'

type Biz = ReturnType<typeof userSessionBiz>
type Users = Parameters<typeof userSessionBiz>[0]['users']
type User = NonNullable<Awaited<ReturnType<Users['current']>>>

const ada: User = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  username: 'ada',
  email: 'ada@example.com',
  status: 'active',
  createdAt: '2026-01-31T09:05:00.000Z',
  updatedAt: '2026-01-31T09:05:00.000Z',
  version: 1,
} as User
const tokens = { accessToken: 'eyJ.access', refreshToken: 'br_refresh', expiresInSeconds: 600 }
const opened: Opened = { tokens, accountId: ada.id, sessionId: 's1' }
const password = 'correct horse'

/** What sessions are asked, in order; what a test does not give cannot be called. */
function setUp(users: Partial<Users> = {}, sessions: Partial<SessionBiz> = {}) {
  const guesses: Guess[] = []
  const begun: string[] = []
  const throttle: Pick<Throttle, 'guess'> = {
    guess(guess, check) {
      guesses.push(guess)
      return check()
    },
  }
  const log = fakeLog()
  const openIf: SessionBiz['openIf'] = async (realm, accountId, _, holds) => {
    begun.push(`${realm} ${accountId}`)
    return (await holds('s1')) ? opened : undefined
  }
  const known: Users = {
    verifyPassword: async (_, given) => (given === password ? ada : undefined),
    current: async () => ada,
    ...users,
  }
  const biz: Biz = userSessionBiz({ log, throttle, users: known, sessions: { openIf, ...sessions } as SessionBiz })
  return { biz, log, guesses, begun }
}

const refusal = async (work: Promise<unknown>) => {
  const thrown = await work.then(
    () => undefined,
    (error: AppError) => error,
  )
  return thrown && [thrown.code, thrown.message, thrown.problems, thrown.retryAfterSeconds]
}

describe('logging in', () => {
  test('is refused in the same words for an account that there is not and for a wrong password', async () => {
    const { biz, begun, log } = setUp()
    const wrong = await refusal(biz.logIn({ login: 'ada', password: 'another' }, device))
    const unknown = await refusal(setUp({ verifyPassword: async () => undefined }).biz.logIn({ login: 'nobody', password }, device))
    expect(wrong).toEqual(['Unauthenticated.LogInRefused', 'The username or password is wrong.', [], undefined])
    expect([unknown, begun]).toEqual([wrong, []])
    expect(log.lines).toEqual([
      { level: 'info', message: 'a log-in was refused', fields: { realm: 'api', reason: 'wrong', address: device.address } },
    ])
  })
  test('tells that an account is suspended to nobody but who knows its password', async () => {
    const suspended = { ...ada, status: 'suspended' as const }
    const users = { verifyPassword: async (_: string, given: string) => (given === password ? suspended : undefined) }
    const { biz, begun } = setUp(users)
    expect(await failure(biz.logIn({ login: 'ada', password: 'another' }, device))).toBe('Unauthenticated.LogInRefused')
    expect(await failure(biz.logIn({ login: 'ada', password }, device))).toBe('PermissionDenied.AccountSuspended')
    expect(begun).toEqual([])
  })
  test('is slowed down by the account as it was spelled, and where it comes from', async () => {
    const { biz, guesses } = setUp()
    await biz.logIn({ login: ' Ada@Example.com', password }, device)
    expect(guesses).toEqual([{ purpose: 'log-in', account: ' Ada@Example.com', address: device.address }])
  })
  test('checks no password while it is too early', async () => {
    const throttle: Pick<Throttle, 'guess'> = {
      guess: () => Promise.reject(new AppError('ResourceExhausted', 'TooManyGuesses', '', { retryAfterSeconds: 7 })),
    }
    const users = { verifyPassword: () => Promise.reject(new Error('asked')), current: async () => ada }
    const biz = userSessionBiz({ log: fakeLog(), throttle, users, sessions: {} as SessionBiz })
    expect(await failure(biz.logIn({ login: 'ada', password }, device))).toBe('ResourceExhausted.TooManyGuesses')
  })
  test('gives tokens and the user, and says so without them', async () => {
    const { biz, begun, log } = setUp()
    expect(await biz.logIn({ login: 'ada', password }, device)).toEqual({ ...tokens, user: ada })
    expect(begun).toEqual([`api ${ada.id}`])
    expect(log.lines).toEqual([
      { level: 'info', message: 'a user has logged in', fields: { actor: `user:${ada.id}`, address: device.address } },
    ])
  })
  test('checks the password again when the account was changed meanwhile, and gives up on one that keeps changing', async () => {
    let version = 1
    const current = async () => {
      version = 2
      return { ...ada, version }
    }
    const moved = setUp({ verifyPassword: async () => ({ ...ada, version }), current })
    expect(await moved.biz.logIn({ login: 'ada', password }, device)).toMatchObject(tokens)
    expect([moved.begun.length, moved.guesses.length]).toEqual([2, 2])
    // A new password: the second check finds it wrong.
    version = 1
    const another = { verifyPassword: async () => (version === 1 ? ada : undefined), current }
    expect(await failure(setUp(another).biz.logIn({ login: 'ada', password }, device))).toBe('Unauthenticated.LogInRefused')
    const restless = setUp({ current: async () => ({ ...ada, version: ++version }) })
    expect(await failure(restless.biz.logIn({ login: 'ada', password }, device))).toBe('Unauthenticated.LogInRefused')
    expect(restless.begun).toHaveLength(3)
    const gone = setUp({ current: async () => undefined })
    expect(await failure(gone.biz.logIn({ login: 'ada', password }, device))).toBe('Unauthenticated.LogInRefused')
  })
})

describe('who sends an access token', () => {
  const verified = { accountId: ada.id, sessionId: 's1', expiresAtMs: 7, provenAtMs: 5 }
  test('is a user, for as long as session and account are as they are', async () => {
    const touched: string[] = []
    const { biz } = setUp({}, { verify: async () => verified, touch: async id => void touched.push(id) })
    const identified = await biz.identifier.identify('eyJ')
    expect(identified).toEqual({
      identity: { kind: 'user', id: ada.id, sessionId: 's1' },
      expiresAtMs: 7,
      subjects: [`user:${ada.id}`, 'session:s1'],
      used: expect.any(Function),
    })
    expect(touched).toEqual([])
    identified?.used?.()
    expect(touched).toEqual(['s1'])
  })
  test('is nobody when the session has ended, or the account is suspended or gone', async () => {
    const verify: SessionBiz['verify'] = async () => verified
    for (const { biz } of [
      setUp({}, { verify: async () => undefined }),
      setUp({ current: async () => ({ ...ada, status: 'suspended' }) }, { verify }),
      setUp({ current: async () => undefined }, { verify }),
    ])
      expect(await biz.identifier.identify('eyJ')).toBeUndefined()
  })
  test('is asked of sessions of the API server only, and of nothing that is no JWT', async () => {
    const realms: string[] = []
    const { biz } = setUp({}, { verify: async realm => void realms.push(realm) as undefined })
    await biz.identifier.identify('eyJ')
    expect(realms).toEqual(['api'])
    expect(['eyJhbGciOi', 'br_abc', 'bk_abc', ''].map(biz.identifier.takes)).toEqual([true, false, false, false])
  })
  test('refreshes for as long as the account is active', async () => {
    const asked: boolean[] = []
    for (const current of [ada, { ...ada, status: 'suspended' as const }, undefined]) {
      const refresh: SessionBiz['refresh'] = async (realm, token, _, mayStay) => {
        expect([realm, token]).toEqual(['api', 'br_x'])
        asked.push(await mayStay(ada.id))
        return opened
      }
      expect(await setUp({ current: async () => current }, { refresh }).biz.refresh('br_x', device)).toEqual(tokens)
    }
    expect(asked).toEqual([true, false, false])
  })
})
