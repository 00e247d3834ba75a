import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { mailErrors } from '@/core/mailer'
import type { Store } from '@/core/store'
import { migrateUp } from '@/infra/database/migrate'
import type { OpenDatabase } from '@/infra/database/driver'
import { createPasswords } from '@/infra/passwords'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeDatabase, fakeMailer, fakeMetrics, fakePasswords, fakeQueue } from '@/testing/fakes'
import { userBiz } from './biz'
import { type UserRow, type UserTable, userErrors } from './schema'
import { userStore } from './store'

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
function withStore(fake: Partial<Store<UserTable>>) {
  const hashed: string[] = []
  const passwords = fakePasswords()
  const queue = fakeQueue()
  const mailer = fakeMailer()
  const db = fakeDatabase()
  const biz = userBiz({
    db,
    users: () => fake as Store<UserTable>,
    queue,
    mailer,
    passwords: { ...passwords, hash: async password => passwords.hash(password).finally(() => hashed.push(password)) },
  })
  return { biz, hashed, db, queue, mailer }
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
  test('a message goes to the address that the user has by then, and never to one who is gone', async () => {
    const { biz, mailer } = withStore({ get: async id => (id === row.id ? { ...row, email: 'new@example.com' } : undefined) as never })
    expect(await biz.sendMessage(row.id, 'welcome', 'task-1')).toBeUndefined()
    expect(await biz.sendMessage('another', 'welcome', 'task-2')).toBeUndefined()
    expect(mailer.sent).toEqual([{ to: 'new@example.com', subject: 'Welcome', text: expect.stringContaining('Hello ada,'), key: 'task-1' }])
  })
  test('a message that the server refuses is given up, and one that it may take later is tried again', async () => {
    const { biz, mailer } = withStore({ get: async () => row as never })
    mailer.send = () => Promise.reject(mailErrors.MailRefused())
    expect(await biz.sendMessage(row.id, 'welcome', 'k')).toMatchObject({ is: 'giveUp' })
    mailer.send = () => Promise.reject(mailErrors.MailUnavailable())
    await expect(biz.sendMessage(row.id, 'welcome', 'k')).rejects.toMatchObject({ code: 'Unavailable.MailUnavailable' })
    mailer.send = () => Promise.reject(new TypeError('a fault of ours'))
    await expect(biz.sendMessage(row.id, 'welcome', 'k')).rejects.toThrow('a fault of ours')
  })
  test('a user who is not there is an error of ours', async () => {
    const { biz } = withStore({ get: async () => undefined, update: async () => undefined, delete: async () => false })
    for (const work of [() => biz.get('x'), () => biz.change('x', {}, {}), () => biz.remove('x', {})]) {
      await expect(work()).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    }
  })
  test('a change carries the versions that the caller has seen, and the address as it is kept', async () => {
    const calls: unknown[][] = []
    const { biz } = withStore({
      update: async (...args) => {
        calls.push(args)
        return row
      },
    })
    await biz.change('x', { email: ' New@Example.com ', nickname: null }, { versions: [3] })
    expect(calls).toEqual([['x', { email: 'new@example.com', nickname: null }, { versions: [3] }]])
  })
})

onEachBacking('accounts', open => {
  let backing: Backing
  let db: OpenDatabase
  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    await migrateUp(db, migrations)
  })
  afterAll(async () => {
    await db.close()
    await backing.dispose()
  })

  test('a life of an account', async () => {
    const passwords = createPasswords({ concurrency: 1, queueLimit: 10 }, fakeMetrics())
    const biz = userBiz({ db, users: userStore, passwords, queue: fakeQueue(), mailer: fakeMailer() })
    const made = await biz.signUp(ada)
    const kept = await userStore(db).get(made.id)
    expect(kept?.passwordHash).toStartWith('$argon2id$v=19$m=19456,t=2,p=1$')
    expect(await passwords.verify(ada.password, kept?.passwordHash ?? '')).toBe(true)
    expect(await passwords.verify('another', kept?.passwordHash ?? '')).toBe(false)
    await expect(biz.signUp(ada)).rejects.toMatchObject({ code: 'Conflict.UsernameTaken' })
    const renamed = await biz.change(made.id, { nickname: 'Ada' }, { versions: [1] })
    expect(renamed).toMatchObject({ nickname: 'Ada', version: 2 })
    expect(await biz.list({})).toEqual({ items: [renamed], nextPageToken: '' })
    await biz.remove(made.id, { versions: [2] })
    await expect(biz.get(made.id)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
  })
})
