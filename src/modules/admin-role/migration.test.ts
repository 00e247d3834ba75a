import { expect, test } from 'bun:test'
import { migrateDown, migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { onEachBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { rootRoleId } from './schema'

const before = migrations.filter(({ id }) => id < '0015')
const withRoles = migrations.filter(({ id }) => id < '0016')

/** As they were: what each could do stood in the account. */
const permissionsWere = {
  grace: ['*'],
  ada: ['users:read', 'schedules:write'],
  eve: ['users:read', '*'],
  bob: [],
}
const ids = Object.fromEntries(Object.keys(permissionsWere).map((name, i) => [name, `01890a5d-ac96-774b-bcce-b302099a805${i}`]))

onEachBacking('the migration to roles', open => {
  test('lets everybody do what they could do before, and those who go back, too', async () => {
    const backing = await open()
    const db = await openAgain(backing)
    await migrateUp(db, before)
    const at = db.dialect.name === 'sqlite' ? 0 : '2026-01-31 09:05:00.000'
    for (const [name, permissions] of Object.entries(permissionsWere))
      await db.run(
        `insert into "administrator" ("id", "username", "passwordHash", "status", "permissions", "createdAt", "updatedAt", "version")
          values (?, ?, 'hash', 'active', ?, ?, ?, 1)`,
        [ids[name] ?? '', name, JSON.stringify(permissions), at, at],
      )
    expect(await migrateUp(db, withRoles)).toEqual(['0015_admin_role'])
    const roles = await db.all('select "id", "name", "permissions" from "adminRole" order by "id"')
    expect(roles.map(({ id, name, permissions }) => [id, name, JSON.parse(String(permissions))])).toEqual([
      [rootRoleId, 'root', ['*']],
      [ids['ada'] ?? '', 'of-ada', permissionsWere.ada],
    ])
    const held = await db.all('select "username", "roleIds" from "administrator" order by "id"')
    expect(held.map(({ username, roleIds }) => [username, JSON.parse(String(roleIds))])).toEqual([
      ['grace', [rootRoleId]],
      ['ada', [ids['ada']]],
      ['eve', [rootRoleId]],
      ['bob', []],
    ])
    // Somebody who has not chosen a password could not be kept, and several roles become one.
    await db.run(`update "administrator" set "roleIds" = ? where "username" = 'ada'`, [JSON.stringify([ids['ada'], rootRoleId])])
    await db.run(`update "administrator" set "passwordHash" = null where "username" = 'bob'`)
    await migrateDown(db, withRoles)
    const back = await db.all('select "username", "permissions" from "administrator" order by "id"')
    expect(back.map(({ username, permissions }) => [username, JSON.parse(String(permissions))])).toEqual([
      ['grace', ['*']],
      ['ada', ['*']],
      ['eve', ['*']],
    ])
    expect(await migrateUp(db, withRoles)).toEqual(['0015_admin_role'])
    await db.close()
    await backing.dispose()
  }, 60_000)
})
