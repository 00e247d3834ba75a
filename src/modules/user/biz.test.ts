import { describe, expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import { mailErrors } from '@/core/mailer'
import type { Store } from '@/core/store'
import { createPasswords } from '@/infra/passwords'
import { onEachBacking } from '@/testing/backings'
import { accountsOn, settingsOf } from '@/testing/accounts'
import {
  fakeDatabase,
  fakeLiveSettings,
  fakeLog,
  fakeMailer,
  fakeMetrics,
  fakePasswords,
  fakeQueue,
  fakeThrottle,
  testCipher,
} from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { userBiz } from './biz'
import { type Message, type UserRow, userErrors, type userMessages } from './schema'
import { type UserStore, userStore } from './store'

const ada = { username: ' Ada ', email: ' Ada@Example.com', password: 'correct horse battery' }
const row: UserRow = {
  id: '01890a5d-ac96-774b-bcce-b302099a8057',
  username: 'ada',
  email: 'ada@example.com',
  passwordHash: 'secret',
  status: 'active',
  createdAt: '2026-01-31T09:05:00.000Z',
  updatedAt: '2026-01-31T09:05:00.000Z',
  version: 1,
}

/** A store of which only what a test gives can be called; whatever else biz calls fails the test. */
function withStore(fake: Partial<UserStore>, options: Parameters<typeof settingsOf>[0] = {}) {
  const hashed: string[] = []
  const passwords = fakePasswords()
  const queue = fakeQueue()
  const mailer = fakeMailer()
  const throttle = fakeThrottle()
  const db = fakeDatabase()
  const minted: unknown[] = []
  const log = fakeLog()
  const biz = userBiz({
    db,
    users: () => fake as UserStore,
    clock: { nowMs: () => Date.parse(row.createdAt) },
    codes: {
      async mint(holder) {
        minted.push(holder)
        return { code: `code-${minted.length}`, expiresAt: '2026-01-31T10:00:00.000Z' }
      },
    },
    sent: () => ({ find: async () => undefined, create: async () => ({}) }) as unknown as Store<typeof userMessages>,
    queue,
    mailer,
    throttle,
    log,
    cipher: testCipher,
    settings: settingsOf(options),
    liveSettings: fakeLiveSettings(options),
    passwords: { ...passwords, hash: async password => passwords.hash(password).finally(() => hashed.push(password)) },
  })
  return { biz, hashed, db, queue, mailer, throttle, minted, log }
}

describe('the rules of accounts', () => {
  test('a password that is easy to guess is refused before anything is looked up, hashed or written', async () => {
    const { biz, hashed } = withStore({})
    for (const password of ['password', 'PASSWORD', 'iloveyou', 'ada@example.com', 'ADA@EXAMPLE.COM']) {
      await expect(biz.signUp({ ...ada, password })).rejects.toMatchObject({ code: 'Unprocessable.PasswordWeak' })
    }
    expect(hashed).toEqual([])
  })
  test('a name that is taken is refused before the password is hashed', async () => {
    const { biz, hashed } = withStore({
      refuseTaken: async () => {
        throw userErrors.UsernameTaken()
      },
    })
    await expect(biz.signUp(ada)).rejects.toMatchObject({ code: 'Conflict.UsernameTaken' })
    expect(hashed).toEqual([])
  })
  test('names are kept trimmed and in lower case, the password only as its hash, and neither is shown', async () => {
    const created: unknown[] = []
    const { biz } = withStore({
      refuseTaken: async () => {},
      create: async values => {
        created.push(values)
        return row
      },
    })
    const user = await biz.signUp(ada)
    expect(created).toEqual([
      { username: 'ada', email: 'ada@example.com', passwordHash: 'hash of correct horse battery', status: 'active' },
    ])
    expect(user).not.toHaveProperty('passwordHash')
    expect(JSON.stringify(user)).not.toContain('secret')
  })
  test('whoever signs up is welcomed by a task that commits with the account, and names nobody', async () => {
    const { biz, queue, db } = withStore({ refuseTaken: async () => {}, create: async () => row })
    await biz.signUp(ada)
    expect(queue.enqueued).toEqual([{ task: 'email.send', payload: { userId: row.id, purpose: 'welcome' }, options: { tx: db } }])
  })
  test('a name that is taken meanwhile welcomes nobody', async () => {
    const create = async () => {
      throw userErrors.EmailTaken()
    }
    const { biz, queue } = withStore({ refuseTaken: async () => {}, create })
    await expect(biz.signUp(ada)).rejects.toMatchObject({ code: 'Conflict.EmailTaken' })
    expect(queue.enqueued).toEqual([])
  })
  test('where nobody may sign up nobody can', async () => {
    const { biz, hashed } = withStore({}, { signUp: 'closed' })
    await expect(biz.signUp(ada)).rejects.toMatchObject({ code: 'PermissionDenied.SignUpClosed' })
    expect(hashed).toEqual([])
  })
  test('a message goes to the address that the user has by then, and never to one who is gone', async () => {
    const { biz, mailer } = withStore({ get: async id => (id === row.id ? { ...row, email: 'new@example.com' } : undefined) as never })
    const message = { userId: row.id, purpose: 'passwordChanged' } as const
    expect(await biz.sendMessage(message, { id: 'task-1', attempt: 1 })).toBeUndefined()
    expect(await biz.sendMessage({ ...message, userId: 'another' }, { id: 'task-2', attempt: 1 })).toBeUndefined()
    expect(mailer.sent).toEqual([
      { to: 'new@example.com', subject: 'Your password was changed', text: expect.stringContaining('Hello ada,'), key: 'task-1' },
    ])
  })
  test('each attempt at a message with a code brings another code, under a name of its own, since the one before is void', async () => {
    const { biz, mailer, minted } = withStore({ get: async () => row as never }, { publicUrl: 'https://shop.example/' })
    const message = { userId: row.id, purpose: 'resetPassword' } as const
    for (const attempt of [1, 2]) await biz.sendMessage(message, { id: 'task-1', attempt })
    expect(mailer.sent.map(({ key }) => key)).toEqual(['task-1/1', 'task-1/2'])
    expect(mailer.sent[1]?.text).toContain('https://shop.example/reset-password#code-2\n')
    const holder = { userId: row.id, purpose: 'resetPassword', email: row.email }
    expect(minted).toEqual([holder, holder])
  })
  test('a message that the server refuses is given up, and one that it may take later is tried again', async () => {
    const { biz, mailer } = withStore({ get: async () => row as never })
    const sending = () => biz.sendMessage({ userId: row.id, purpose: 'welcome' }, { id: 'k', attempt: 1 })
    mailer.send = () => Promise.reject(mailErrors.MailRefused())
    expect(await sending()).toMatchObject({ is: 'giveUp' })
    mailer.send = () => Promise.reject(mailErrors.MailUnavailable())
    await expect(sending()).rejects.toMatchObject({ code: 'Unavailable.MailUnavailable' })
    mailer.send = () => Promise.reject(new TypeError('a fault of ours'))
    await expect(sending()).rejects.toThrow('a fault of ours')
  })
  test('a user who is not there is an error of ours', async () => {
    const { biz, db } = withStore({ get: async () => undefined, update: async () => undefined, locked: async () => undefined })
    const changes = [{}, { email: 'new@example.com' }].map(patch => () => biz.change('x', patch, {}, asking))
    for (const work of [() => biz.get('x'), ...changes, () => biz.remove(db, 'x', {}), () => biz.setStatus(db, 'x', 'active')]) {
      await expect(work()).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    }
  })
})

/** The user, at home. */
const asking: Asking = { identity: { kind: 'user', id: row.id, sessionId: 's' }, address: '192.0.2.1' }
const withKey = (userId?: string): Asking => ({
  identity: { kind: 'apiKey', id: 'k', userId, scopes: new Set(['users:write']), requestsPerMinute: undefined },
  address: '192.0.2.1',
})

describe('a change of the address', () => {
  function setUp() {
    const updates: unknown[][] = []
    const kept = { ...row, passwordHash: 'hash of correct horse battery', emailVerifiedAt: row.createdAt }
    const set = withStore({
      get: async () => kept as never,
      locked: async () => ({ ...kept, isVerified: true }),
      update: async (...args) => {
        updates.push(args)
        return { ...kept, email: 'new@example.com' }
      },
    })
    return { ...set, updates }
  }
  const patch = { email: ' New@Example.com ', nickname: null }

  test('needs the password, of the user and of the keys of the user, and guesses are counted', async () => {
    const { biz, updates, throttle, queue } = setUp()
    for (const by of [asking, withKey(row.id)]) {
      for (const currentPassword of [undefined, 'wrong']) {
        const given = currentPassword === undefined ? patch : { ...patch, currentPassword }
        const code = `Unprocessable.${currentPassword === undefined ? 'PasswordNeeded' : 'PasswordWrong'}`
        await expect(biz.change(row.id, given, {}, by)).rejects.toMatchObject({ code })
      }
    }
    const guess = { purpose: 'password', account: row.id, address: '192.0.2.1', isRight: false }
    expect([updates, queue.enqueued, throttle.guesses]).toEqual([[], [], [guess, guess]])
  })
  test('makes it unverified, has it verified, and tells the one before, whose name is in no payload', async () => {
    const { biz, db, updates, queue } = setUp()
    const right = { ...patch, currentPassword: 'correct horse battery' }
    await expect(biz.change(row.id, right, { versions: [3] }, asking)).rejects.toMatchObject({ kind: 'FailedPrecondition' })
    await biz.change(row.id, right, { versions: [1, 3] }, asking)
    expect(updates).toEqual([[row.id, { email: 'new@example.com', nickname: null, emailVerifiedAt: null }]])
    expect(queue.enqueued).toMatchObject([
      { payload: { userId: row.id, purpose: 'emailChanged', sealedTo: expect.any(String) }, options: { tx: db } },
      { payload: { userId: row.id, purpose: 'verifyEmail' }, options: { tx: db } },
    ])
    expect(JSON.stringify(queue.enqueued.map(({ payload }) => payload))).not.toContain('example')
  })
  test('is told at the address before, and at no other that somebody writes into a payload', async () => {
    const { biz, queue, mailer } = setUp()
    await biz.change(row.id, { ...patch, currentPassword: 'correct horse battery' }, {}, asking)
    const payload = queue.enqueued[0]?.payload as Message
    expect(await biz.sendMessage(payload, { id: 'k', attempt: 1 })).toBeUndefined()
    expect(mailer.sent).toMatchObject([{ to: 'ada@example.com', subject: 'Your e-mail address was changed' }])
    expect(await biz.sendMessage({ ...payload, userId: crypto.randomUUID() }, { id: 'k', attempt: 1 })).toMatchObject({ is: 'giveUp' })
    expect(await biz.sendMessage({ ...payload, sealedTo: 'eve@example.com' }, { id: 'k', attempt: 1 })).toMatchObject({ is: 'giveUp' })
    expect(mailer.sent).toHaveLength(1)
  })
  test('is none that the key of a service may make, which could take every account so', async () => {
    const { biz, updates, queue, log } = setUp()
    const given = { ...patch, currentPassword: 'correct horse battery' }
    await expect(biz.change(row.id, given, {}, withKey())).rejects.toMatchObject({ code: 'PermissionDenied.EmailNotYours' })
    expect([updates, queue.enqueued]).toEqual([[], []])
    await biz.change(row.id, { nickname: 'Ada' }, {}, withKey())
    expect(updates).toHaveLength(1)
    // What it may change has a line, which says whose key it was and what was changed.
    expect(log.lines.map(({ fields }) => fields)).toMatchObject([
      { actor: expect.stringMatching(/^apiKey:/), object: `user:${row.id}`, changed: ['nickname'] },
    ])
  })
  test('is none when it is the same address in another spelling', async () => {
    const { biz, updates, queue } = setUp()
    await biz.change(row.id, { email: ' ADA@example.com', nickname: 'Ada' }, {}, asking)
    expect([updates, queue.enqueued]).toEqual([[[row.id, { email: 'ada@example.com', nickname: 'Ada' }, {}]], []])
  })
})

onEachBacking('accounts', open => {
  const scene = useMigrated(open)

  test('a life of an account', async () => {
    const passwords = createPasswords({ concurrency: 1, queueLimit: 10 }, fakeMetrics())
    const { users: biz } = accountsOn(scene.db, { passwords })
    const made = await biz.signUp(ada)
    const kept = await userStore(scene.db).get(made.id)
    expect(kept?.passwordHash).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
    expect(await passwords.verify(ada.password, kept?.passwordHash ?? '')).toBe(true)
    expect(await passwords.verify('another', kept?.passwordHash ?? '')).toBe(false)
    await expect(biz.signUp(ada)).rejects.toMatchObject({ code: 'Conflict.UsernameTaken' })
    const renamed = await biz.change(made.id, { nickname: 'Ada' }, { versions: [1] }, asking)
    expect(renamed).toMatchObject({ nickname: 'Ada', version: 2 })
    expect(await biz.list({})).toEqual({ items: [renamed], nextPageToken: '' })
    await biz.remove(scene.db, made.id, { versions: [2] })
    await expect(biz.get(made.id)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
  })
})
