import { expect, test } from 'bun:test'
import type { AdminIdentity } from '@/core/identity'
import type { Administrator } from '@/modules/administrator'
import type { SecondFactorBiz } from '@/modules/second-factor'
import { failure } from '@/testing/conformance/fixture'
import { fakeDatabase, fakeLog } from '@/testing/fakes'
import { adminCalled } from '@/testing/identities'
import { adminMeBiz } from './biz'

const id = '01890a5d-ac96-774b-bcce-b302099a8057'
const grace = { id, username: 'grace', version: 7 } as Administrator
const me: AdminIdentity = { ...adminCalled(id, ['users:read', 'audit:read']), username: 'grace', provenUntilMs: 5000 }
const asking = { identity: me, address: '192.0.2.1' }
const input = { currentPassword: 'the current one', password: 'another horse battery' }
const wrong = new Error('the password is wrong')

function setUp() {
  const done: unknown[] = []
  const biz = adminMeBiz({
    ...{ db: fakeDatabase(), log: fakeLog() },
    administrators: {
      get: async () => grace,
      hashPassword: async (_, password) => `hash of ${password}`,
      async setPassword(_, ...given) {
        done.push(['set', ...given])
        return grace
      },
      tell: async (_, ...given) => void done.push(['tell', ...given]),
    },
    invitations: { removeAll: async (_, whose) => void done.push(['void', whose]) },
    factors: {
      find: async () => ({ confirmedAt: '2026-01-31T09:05:00.000Z', recoveryCodesLeft: 3 }),
      async begin({ username }) {
        done.push(['begin', username])
        return { secret: 'A', otpauthUri: 'otpauth://totp/A', expiresAt: '2026-01-31T09:20:00.000Z' }
      },
    } as Partial<SecondFactorBiz> as SecondFactorBiz,
    sessions: {
      async confirmPassword(_, password) {
        if (password !== input.currentPassword) throw wrong
        return grace
      },
    },
    audit: { record: async (_, by, { action, object }) => void done.push([action, by.actor, object]) },
  })
  return { biz, done }
}

test('nothing is done for whoever does not know the password', async () => {
  const { biz, done } = setUp()
  const guess = { ...input, currentPassword: 'a guess' }
  expect(await failure(biz.changePassword(me, guess, asking))).toBe(await failure(Promise.reject(wrong)))
  expect(await failure(biz.beginSecondFactor(me, guess, asking))).toBe(await failure(Promise.reject(wrong)))
  expect(done).toEqual([])
})

test('a password is changed if it is still the one that was checked, with a line in the audit log, and codes to choose one are void', async () => {
  const { biz, done } = setUp()
  await biz.changePassword(me, input, asking)
  expect(done).toEqual([
    ['set', id, 'hash of another horse battery', { versions: [7] }],
    ['void', id],
    ['administrator.set-password', `admin:${id}`, `administrator:${id}`],
    ['tell', id, { endsSessions: true, except: me.sessionId }],
  ])
})

test('who one is says what one may do now, and until when that is proven', async () => {
  const said = await setUp().biz.get({ ...me, permissions: new Set(), lacks: 'secondFactor' })
  expect(said).toEqual({
    ...{ administrator: grace, permissions: [], lacks: 'secondFactor', sessionId: me.sessionId },
    ...{ secondFactor: { confirmedAt: '2026-01-31T09:05:00.000Z', recoveryCodesLeft: 3 }, provenUntil: '1970-01-01T00:00:05.000Z' },
  })
  expect((await setUp().biz.get(me)).permissions).toEqual(['audit:read', 'users:read'])
})
