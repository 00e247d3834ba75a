import { expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import { dayMs } from '@/core/clock'
import type { Message } from '@/modules/user/schema'
import { accountsOn, noting } from '@/testing/accounts'
import { onEachBacking } from '@/testing/backings'
import { adminCalled } from '@/testing/identities'
import { useMigrated } from '@/testing/migrated'
import type { StartReset } from './schema'

const startMs = Date.parse('2026-01-31T09:05:00.000Z')
const ada = { username: 'ada', email: 'ada@example.com', password: 'correct horse battery' }
const invalid = { code: 'Unprocessable.CodeInvalid' }
const address = '192.0.2.1'
const byAdmin: Asking = { identity: adminCalled('root'), address }
const wantedKey = { name: 'report', scopes: ['users:read' as const] }

onEachBacking('an account', open => {
  const scene = useMigrated(open, ['user', 'userCode', 'userMessage', 'apiKey'])

  /** Ada has signed up, and nothing is enqueued or sent. */
  async function setUp() {
    const clock = { ms: startMs, nowMs: () => clock.ms }
    const all = accountsOn(scene.db, { clock })
    const { id } = await all.users.signUp(ada)
    all.queue.enqueued.length = 0
    const me = { kind: 'user', id, sessionId: 'session-1' } as const
    let tasks = 0
    /** Does what is enqueued, and what that enqueues. */
    async function work() {
      for (let next = all.queue.enqueued.shift(); next; next = all.queue.enqueued.shift()) {
        const task = next.options.id ?? `task-${++tasks}`
        if (next.task === 'account.startReset') await all.accounts.beginReset(next.payload as StartReset)
        else await all.users.sendMessage(next.payload as Message, { id: task, attempt: 1 })
      }
    }
    /** From the last message that was sent. */
    const codeSent = () => /code: (\S{48})$/im.exec(all.mailer.sent.at(-1)?.text ?? '')?.[1] ?? ''
    const subjects = () => all.mailer.sent.map(({ to, subject }) => `${to}: ${subject}`)
    const canLogIn = async (password: string) => (await all.users.verifyPassword('ada', password)) !== undefined
    return { ...all, id, me, clock, work, codeSent, subjects, canLogIn }
  }

  test('a request to reset a password asks the database nothing, and says nothing of the address', async () => {
    const { accounts, queue } = await setUp()
    const { db: noted, statements } = noting(scene.db)
    const counting = accountsOn(noted)
    for (const email of ['ada@example.com', 'nobody@example.com']) {
      await accounts.requestReset({ email })
      await counting.accounts.requestReset({ email })
    }
    expect(statements).toEqual([])
    expect(queue.enqueued.map(({ task }) => task)).toEqual(['account.startReset', 'account.startReset'])
    expect(JSON.stringify(queue.enqueued)).not.toContain('example.com')
  })

  test('nobody is written to whose address is unknown, or whose account is suspended, or who has just been sent a code', async () => {
    const { accounts, work, subjects, id, clock } = await setUp()
    const request = async (email: string) => {
      await accounts.requestReset({ email })
      await work()
    }
    await request('nobody@example.com')
    await accounts.suspend(id, byAdmin)
    await request(ada.email)
    await accounts.restore(id, byAdmin)
    expect(subjects()).toEqual([])
    for (let i = 0; i < 3; i++) await request(' ADA@example.com ')
    expect(subjects()).toEqual(['ada@example.com: Choose a new password'])
    clock.ms += 60_000
    await request(ada.email)
    expect(subjects()).toHaveLength(2)
  })

  test('a code resets the password, ends all sessions and API keys, verifies the address and tells the user', async () => {
    const { accounts, keys, work, codeSent, subjects, ended, id, me, throttle, canLogIn, revocations } = await setUp()
    const { key } = await keys.create(id, { ...wantedKey, currentPassword: ada.password }, { identity: me, address })
    await accounts.requestReset({ email: ada.email })
    await work()
    const code = codeSent()
    await expect(accounts.reset({ code, password: 'password' }, address)).rejects.toMatchObject({ code: 'Unprocessable.PasswordWeak' })
    expect([await canLogIn(ada.password), ended]).toEqual([true, []])
    expect(throttle.admitted).toEqual([])
    await accounts.reset({ code, password: 'another horse battery' }, address)
    expect(throttle.admitted).toEqual([ada.username, ada.email].map(account => ({ purpose: 'log-in', account, address })))
    expect([await canLogIn(ada.password), await canLogIn('another horse battery')]).toEqual([false, true])
    expect(ended).toEqual([{ accountId: id, except: undefined }])
    expect([await keys.identifier.identify(key), revocations.forgotten]).toEqual([undefined, [`user:${id}`]])
    expect((await accounts.get(id)).emailVerifiedAt).toBe('2026-01-31T09:05:00.000Z')
    await work()
    expect(subjects().at(-1)).toBe('ada@example.com: Your password was changed')
    await expect(accounts.reset({ code, password: 'a third horse battery' }, address)).rejects.toMatchObject(invalid)
    expect(await canLogIn('another horse battery')).toBe(true)
  })

  test('a code that was sent to an address is void when the user has another, and when the account is suspended or gone', async () => {
    const { accounts, users, id, me, codes, canLogIn } = await setUp()
    const holder = { userId: id, purpose: 'resetPassword', email: ada.email } as const
    const reset = (code: string) => accounts.reset({ code, password: 'another horse battery' }, address)

    const { code } = await codes.mint(holder)
    await users.change(id, { email: 'new@example.com', currentPassword: ada.password }, {}, { identity: me, address })
    await expect(reset(code)).rejects.toMatchObject(invalid)
    const { code: second } = await codes.mint({ ...holder, email: 'new@example.com' })
    await accounts.suspend(id, byAdmin)
    await expect(reset(second)).rejects.toMatchObject(invalid)
    await accounts.restore(id, byAdmin)
    expect([await canLogIn(ada.password), (await accounts.get(id)).emailVerifiedAt]).toEqual([true, undefined])
    const { code: third } = await codes.mint({ ...holder, email: 'new@example.com' })
    await accounts.remove(id, {}, byAdmin)
    await expect(reset(third)).rejects.toMatchObject(invalid)
  })

  test('a change of the address whose password was checked before a reset comes too late', async () => {
    const { accounts, users, codes, throttle, id, me } = await setUp()
    const { code } = await codes.mint({ userId: id, purpose: 'resetPassword', email: ada.email })
    const { guess } = throttle
    throttle.guess = async (given, check) => {
      const found = await guess(given, check)
      await accounts.reset({ code, password: 'another horse battery' }, address)
      return found
    }
    const patch = { email: 'eve@example.com', currentPassword: ada.password }
    await expect(users.change(id, patch, {}, { identity: me, address })).rejects.toMatchObject({ kind: 'Aborted' })
    expect((await accounts.get(id)).email).toBe(ada.email)
  })

  test('an address is verified by the user whose it is, and by nobody else', async () => {
    const { accounts, users, work, codeSent, subjects, id } = await setUp()
    const eve = await users.signUp({ ...ada, username: 'eve', email: 'eve@example.com' })
    await work()
    await accounts.requestVerification(id)
    await work()
    const code = codeSent()
    await expect(accounts.verifyEmail(eve.id, { code })).rejects.toMatchObject(invalid)
    expect((await accounts.verifyEmail(id, { code })).emailVerifiedAt).toBe('2026-01-31T09:05:00.000Z')
    expect((await accounts.get(eve.id)).emailVerifiedAt).toBeUndefined()
    await accounts.requestVerification(id)
    await work()
    expect(subjects().filter(each => each.startsWith('ada'))).toEqual(['ada@example.com: Confirm your e-mail address'])
  })

  test('whoever has codes to reset sent for a user waits longer each time, until a quiet day is over', async () => {
    const { accounts, work, subjects, clock } = await setUp()
    const minutesBetween: number[] = []
    let lastMs = clock.ms
    for (let minute = 0; minute < 180; minute++) {
      const before = subjects().length
      await accounts.requestReset({ email: ada.email })
      await work()
      if (subjects().length > before) {
        minutesBetween.push((clock.ms - lastMs) / 60_000)
        lastMs = clock.ms
      }
      clock.ms += 60_000
    }
    expect(minutesBetween).toEqual([0, 1, 5, 15, 60, 60])
    clock.ms = lastMs + dayMs
    for (let i = 0; i < 2; i++) {
      await accounts.requestReset({ email: ada.email })
      await work()
      clock.ms += 60_000
    }
    expect(subjects()).toHaveLength(8)
  }, 20_000)

  test('nobody has mail sent to strangers by changing the address, the password or keys again and again', async () => {
    const { accounts, users, keys, work, subjects, id, me } = await setUp()
    const asking = { identity: me, address }
    const currentPassword = ada.password
    await accounts.requestVerification(id)
    await accounts.requestVerification(id)
    const change = (i: number) => users.change(id, { email: `stranger${i}@example.com`, currentPassword }, {}, asking)
    await change(0)
    for (let i = 1; i < 5; i++)
      await expect(change(i)).rejects.toMatchObject({ code: 'ResourceExhausted.EmailChangedOften', retryAfterSeconds: 60 })
    for (let i = 0; i < 3; i++) {
      await keys.create(id, { ...wantedKey, currentPassword }, asking)
      await accounts.changePassword(me, { currentPassword, password: currentPassword }, address)
    }
    expect((await accounts.get(id)).email).toBe('stranger0@example.com')
    await work()
    // The address before was not verified, so it may be a stranger's, too.
    expect(subjects().toSorted()).toEqual([
      'stranger0@example.com: An API key was made',
      'stranger0@example.com: Confirm your e-mail address',
      'stranger0@example.com: Confirm your e-mail address',
      'stranger0@example.com: Your password was changed',
    ])
  })

  test('an address that is verified is told each time, and of another address, and that the account is deleted', async () => {
    const { accounts, users, codes, work, subjects, mailer, id, me } = await setUp()
    const asking = { identity: me, address }
    const currentPassword = ada.password
    const { code } = await codes.mint({ userId: id, purpose: 'verifyEmail', email: ada.email })
    await accounts.verifyEmail(id, { code })
    for (let i = 0; i < 3; i++) await accounts.changePassword(me, { currentPassword, password: currentPassword }, address)
    await work()
    expect(subjects()).toEqual(Array(3).fill('ada@example.com: Your password was changed'))
    await users.change(id, { email: 'new@example.com', currentPassword }, {}, asking)
    await accounts.remove(id, {}, asking)
    await work()
    // Also of what happened just before the account was gone.
    expect(subjects().slice(3)).toEqual(['ada@example.com: Your e-mail address was changed', 'new@example.com: Your account was deleted'])
    expect(mailer.sent.at(-1)?.text).toContain('was deleted')
  })

  test('what was sent to reset a password is void once the password has been changed', async () => {
    const { accounts, me, id, codes } = await setUp()
    const { code } = await codes.mint({ userId: id, purpose: 'resetPassword', email: ada.email })
    const { code: verifying } = await codes.mint({ userId: id, purpose: 'verifyEmail', email: ada.email })
    await accounts.changePassword(me, { currentPassword: ada.password, password: 'another horse battery' }, address)
    await expect(accounts.reset({ code, password: 'a third horse battery' }, address)).rejects.toMatchObject(invalid)
    expect((await accounts.verifyEmail(id, { code: verifying })).emailVerifiedAt).toBeDefined()
  })

  test('each change of an account is one line of the log, with who made it and of what', async () => {
    const { accounts, users, keys, codes, log, id, me } = await setUp()
    const asking = { identity: me, address }
    const currentPassword = ada.password
    const { id: keyId } = await keys.create(id, { ...wantedKey, currentPassword }, asking)
    await keys.remove(id, keyId, asking)
    await users.change(id, { email: 'new@example.com', currentPassword }, {}, asking)
    await accounts.changePassword(me, { currentPassword, password: 'another horse battery' }, address)
    const { code } = await codes.mint({ userId: id, purpose: 'resetPassword', email: 'new@example.com' })
    await accounts.reset({ code, password: 'a third horse battery' }, address)
    await accounts.suspend(id, byAdmin)
    await accounts.restore(id, byAdmin)
    await accounts.remove(id, {}, byAdmin)
    const [user, key] = [`user:${id}`, `apiKey:${keyId}`]
    expect(log.lines.map(({ level, message, fields }) => [level, message, fields['actor'], fields['object'], fields['address']])).toEqual([
      ['info', 'an API key was made', user, key, address],
      ['info', 'an API key was deleted', user, key, address],
      ['info', 'a user has changed their e-mail address', user, user, address],
      ['info', 'a user has changed their password', user, user, address],
      ['info', 'a user has reset their password', user, user, address],
      ['info', 'a user was suspended', 'admin:root', user, address],
      ['info', 'a user was restored', 'admin:root', user, address],
      ['info', 'a user was deleted', 'admin:root', user, address],
    ])
    expect(JSON.stringify(log.lines)).not.toContain('example.com')
  })

  test('a password is changed by who knows it, which ends the other sessions unless they are to go on, and tells the user', async () => {
    const { accounts, me, id, ended, throttle, work, subjects, canLogIn, clock } = await setUp()
    const password = 'another horse battery'
    const wrong = accounts.changePassword(me, { currentPassword: 'wrong', password }, address)
    await expect(wrong).rejects.toMatchObject({ code: 'Unprocessable.PasswordWrong' })
    const weak = accounts.changePassword(me, { currentPassword: ada.password, password: 'ada@example.com' }, address)
    await expect(weak).rejects.toMatchObject({ code: 'Unprocessable.PasswordWeak' })
    await work()
    expect([await canLogIn(ada.password), ended, subjects()]).toEqual([true, [], []])

    await accounts.changePassword(me, { currentPassword: ada.password, password }, address)
    clock.ms += 60_000
    await accounts.changePassword(me, { currentPassword: password, password: ada.password, keepOtherSessions: true }, address)
    expect(throttle.guesses.map(({ isRight }) => isRight)).toEqual([false, true, true, true])
    expect([await canLogIn(ada.password), ended]).toEqual([true, [{ accountId: id, except: 'session-1' }]])
    await work()
    expect(subjects()).toEqual(Array(2).fill('ada@example.com: Your password was changed'))
  })

  test('of two changes by the same password one comes through', async () => {
    const { accounts, me, canLogIn } = await setUp()
    const change = (password: string) => accounts.changePassword(me, { currentPassword: ada.password, password }, address)
    const changes = await Promise.allSettled(['another horse battery', 'a third horse battery'].map(change))
    expect(changes.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
    // Nobody has sent a version, so it is no precondition that has failed: it is too late, or the password is another by then.
    const refusal = changes.find(({ status }) => status === 'rejected') as PromiseRejectedResult
    expect(['Aborted', 'Unprocessable']).toContain(refusal.reason.kind)
    expect(await canLogIn(ada.password)).toBe(false)
  })

  test('a suspension ends the sessions and tells all who remember the user; a removal takes all that is theirs, or nothing', async () => {
    const { accounts, users, keys, codes, ended, revocations, id, me } = await setUp()
    await keys.create(id, { ...wantedKey, currentPassword: ada.password }, { identity: me, address })
    await keys.createForService(wantedKey, byAdmin)
    await codes.mint({ userId: id, purpose: 'verifyEmail', email: ada.email })
    expect((await accounts.suspend(id, byAdmin)).status).toBe('suspended')
    expect([ended.length, revocations.forgotten]).toEqual([1, [`user:${id}`]])
    await expect(accounts.remove(id, { versions: [1] }, byAdmin)).rejects.toMatchObject({ kind: 'FailedPrecondition' })
    const left = async () =>
      Promise.all(
        ['user', 'userCode', 'userMessage', 'apiKey'].map(async table => (await scene.db.all(`select "id" from "${table}"`)).length),
      )
    expect(await left()).toEqual([1, 1, 1, 2])
    await accounts.remove(id, { versions: [2] }, byAdmin)
    expect([await left(), await users.current(id), revocations.forgotten]).toEqual([[0, 0, 0, 1], undefined, Array(2).fill(`user:${id}`)])
    for (const change of [accounts.suspend, accounts.restore])
      await expect(change(id, byAdmin)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
  })

  test('who suspends, restores or deletes a user is in the audit log, with what was changed; who deletes their own account is not', async () => {
    const { accounts, audit, id, users } = await setUp()
    await accounts.suspend(id, byAdmin)
    await accounts.suspend(id, byAdmin)
    await accounts.restore(id, byAdmin)
    await accounts.remove(id, {}, byAdmin)
    const said = { object: `user:${id}`, actor: 'admin:root', address }
    const [active, suspended] = [{ status: 'active' }, { status: 'suspended' }]
    expect(audit.events).toMatchObject([
      { action: 'user.suspend', ...said, before: active, after: suspended },
      { action: 'user.suspend', ...said, before: suspended, after: suspended },
      { action: 'user.restore', ...said, before: suspended, after: active },
      { action: 'user.delete', ...said, before: { username: 'ada', ...active } },
    ])
    for (const { after } of audit.events) expect(after ?? {}).not.toHaveProperty('email')
    const { id: own } = await users.signUp({ ...ada, username: 'bob', email: 'bob@example.com' })
    await accounts.remove(own, {}, { identity: { kind: 'user', id: own, sessionId: 's' }, address })
    expect(audit.events).toHaveLength(4)
  })
})
