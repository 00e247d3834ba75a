import { beforeEach, expect, test } from 'bun:test'
import { rootRoleId } from '@/modules/admin-role'
import { rolesMax } from '@/modules/admin-role/schema'
import { adminRoleStore } from '@/modules/admin-role/store'
import { operator, useAdministrators } from '@/testing/administrators'
import { onEachBacking } from '@/testing/backings'
import { failure } from '@/testing/conformance/fixture'

onEachBacking('roles of administrators', open => {
  const { scene, other, told, audit, processOn } = useAdministrators(open)
  let here: ReturnType<typeof processOn>
  beforeEach(() => {
    here = processOn(scene.db)
  })
  const support = { name: 'support', summary: 'Answers users.', permissions: ['users:write', 'users:read'] }

  test('a role is made, changed and deleted, which is told to all processes and written down', async () => {
    const { asking } = await here.somebody('grace', 'root')
    const made = await here.roles.create(support, asking)
    expect(made).toMatchObject({ ...support, permissions: ['users:read', 'users:write'], isBuiltIn: false })
    const { id } = await here.somebody('ada', [])
    await here.accounts.setRoles(id, [made.id], {}, asking)
    audit.events.length = 0
    told.length = 0
    await here.roles.change(made.id, { permissions: ['users:read'] }, {}, asking)
    expect([told, (await here.accounts.get(id)).permissions]).toEqual([[`adminRole:${made.id}`], ['users:read']])
    expect(await failure(here.roles.remove(made.id, {}, asking))).toBe('Unprocessable.RoleHeld')
    await here.accounts.setRoles(id, [], {}, asking)
    await here.roles.remove(made.id, {}, asking)
    expect(await failure(here.roles.get(made.id))).toBe('NotFound.AdminRoleNotFound')
    const ofRoles = audit.events.filter(({ action }) => action.startsWith('admin-role'))
    expect(ofRoles).toMatchObject([
      {
        action: 'admin-role.change',
        actorName: 'grace',
        before: { permissions: ['users:read', 'users:write'] },
        after: { permissions: ['users:read'] },
      },
      { action: 'admin-role.delete', object: `admin-role:${made.id}`, before: { name: 'support' } },
    ])
  })

  test('root is there, may do everything, and is neither changed nor deleted, by whomever', async () => {
    const { asking } = await here.somebody('grace', 'root')
    expect(await here.roles.get(rootRoleId)).toMatchObject({ name: 'root', permissions: ['*'], isBuiltIn: true })
    for (const by of [asking, operator]) {
      expect(await failure(here.roles.change(rootRoleId, { permissions: [] }, {}, by))).toBe('Unprocessable.BuiltIn')
      expect(await failure(here.roles.change(rootRoleId, { name: 'other' }, {}, by))).toBe('Unprocessable.BuiltIn')
      expect(await failure(here.roles.remove(rootRoleId, {}, by))).toBe('Unprocessable.BuiltIn')
      expect(await failure(here.roles.create({ ...support, name: 'root' }, by))).toBe('Conflict.NameTaken')
      expect(await failure(here.roles.create({ ...support, permissions: ['*'] }, by))).toBe('Unprocessable.PermissionUnknown')
      expect(await failure(here.roles.create({ ...support, permissions: ['users:eat'] }, by))).toBe('Unprocessable.PermissionUnknown')
    }
    expect(await here.roles.get(rootRoleId)).toMatchObject({ version: 1, permissions: ['*'] })
  })

  test('nobody makes, changes or deletes a role of which they do not hold all, before and after', async () => {
    const { asking: root } = await here.somebody('grace', 'root')
    const ada = await here.somebody('ada', ['roles:write', 'users:read'])
    const more = await here.roles.create(support, root)
    const own = await here.roles.create({ name: 'own', permissions: ['users:read'] }, ada.asking)
    audit.events.length = 0
    for (const work of [
      () => here.roles.create({ name: 'other', permissions: ['users:read', 'users:write'] }, ada.asking),
      () => here.roles.change(own.id, { permissions: ['users:read', 'users:write'] }, {}, ada.asking),
      // Their own, too: that is how somebody would give everything to themselves.
      () => here.roles.change(ada.roleId, { permissions: ['roles:write', 'users:write'] }, {}, ada.asking),
      () => here.roles.change(more.id, { permissions: ['users:read'] }, {}, ada.asking),
      () => here.roles.change(more.id, { name: 'renamed' }, {}, ada.asking),
      () => here.roles.remove(more.id, {}, ada.asking),
      () => here.roles.change(rootRoleId, { summary: '' }, {}, ada.asking),
    ])
      expect(await failure(work())).toBe('PermissionDenied.NotHeld')
    expect([audit.events, (await here.roles.get(more.id)).version]).toEqual([[], 1])
    await here.roles.change(own.id, { name: 'still-own', permissions: [] }, {}, ada.asking)
    await here.roles.remove(own.id, {}, ada.asking)
  })

  test('what is refused says which permissions are lacking', async () => {
    const ada = await here.somebody('ada', ['roles:write'])
    const refused = here.roles.create(support, ada.asking)
    await expect(refused).rejects.toMatchObject({
      problems: ['users:read', 'users:write']
        .toReversed()
        .map(name => ({ pointer: 'authorization', detail: `does not have the permission ${name}` })),
    })
  })

  test('what is declared no more stays in a role without effect, and can be taken out by root', async () => {
    const { asking: root } = await here.somebody('grace', 'root')
    const { id } = await adminRoleStore(scene.db).create({ name: 'old', summary: '', permissions: ['gone:read', 'users:read'] })
    const ada = await here.somebody('ada', ['roles:write', 'users:read'])
    expect(await failure(here.roles.change(id, { summary: 'x' }, {}, ada.asking))).toBe('PermissionDenied.NotHeld')
    await here.roles.change(id, { permissions: ['gone:read'] }, {}, root)
    expect(await here.roles.change(id, { permissions: [] }, {}, root)).toMatchObject({ permissions: [] })
    expect(await failure(here.roles.change(id, { permissions: ['gone:read'] }, {}, root))).toBe('Unprocessable.PermissionUnknown')
  })

  test('a role that is given while it is deleted is there, or is given to nobody', async () => {
    const there = processOn(other.db)
    const { id } = await here.somebody('ada', [])
    for (let round = 0; round < 6; round++) {
      const role = await here.roles.create({ name: `role-${round}`, permissions: [] }, operator)
      await here.accounts.setRoles(id, [], {}, operator)
      const [given, deleted] = await Promise.all([
        failure(here.accounts.setRoles(id, [role.id], {}, operator)),
        failure(there.roles.remove(role.id, {}, operator)),
      ])
      expect([
        ['resolved', 'Unprocessable.RoleHeld'],
        ['Unprocessable.RoleUnknown', 'resolved'],
      ]).toContainEqual([given, deleted])
    }
  }, 60_000)

  test('a name is one role, a change that was not seen is not overwritten, and there are not too many', async () => {
    const { id, version } = await here.roles.create(support, operator)
    expect(await failure(here.roles.create(support, operator))).toBe('Conflict.NameTaken')
    await here.roles.change(id, { summary: 'new' }, { versions: [version] }, operator)
    const seen = { versions: [version] }
    expect(await failure(here.roles.change(id, { summary: 'x' }, seen, operator))).toBe('FailedPrecondition.VersionMismatch')
    expect(await failure(here.roles.remove(id, seen, operator))).toBe('FailedPrecondition.VersionMismatch')
    const many = Array.from({ length: rolesMax - 2 }, (_, i) => ({ name: `many-${i}`, summary: '', permissions: [] }))
    await adminRoleStore(scene.db).createMany(many)
    expect(await failure(here.roles.create({ name: 'one-more', permissions: [] }, operator))).toBe('Unprocessable.TooManyRoles')
    const { items, nextPageToken } = await here.roles.list({ pageSize: 2 })
    expect([items.map(({ name }) => name), nextPageToken.length > 0]).toEqual([['many-0', 'many-1'], true])
  })
})
