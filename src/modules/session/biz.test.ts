import { expect, test } from 'bun:test'
import { chatLinkStore } from '@/modules/chat-link-record/store'
import type { Realm } from './schema'
import { onEachBacking } from '@/testing/backings'
import { failure } from '@/testing/conformance/fixture'
import { device, sessionDefaults, useSessions } from '@/testing/sessions'

const notFound = 'NotFound.SessionNotFound'

onEachBacking('sessions', open => {
  const scene = useSessions(open)
  const [account, another] = [Bun.randomUUIDv7(), Bun.randomUUIDv7()]
  const here = () => scene.on(scene.db)
  const start = (whose = account, realm: Realm = 'api') => here().open(realm, whose, device)
  const goesOn = async (opened: { tokens: { accessToken: string } }, realm: Realm = 'api') =>
    (await here().verify(realm, opened.tokens.accessToken)) !== undefined

  test('an account that has as many as it may loses the one that was not used for longest', async () => {
    const on = scene.on(scene.db, { perAccountMax: 3 })
    const opened = []
    for (let i = 0; i < 3; i++) {
      scene.clock.ms += 1000
      opened.push(await on.open('api', account, device))
    }
    await start(another)
    // The oldest is in use, so the second is the one.
    scene.clock.ms += 1000
    await on.touch(opened[0]?.sessionId ?? '')
    scene.clock.ms += 1000
    opened.push(await on.open('api', account, device))
    expect(await Promise.all(opened.map(one => goesOn(one)))).toEqual([true, false, true, true])
    expect([scene.forgotten, await scene.rowCount()]).toEqual([[`session:${opened[1]?.sessionId}`], 4])
  })

  test('an account that logs in many times at once keeps as many sessions as it may', async () => {
    const on = [scene.on(scene.db, { perAccountMax: 3 }), scene.on(scene.other, { perAccountMax: 3 })]
    const opened = await Promise.all(Array.from({ length: 24 }, (_, i) => (on[i % 2] ?? here()).open('api', account, device)))
    expect(await scene.rowCount()).toBe(3)
    expect((await Promise.all(opened.map(one => goesOn(one)))).filter(Boolean)).toHaveLength(3)
  })

  test('is proven by beginning, and again when that is said, which all processes are told; refreshing is no proof', async () => {
    const [opened, other] = [await start(), await start()]
    const provenAtMs = async (token: string) => (await here().verify('api', token))?.provenAtMs
    const begunMs = scene.clock.ms
    scene.clock.ms += 60_000
    const { tokens } = await here().refresh('api', opened.tokens.refreshToken, device, async () => true)
    expect(await provenAtMs(tokens.accessToken)).toBe(begunMs)
    const prove = (realm: Realm, whose: string, id: string) => scene.db.tx(tx => here().prove(tx, realm, whose, id))
    expect(await prove('api', account, opened.sessionId)).toBe(scene.clock.ms)
    expect(scene.forgotten).toEqual([`session:${opened.sessionId}`])
    expect([await provenAtMs(tokens.accessToken), await provenAtMs(other.tokens.accessToken)]).toEqual([scene.clock.ms, begunMs])
    // Twice in a moment is as good.
    await prove('api', account, opened.sessionId)
    for (const [realm, whose] of [
      ['admin', account],
      ['api', another],
    ] as const)
      expect(await failure(prove(realm, whose, opened.sessionId))).toBe(notFound)
    scene.clock.ms += sessionDefaults.idleTtlMs
    expect(await failure(prove('api', account, opened.sessionId))).toBe(notFound)
  })

  test('ends for whoever has its tokens, and once', async () => {
    const [ended, other] = [await start(), await start()]
    await here().end('api', account, ended.sessionId)
    expect([await goesOn(ended), await goesOn(other), scene.forgotten]).toEqual([false, true, [`session:${ended.sessionId}`]])
    expect(await failure(here().end('api', account, ended.sessionId))).toBe(notFound)
    expect(scene.forgotten).toHaveLength(1)
  })

  test('what goes with an end comes before it, as wherever sessions end, and is undone when somebody else has ended it', async () => {
    const { sessionId } = await start()
    const seen: unknown[] = []
    await here().end('api', account, sessionId, async tx => {
      // The order of locks: the audit log, sessions, revocations.
      seen.push(await tx.first('select "id" from "session" where "id" = ?', [sessionId]), scene.forgotten.length)
    })
    expect([seen, await scene.rowCount()]).toEqual([[{ id: sessionId }, 0], 0])
    const [late, kept] = [await start(), await start()]
    const work = here().end('api', account, late.sessionId, async tx => {
      await tx.run('delete from "session" where "id" = ?', [kept.sessionId])
      await tx.run('delete from "session" where "id" = ?', [late.sessionId])
    })
    expect([await failure(work), await goesOn(kept)]).toEqual([notFound, true])
  })

  test('nobody ends that of somebody else, or of the other server, nor learns that it is there', async () => {
    const theirs = await start(another)
    const admins = await start(account, 'admin')
    for (const id of [theirs.sessionId, admins.sessionId, Bun.randomUUIDv7(), 'no id', ''])
      expect(await failure(here().end('api', account, id))).toBe(notFound)
    expect([await goesOn(theirs), await goesOn(admins, 'admin'), scene.forgotten]).toEqual([true, true, []])
  })

  test('all of an account end with the transaction, but for the one that is kept', async () => {
    const [kept, first, second, theirs, admins] = [
      await start(),
      await start(),
      await start(),
      await start(another),
      await start(account, 'admin'),
    ]
    const undone = scene.db.tx(async tx => {
      expect(await here().endAll(tx, 'api', account)).toBe(3)
      throw new Error('undone')
    })
    await expect(undone).rejects.toThrow('undone')
    expect([await goesOn(first), scene.forgotten]).toEqual([true, []])
    expect(await scene.db.tx(tx => here().endAll(tx, 'api', account, { except: kept.sessionId }))).toBe(2)
    expect(await Promise.all([kept, first, second, theirs].map(one => goesOn(one)))).toEqual([true, false, false, true])
    expect(await goesOn(admins, 'admin')).toBe(true)
    expect(new Set<string>(scene.forgotten)).toEqual(new Set([`session:${first.sessionId}`, `session:${second.sessionId}`]))
    expect(await scene.db.tx(tx => here().endAll(tx, 'api', another))).toBe(1)
    expect(await scene.db.tx(tx => here().endAll(tx, 'api', another))).toBe(0)
  })

  test('with all of an account its chat accounts end, too, and with one of them none does', async () => {
    await scene.db.run('delete from "chatLink"')
    const links = chatLinkStore(scene.db)
    const link = (accountKind: 'user' | 'admin', accountId: string, senderId: string) =>
      links.create({
        platform: 'telegram',
        senderId,
        senderName: '',
        accountKind,
        accountId,
        provenAt: '2026-01-31T09:05:00.000Z',
        codeHash: '',
      })
    await Promise.all([link('user', account, '17'), link('user', another, '18'), link('admin', account, '19')])
    const left = async () => (await links.list({ orderBy: 'createdAt', from: 'primary' })).items.map(({ senderId }) => senderId).toSorted()
    const one = await start()
    await here().end('api', account, one.sessionId)
    expect(await left()).toEqual(['17', '18', '19'])
    // Also where there is no session any more, or one goes on.
    await scene.db.tx(tx => here().endAll(tx, 'api', account, { except: one.sessionId }))
    expect(await left()).toEqual(['18', '19'])
    await scene.db.tx(tx => here().endAll(tx, 'admin', account))
    expect(await left()).toEqual(['18'])
  })

  test('whether one is there is told of its own account and server only', async () => {
    const { sessionId } = await start()
    const isThere = (realm: Realm, whose: string) => scene.db.tx(tx => here().isThere(tx, realm, whose, sessionId))
    expect([await isThere('api', account), await isThere('admin', account), await isThere('api', another)]).toEqual([true, false, false])
    await here().end('api', account, sessionId)
    expect(await isThere('api', account)).toBe(false)
  })

  test('one that is begun while all are ended does not outlive the change', async () => {
    // A stand-in for an account: `version` goes up when its password changes, in the transaction that ends its sessions.
    await scene.db.run('delete from "user"')
    const version = async () =>
      Number((await scene.other.first('select "version" from "user" where "id" = ?', [account], { from: 'primary' }))?.['version'])
    const at = scene.db.dialect.name === 'sqlite' ? 0 : '2026-01-01 00:00:00.000'
    await scene.db.run(
      `insert into "user" ("id", "username", "email", "passwordHash", "status", "createdAt", "updatedAt", "version") values (?, 'a', 'a@b.c', 'x', 'active', ?, ?, 1)`,
      [account, at, at],
    )
    for (let round = 0; round < 25; round++) {
      const seen = await version()
      const change = scene.db.tx(async tx => {
        await tx.run('update "user" set "version" = "version" + 1 where "id" = ?', [account])
        await here().endAll(tx, 'api', account)
      })
      const begun = await Promise.all(
        Array.from({ length: 4 }, () => scene.on(scene.other).openIf('api', account, device, async () => (await version()) === seen)),
      )
      await change
      // Whoever was told to be in before the change is out after it.
      for (const one of begun) if (one) expect(await goesOn(one)).toBe(false)
      expect(await scene.rowCount()).toBe(0)
    }
  }, 60_000)

  test('one that is not begun after all leaves nothing', async () => {
    let rows = 0
    const holds = async () => {
      rows = await scene.rowCount()
      return false
    }
    expect(await here().openIf('api', account, device, holds)).toBeUndefined()
    expect([rows, await scene.rowCount(), scene.forgotten.length]).toEqual([1, 0, 1])
    expect(await here().openIf('api', account, device, async () => true)).toBeDefined()
  })

  test('are listed with where they are used, newest first, a page at a time, and without those that have ended', async () => {
    await start(another)
    await start(account, 'admin')
    const ended = await start()
    scene.clock.ms += sessionDefaults.idleTtlMs - 1000
    const opened = []
    for (const userAgent of ['Firefox', undefined, `${'x'.repeat(255)}😀\u0007${'y'.repeat(500)}`]) {
      scene.clock.ms += 10
      opened.push(await here().open('api', account, { userAgent, address: '2001:db8::1' }))
    }
    const current = opened[1]?.sessionId
    const first = await here().list('api', account, current, { pageSize: 2 })
    const second = await here().list('api', account, current, { pageSize: 2, pageToken: first.nextPageToken })
    const items = [...first.items, ...second.items]
    expect(items.map(({ id }) => id)).toEqual([...opened.toReversed().map(({ sessionId }) => sessionId), ended.sessionId])
    expect(items.map(({ isCurrent }) => isCurrent)).toEqual([false, true, false, false])
    expect(items.map(({ userAgent }) => userAgent?.length)).toEqual([256, undefined, 7, 6])
    expect(Object.keys(items[0] ?? {}).toSorted()).toEqual([
      'address',
      'createdAt',
      'expiresAt',
      'id',
      'isCurrent',
      'lastUsedAt',
      'userAgent',
    ])
    scene.clock.ms += 1000
    const later = await here().list('api', account, current, { pageSize: 2, pageToken: first.nextPageToken })
    expect(later.items.map(({ id }) => id)).toEqual([opened[0]?.sessionId ?? ''])
  })

  test('an access token is good for a session that is there, of the account that it names, until the token ends', async () => {
    const one = await start()
    await scene.db.run('update "session" set "accountId" = ?', [another])
    expect(await goesOn(one)).toBe(false)
    await scene.db.run(`update "session" set "accountId" = ?, "realm" = 'admin'`, [account])
    expect(await goesOn(one)).toBe(false)
    await scene.db.run(`update "session" set "realm" = 'api'`)
    expect(await goesOn(one)).toBe(true)
    scene.clock.ms += 606_000
    expect(await goesOn(one)).toBe(false)
  })

  test('noting that one is in use never fails, also while the database is away', async () => {
    const away = scene.on({ ...scene.db, run: () => Promise.reject(new Error('away')) })
    await away.touch(Bun.randomUUIDv7())
    expect(scene.log.lines).toMatchObject([{ level: 'debug' }])
  })
})
