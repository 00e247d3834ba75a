import { beforeEach, expect, test } from 'bun:test'
import { rootRoleId } from '@/modules/admin-role'
import { invitationTtlMs } from '@/modules/administrator/invitation.biz'
import { administratorStore, invitationStore } from '@/modules/administrator/store'
import { onEachBacking } from '@/testing/backings'
import { operator, password, useAdministrators } from '@/testing/administrators'
import { failure } from '@/testing/conformance/fixture'

const another = 'another horse battery'

onEachBacking('administrators', open => {
  const { scene, other, told, audit, throttle, clock, processOn } = useAdministrators(open)
  let here: ReturnType<typeof processOn>
  beforeEach(() => {
    here = processOn(scene.db)
  })
  const done = async (work: Promise<unknown>) => {
    told.length = 0
    await work
    return told.splice(0)
  }

  test('there is none before one is made; names are one however they are written', async () => {
    expect([await here.administrators.isAnyThere(), await here.accounts.all()]).toEqual([false, []])
    const made = await here.accounts.createWithPassword({ username: ' Grace ', password, roleIds: [rootRoleId] }, operator)
    expect(made).toMatchObject({ username: 'grace', status: 'active', hasPassword: true, permissions: ['*'] })
    expect(made.roles).toEqual([{ id: rootRoleId, name: 'root' }])
    expect(JSON.stringify([made, await here.accounts.list({}), await here.accounts.named('GRACE')])).not.toContain('argon2id')
    expect(await here.administrators.isAnyThere()).toBe(true)
    expect(await failure(here.accounts.create({ username: 'grace', roleIds: [] }, operator))).toBe('Conflict.UsernameTaken')
  })

  test('one with a password that is short or easy to guess, or with what is no role, is refused', async () => {
    const make = (over: object) =>
      failure(here.accounts.createWithPassword({ username: 'grace', password, roleIds: [rootRoleId], ...over }, operator))
    expect(await make({ password: 'elevenchars' })).toBe('InvalidArgument.Invalid')
    expect(await make({ password: 'q1w2e3r4t5y6' })).toBe('Unprocessable.PasswordWeak')
    expect(await make({ username: 'grace-hopper', password: 'Grace-Hopper' })).toBe('Unprocessable.PasswordWeak')
    expect(await make({ username: 'g' })).toBe('InvalidArgument.Invalid')
    expect(await make({ roleIds: [crypto.randomUUID()] })).toBe('Unprocessable.RoleUnknown')
    expect([await here.accounts.all(), audit.events]).toEqual([[], []])
  })

  test('whoever is invited chooses a password, once, with a code that is kept as its hash; nobody else does', async () => {
    const root = await here.somebody('grace', 'root')
    const { administrator, invitation } = await here.accounts.create({ username: 'ada', roleIds: [] }, root.asking)
    expect(administrator.hasPassword).toBe(false)
    const rows = JSON.stringify([await scene.db.all('select * from "administratorInvitation"'), audit.events, here.log.lines])
    expect(rows).not.toContain(invitation.code)
    expect(await here.administrators.verifyPassword('ada', '')).toBeUndefined()
    const accept = (code: string, chosen = another) => here.accounts.accept({ code, password: chosen }, root.asking)
    expect(await failure(accept('A'.repeat(48)))).toBe('Unprocessable.InvitationInvalid')
    expect(await failure(accept(invitation.code, 'password1234'))).toBe('Unprocessable.PasswordWeak')
    const outcomes = await Promise.all(Array.from({ length: 4 }, () => failure(accept(invitation.code))))
    expect(outcomes.filter(outcome => outcome === 'resolved')).toHaveLength(1)
    expect(await failure(accept(invitation.code))).toBe('Unprocessable.InvitationInvalid')
    expect(await here.administrators.verifyPassword('ada', another)).toMatchObject({ hasPassword: true })
    expect(throttle.admitted).toMatchObject([{ purpose: 'admin log-in', account: 'ada', address: '192.0.2.1' }])
    expect(audit.events.at(-1)).toMatchObject({
      ...{ action: 'administrator.accept-invitation', actor: `admin:${administrator.id}`, actorName: 'ada' },
      after: { invitedBy: `admin:${root.id}` },
    })
  })

  test('an invitation is void when it has expired, when there is a newer one, and when they are removed or given a password', async () => {
    const { id, asking } = await here.somebody('grace', 'root')
    const { id: ada } = await here.somebody('ada', [])
    const accept = (code: string) => failure(here.accounts.accept({ code, password: another }, asking))
    const old = await here.accounts.invite(ada, asking)
    const { code, expiresAt } = await here.accounts.invite(ada, asking)
    expect(await accept(old.code)).toBe('Unprocessable.InvitationInvalid')
    expect(Date.parse(expiresAt)).toBe(clock.ms + invitationTtlMs)
    clock.ms += invitationTtlMs
    expect(await accept(code)).toBe('Unprocessable.InvitationInvalid')
    const given = await here.accounts.invite(ada, asking)
    await here.accounts.setPassword(ada, another, operator)
    expect(await accept(given.code)).toBe('Unprocessable.InvitationInvalid')
    const last = await here.accounts.invite(ada, asking)
    // The one before is good until then.
    expect(await here.administrators.verifyPassword('ada', another)).toBeDefined()
    expect(await done(here.accounts.remove(ada, {}, asking))).toEqual([`no factor ${ada}`, `end admin ${ada}`, `admin:${ada}`])
    expect(await accept(last.code)).toBe('Unprocessable.InvitationInvalid')
    expect(await invitationStore(scene.db).count()).toBe(0)
    expect((await here.accounts.all()).map(each => each.id)).toEqual([id])
  })

  test('an invitation is worth what its maker is when it is used: whoever has kept the code gets nowhere with it', async () => {
    const { asking: root } = await here.somebody('grace', 'root')
    const maker = await here.somebody('eve', ['admins:write', 'users:read'])
    const less = await here.somebody('ada', ['users:read'])
    const accept = (code: string) => failure(here.accounts.accept({ code, password: another }, root))
    const invited = async () => (await here.accounts.invite(less.id, maker.asking)).code
    const refused = 'Unprocessable.InvitationInvalid'
    // Whoever it is of has become somebody else: by other roles, by a role that allows more, by a suspension.
    const promoted = await invited()
    await here.accounts.setRoles(less.id, [rootRoleId], {}, root)
    expect(await accept(promoted)).toBe(refused)
    await here.accounts.setRoles(less.id, [less.roleId], {}, root)
    expect(await accept(promoted)).toBe(refused)
    const widened = await invited()
    await here.roles.change(less.roleId, { permissions: ['users:read', 'users:write'] }, {}, root)
    expect(await accept(widened)).toBe(refused)
    await here.roles.change(less.roleId, { permissions: ['users:read'] }, {}, root)
    const suspended = await invited()
    await here.accounts.suspend(less.id, root)
    await here.accounts.restore(less.id, root)
    expect(await accept(suspended)).toBe(refused)
    // Whoever has made it is not who they were.
    for (const end of [
      () => here.accounts.setRoles(maker.id, [], {}, root),
      () => here.accounts.suspend(maker.id, root),
      () => here.accounts.remove(maker.id, {}, root),
    ]) {
      await here.accounts.setRoles(maker.id, [maker.roleId], {}, root)
      await here.accounts.restore(maker.id, root)
      const code = await invited()
      await end()
      expect(await accept(code)).toBe(refused)
    }
    expect(await here.administrators.verifyPassword('ada', password)).toMatchObject({ permissions: ['users:read'] })
    // The command line loses nothing, and so does nobody who is invited by it.
    const { code } = await here.accounts.invite(less.id, operator)
    expect(await accept(code)).toBe('resolved')
    expect(audit.events.at(-1)).toMatchObject({ action: 'administrator.accept-invitation', after: { invitedBy: 'commandLine' } })
  })

  test('what changes one is told to all processes, written down with who did it, and ends the sessions it has to', async () => {
    const { asking } = await here.somebody('grace', 'root')
    const { id, roleId } = await here.somebody('ada', ['users:read'])
    audit.events.length = 0
    expect(await done(here.accounts.setRoles(id, [], {}, asking))).toEqual([`admin:${id}`])
    expect(await done(here.accounts.setRoles(id, [roleId], {}, asking))).toEqual([`admin:${id}`])
    expect(await done(here.accounts.suspend(id, asking))).toEqual([`end admin ${id}`, `admin:${id}`])
    expect(await done(here.accounts.restore(id, asking))).toEqual([`admin:${id}`])
    expect(await done(here.accounts.setPassword(id, another, operator))).toEqual([`end admin ${id}`, `admin:${id}`])
    const { code } = await here.accounts.invite(id, asking)
    expect(await done(here.accounts.accept({ code, password }, asking))).toEqual([`end admin ${id}`, `admin:${id}`])
    await here.accounts.remove(id, {}, asking)
    const words = ['set-roles', 'set-roles', 'suspend', 'restore', 'set-password', 'invite', 'accept-invitation', 'delete']
    expect(audit.events.map(({ action, object }) => [action, object])).toEqual(
      words.map(word => [`administrator.${word}`, `administrator:${id}`]),
    )
    expect(audit.events[0]).toMatchObject({
      ...{ actorName: 'grace', address: '192.0.2.1', requestId: 'r1' },
      ...{ before: { username: 'ada', status: 'active', roles: ['of-ada'] }, after: { roles: [] } },
    })
    expect(audit.events[4]).toMatchObject(operator.actor)
    expect(await failure(here.accounts.suspend(id, asking))).toBe('NotFound.AdministratorNotFound')
  })

  test('nobody touches who holds more than they do, nor gives a role that holds more', async () => {
    const { id: rootId, asking: root } = await here.somebody('grace', 'root')
    const more = await here.somebody('ada', ['admins:write', 'users:read', 'users:write'])
    const less = await here.somebody('bob', ['admins:write', 'users:read'])
    audit.events.length = 0
    told.length = 0
    for (const id of [more.id, rootId]) {
      for (const work of [
        () => here.accounts.suspend(id, less.asking),
        () => here.accounts.restore(id, less.asking),
        () => here.accounts.invite(id, less.asking),
        () => here.accounts.remove(id, {}, less.asking),
        () => here.accounts.setRoles(id, [], {}, less.asking),
      ])
        expect(await failure(work())).toBe('PermissionDenied.NotHeld')
    }
    for (const roleId of [more.roleId, rootRoleId]) {
      expect(await failure(here.accounts.setRoles(less.id, [less.roleId, roleId], {}, less.asking))).toBe('PermissionDenied.NotHeld')
      expect(await failure(here.accounts.create({ username: 'eve', roleIds: [roleId] }, less.asking))).toBe('PermissionDenied.NotHeld')
    }
    expect([audit.events, told, (await here.accounts.all()).length]).toEqual([[], [], 3])
    // What both hold one may give and take, and root may do all of it.
    const { administrator } = await here.accounts.create({ username: 'eve', roleIds: [less.roleId] }, more.asking)
    await here.accounts.suspend(administrator.id, less.asking)
    await here.accounts.suspend(more.id, root)
  })

  test('what somebody may give is what they hold at that moment, not what they were let in with', async () => {
    const { asking: root } = await here.somebody('grace', 'root')
    const late = await here.somebody('ada', 'root')
    const give = () => failure(here.accounts.create({ username: 'eve', roleIds: [] }, late.asking))
    const giveRoot = () => failure(here.accounts.create({ username: 'eve', roleIds: [rootRoleId] }, late.asking))
    await here.accounts.setRoles(late.id, [], {}, root)
    expect(await giveRoot()).toBe('PermissionDenied.NotHeld')
    await here.accounts.suspend(late.id, root)
    expect([await giveRoot(), await give()]).toEqual(['PermissionDenied.NotHeld', 'PermissionDenied.NotHeld'])
    await here.accounts.remove(late.id, {}, root)
    expect(await give()).toBe('PermissionDenied.NotHeld')
  })

  test('the last who may do everything stays that, whatever is tried', async () => {
    const { id, asking } = await here.somebody('grace', 'root')
    const { id: ada } = await here.somebody('ada', [])
    const all = async () => [
      await failure(here.accounts.suspend(id, asking)),
      await failure(here.accounts.setRoles(id, [], {}, asking)),
      await failure(here.accounts.remove(id, {}, operator)),
    ]
    const refused = Array.from({ length: 3 }, () => 'Unprocessable.LastAdministrator')
    expect(await all()).toEqual(refused)
    await here.accounts.suspend(ada, asking)
    await here.accounts.setRoles(ada, [rootRoleId], {}, asking)
    // One who is suspended lets nobody in, and neither does one who has not chosen a password yet.
    expect(await all()).toEqual(refused)
    const { administrator, invitation } = await here.accounts.create({ username: 'eve', roleIds: [rootRoleId] }, asking)
    expect(await all()).toEqual(refused)
    expect(await here.accounts.get(id)).toMatchObject({ status: 'active', version: 1 })
    await here.accounts.accept({ code: invitation.code, password: another }, asking)
    expect(await here.accounts.suspend(id, asking)).toMatchObject({ status: 'suspended' })
    expect(await failure(here.accounts.remove(administrator.id, {}, operator))).toBe('Unprocessable.LastAdministrator')
  })

  test('of two roots who demote, suspend or remove each other at once, one stays', async () => {
    const there = processOn(other.db)
    const ways = [
      (by: typeof here, id: string) => by.accounts.suspend(id, operator),
      (by: typeof here, id: string) => by.accounts.setRoles(id, [], {}, operator),
      (by: typeof here, id: string) => by.accounts.remove(id, {}, operator),
    ]
    for (const [i, way] of [...ways, ...ways].entries()) {
      await administratorStore(scene.db).deleteMany('all')
      const [a, b] = [await here.somebody(`ada${i}`, 'root'), await here.somebody(`bob${i}`, 'root')]
      const outcomes = await Promise.all([failure(way(here, a.id)), failure(way(there, b.id))])
      expect(outcomes.toSorted()).toEqual(['Unprocessable.LastAdministrator', 'resolved'])
      const left = (await here.accounts.all()).filter(({ status, permissions }) => status === 'active' && permissions.includes('*'))
      expect(left).toHaveLength(1)
    }
  }, 60_000)

  test('of two roots who are let in and demote each other at once, one stays', async () => {
    const there = processOn(other.db)
    for (let round = 0; round < 5; round++) {
      await administratorStore(scene.db).deleteMany('all')
      const [a, b] = [await here.somebody(`ada${round}`, 'root'), await here.somebody(`bob${round}`, 'root')]
      const outcomes = await Promise.all([
        failure(here.accounts.setRoles(b.id, [], {}, a.asking)),
        failure(there.accounts.setRoles(a.id, [], {}, b.asking)),
      ])
      // Whoever was second was root no more.
      expect(outcomes.toSorted()).toEqual(['PermissionDenied.NotHeld', 'resolved'])
      expect((await here.accounts.all()).filter(({ permissions }) => permissions.includes('*'))).toHaveLength(1)
    }
  }, 60_000)

  test('nobody invites themselves: that would be another password without the current one', async () => {
    const { id, asking } = await here.somebody('grace', 'root')
    const work = here.accounts.invite(id, asking)
    expect(await work.catch(err => [err.code, err.message])).toEqual([
      'Unprocessable.OwnInvitation',
      expect.stringContaining('POST /admin/v1/me/password'),
    ])
    expect(await invitationStore(scene.db).count()).toBe(0)
    expect(await failure(here.accounts.invite(id, operator))).toBe('resolved')
  })

  test('a change that somebody has not seen is not overwritten', async () => {
    const { asking } = await here.somebody('grace', 'root')
    const { id, version } = await here.somebody('ada', [])
    await here.accounts.suspend(id, asking)
    expect(await failure(here.accounts.setRoles(id, [rootRoleId], { versions: [version] }, asking))).toBe(
      'FailedPrecondition.VersionMismatch',
    )
    expect(await failure(here.accounts.remove(id, { versions: [version] }, asking))).toBe('FailedPrecondition.VersionMismatch')
    expect(await here.accounts.get(id)).toMatchObject({ roles: [{ name: 'of-ada' }] })
  })

  test('lists are by age, the newest first, by page and status, or by what names begin with', async () => {
    for (const name of ['ada', 'bob', 'eve']) await here.somebody(name, [])
    await here.accounts.suspend((await here.accounts.named('bob')).id, operator)
    const names = async (asked: object) => (await here.accounts.list(asked)).items.map(({ username }) => username)
    expect(await names({})).toEqual(['eve', 'bob', 'ada'])
    const { nextPageToken } = await here.accounts.list({ pageSize: 2 })
    expect(await names({ pageSize: 2, pageToken: nextPageToken })).toEqual(['ada'])
    await here.somebody('eva', [])
    expect([await names({ status: 'suspended' }), await names({ search: ' EV ' })]).toEqual([['bob'], ['eva', 'eve']])
    expect(await names({ search: (await here.accounts.named('bob')).id })).toEqual(['bob'])
    expect([await names({ search: 've' }), await names({ search: 'e%' }), await names({ search: 'ev', status: 'suspended' })]).toEqual([
      [],
      [],
      [],
    ])
  })
})
