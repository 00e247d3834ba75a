import { expect, test } from 'bun:test'
import type { Asking } from '@/core/asking'
import { toTimestamp } from '@/core/clock'
import { userStore } from '@/modules/user/store'
import type { Message } from '@/modules/user/schema'
import { sessionStore } from '@/modules/session/store'
import { accountsOn } from '@/testing/accounts'
import { onEachBacking } from '@/testing/backings'
import { adminCalled } from '@/testing/identities'
import { useMigrated } from '@/testing/migrated'
import { askedOf, planOf } from '@/testing/plans'

const asking: Asking = { identity: adminCalled('grace'), address: '192.0.2.1', requestId: 'r-1' }
const nobody = crypto.randomUUID()

onEachBacking('accounts, as administrators see to them', (open, name) => {
  const scene = useMigrated(open, ['user', 'userCode', 'userMessage', 'apiKey', 'session'])

  const accounts = (options: Parameters<typeof accountsOn>[1] = {}) => accountsOn(scene.db, options)

  async function people(...names: string[]) {
    const store = userStore(scene.db)
    return store.createMany(
      names.map(username => ({
        ...{ username, email: `${username}@example.com`, passwordHash: 'none' },
        status: username.includes('bad') ? ('suspended' as const) : ('active' as const),
      })),
    )
  }

  test('users are found by what their name begins with, in the order of names, and by nothing that only looks so', async () => {
    await people('ada', 'adam', 'adabad', 'bob', 'a_da', 'x.ada')
    const { accounts: biz } = accounts()
    const found = async (search: string, more: object = {}) => (await biz.list({ search, ...more })).items.map(({ username }) => username)
    expect(await found('ada')).toEqual(['ada', 'adabad', 'adam'])
    expect(await found('  ADA ')).toEqual(['ada', 'adabad', 'adam'])
    expect(await found('ada', { status: 'suspended' })).toEqual(['adabad'])
    // None of them is a wildcard here.
    for (const search of ['%', '_da', 'a%a', "ada' or '1'='1", 'ada\\', 'a*']) expect([search, await found(search)]).toEqual([search, []])
    expect(await found('a_')).toEqual(['a_da'])
    expect(await found('zoe')).toEqual([])
    expect((await found('')).toSorted()).toEqual(['a_da', 'ada', 'adabad', 'adam', 'bob', 'x.ada'])
  })

  test('with an @ they are found by address, and by a whole id', async () => {
    const [ada] = await people('ada', 'adam')
    const { accounts: biz } = accounts()
    const found = async (search: string, more: object = {}) => (await biz.list({ search, ...more })).items.map(({ username }) => username)
    expect(await found('ada@')).toEqual(['ada'])
    expect(await found('Adam@EXAMPLE.com')).toEqual(['adam'])
    expect(await found('@example.com')).toEqual([])
    expect(await found(ada?.id ?? '')).toEqual(['ada'])
    expect(await found(ada?.id.toUpperCase() ?? '')).toEqual(['ada'])
    expect(await found(ada?.id ?? '', { status: 'suspended' })).toEqual([])
    expect(await found(nobody)).toEqual([])
  })

  test('a search goes on from page to page, and its token is of no use for another', async () => {
    await people(...Array.from({ length: 7 }, (_, i) => `ada${i}`), 'bob')
    const { accounts: biz } = accounts()
    const seen: string[] = []
    let pageToken = ''
    do {
      const page = await biz.list({ search: 'ada', status: 'active', pageSize: 3, ...(pageToken && { pageToken }) })
      seen.push(...page.items.map(({ username }) => username))
      if (page.nextPageToken)
        await expect(biz.list({ search: 'b', status: 'active', pageToken: page.nextPageToken })).rejects.toMatchObject({
          code: 'InvalidArgument.PageToken',
        })
      pageToken = page.nextPageToken
    } while (pageToken)
    expect(seen).toEqual(Array.from({ length: 7 }, (_, i) => `ada${i}`))
  })

  test('every list and every page of it is read by an index, and sorted by none but that', async () => {
    const names = Array.from({ length: 3000 }, (_, i) => `user${String(i).padStart(4, '0')}${i % 50 === 0 ? 'bad' : ''}`)
    for (let from = 0; from < names.length; from += 1000) await people(...names.slice(from, from + 1000))
    await scene.db.run(name === 'sqlite' ? 'analyze' : 'analyze table "user"')
    for (const [asked, ...indexes] of [
      [{}, 'user_createdAt'],
      [{ status: 'suspended' }, 'user_status_createdAt'],
      [{ search: 'user01' }, 'user_username'],
      [{ search: 'user', status: 'suspended' }, 'user_status_username'],
      // Nearly all are active, so either will do.
      [{ search: 'user01', status: 'active' }, 'user_status_username', 'user_username'],
      [{ search: 'user01@' }, 'user_email'],
      [{ search: 'user0100bad@e', status: 'suspended' }, 'user_status_email', 'user_email'],
    ] as [Parameters<ReturnType<typeof accounts>['accounts']['list']>[0], ...string[]][]) {
      const { db, asked: statements } = askedOf(scene.db)
      const { accounts: biz } = accountsOn(db)
      const first = await biz.list({ ...asked, pageSize: 2 })
      if (first.nextPageToken) await biz.list({ ...asked, pageSize: 2, pageToken: first.nextPageToken })
      expect(statements.length).toBe(first.nextPageToken ? 2 : 1)
      for (const statement of statements) {
        const plan = await planOf(scene.db, statement)
        expect([asked, indexes, plan]).toEqual([
          asked,
          expect.arrayContaining(plan.indexes),
          { indexes: [expect.any(String)], isSorted: false },
        ])
      }
    }
  }, 60_000)

  test('an account that an administrator makes has no password that anybody knows, and its owner chooses one with the code', async () => {
    const all = accounts({ signUp: 'closed' })
    const made = await all.accounts.create({ username: ' Ada ', email: 'ADA@example.com', nickname: 'Ada L.' }, asking)
    expect(made).toMatchObject({ username: 'ada', email: 'ada@example.com', nickname: 'Ada L.', status: 'active' })
    expect(made).not.toHaveProperty('emailVerifiedAt')
    for (const guess of ['', 'ada', 'undefined', 'null', 'hash of ']) expect(await all.users.verifyPassword('ada', guess)).toBeUndefined()
    expect(all.queue.enqueued.map(({ payload }) => payload)).toEqual([{ userId: made.id, purpose: 'invitation' }])
    await all.users.sendMessage(all.queue.enqueued[0]?.payload as Message, { id: 'task-1', attempt: 1 })
    const [mail] = all.mailer.sent
    expect([mail?.to, mail?.subject]).toEqual(['ada@example.com', 'An account was made for you'])
    // Whoever has made it chooses what is read by somebody who does not know them.
    expect(mail?.text).not.toContain('Ada L.')
    const code = /code: (\S{48})$/im.exec(mail?.text ?? '')?.[1] ?? ''
    await all.accounts.reset({ code, password: 'correct horse battery' }, '192.0.2.9')
    expect((await all.users.verifyPassword('ada', 'correct horse battery'))?.id).toBe(made.id)
    expect((await all.users.getAccount(made.id)).emailVerifiedAt).toBeString()
    expect(all.audit.events).toEqual([
      {
        ...{ actor: expect.stringMatching(/^admin:/), actorName: 'grace', address: '192.0.2.1', requestId: 'r-1' },
        ...{ action: 'user.create', object: `user:${made.id}`, after: { username: 'ada' } },
      },
    ])
  })

  test('each account has a password of its own that nobody knows', async () => {
    const { accounts: biz } = accounts()
    for (const username of ['ada', 'bob']) await biz.create({ username, email: `${username}@example.com` }, asking)
    const hashes = (await scene.db.all('select "passwordHash" from "user"', [], { from: 'primary' })).map(row =>
      String(row['passwordHash']),
    )
    expect(new Set(hashes).size).toBe(2)
    for (const hash of hashes) expect(hash).toMatch(/^hash of [\w-]{43}$/)
  })

  test('a name or an address that is taken makes no account, no message and no event', async () => {
    await people('ada')
    const all = accounts()
    for (const [input, code] of [
      [{ username: 'Ada', email: 'new@example.com' }, 'Conflict.UsernameTaken'],
      [{ username: 'new', email: 'ada@EXAMPLE.com' }, 'Conflict.EmailTaken'],
    ] as const)
      await expect(all.accounts.create(input, asking)).rejects.toMatchObject({ code })
    expect([all.queue.enqueued, all.audit.events]).toEqual([[], []])
  })

  test('a user is sent a code only so often, and not while suspended, and what is not sent is no event', async () => {
    const [ada, bad] = await people('ada', 'bad')
    const all = accounts()
    await all.accounts.sendReset(ada?.id ?? '', asking)
    const again = await all.accounts.sendReset(ada?.id ?? '', asking).catch(thrown => thrown)
    expect(again).toMatchObject({ code: 'ResourceExhausted.MessageOften', retryAfterSeconds: expect.any(Number) })
    await expect(all.accounts.sendReset(bad?.id ?? '', asking)).rejects.toMatchObject({ code: 'Unprocessable.Suspended' })
    await expect(all.accounts.sendReset(nobody, asking)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    expect(all.queue.enqueued.map(({ payload }) => payload)).toEqual([{ userId: ada?.id, purpose: 'resetPassword' }])
    expect(all.audit.events.map(({ action, object }) => [action, object])).toEqual([['user.send-reset', `user:${ada?.id}`]])
  })

  test('ending sessions, suspending, restoring and deleting are each an event, and of a user who is not there none is', async () => {
    const [ada] = await people('ada')
    const id = ada?.id ?? ''
    const all = accounts()
    for (const work of [all.accounts.endSessions, all.accounts.suspend, all.accounts.restore])
      await expect(work(nobody, asking)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    await expect(all.accounts.remove(nobody, {}, asking)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
    await expect(all.accounts.remove(id, { versions: [99] }, asking)).rejects.toMatchObject({ code: 'FailedPrecondition.VersionMismatch' })
    expect([all.audit.events, all.ended]).toEqual([[], []])
    expect(await all.accounts.endSessions(id, asking)).toEqual({ endedCount: 0 })
    expect(all.ended).toEqual([{ accountId: id, except: undefined }])
    await all.accounts.suspend(id, asking)
    await all.accounts.restore(id, asking)
    await all.accounts.remove(id, {}, asking)
    expect(all.audit.events.map(({ action, before, after }) => [action, before, after])).toEqual([
      ['user.end-sessions', undefined, undefined],
      ['user.suspend', { status: 'active' }, { status: 'suspended' }],
      ['user.restore', { status: 'suspended' }, { status: 'active' }],
      ['user.delete', { username: 'ada', status: 'active' }, undefined],
    ])
  })

  test('how an account is in use is told with it: sessions that go on, and when one was last used', async () => {
    const [ada] = await people('ada')
    const [accountId, nowMs] = [ada?.id ?? '', Date.now()]
    const sessions = sessionStore(scene.db)
    expect(await sessions.activityOf('api', accountId, nowMs)).toEqual({ count: 0 })
    for (const [realm, idleMs, usedMs] of [
      ['api', 60_000, -5000],
      ['api', 60_000, -9000],
      ['api', -1000, -7000],
      ['admin', 60_000, -1000],
    ] as const)
      await sessions.create({
        ...{ realm, accountId, seed: new Uint8Array(32), generation: 1, rotatedAt: toTimestamp(nowMs), address: '192.0.2.1' },
        ...{ expiresAt: toTimestamp(nowMs + 90_000), idleUntil: toTimestamp(nowMs + idleMs), lastUsedAt: toTimestamp(nowMs + usedMs) },
      } as Parameters<typeof sessions.create>[0])
    expect(await sessions.activityOf('api', accountId, nowMs)).toEqual({ count: 2, lastUsedAt: toTimestamp(nowMs - 5000) })
    expect(await accounts().accounts.show(accountId)).toMatchObject({ username: 'ada', sessionCount: 0, apiKeyCount: 0 })
    await expect(accounts().accounts.show(nobody)).rejects.toMatchObject({ code: 'NotFound.UserNotFound' })
  })
})
