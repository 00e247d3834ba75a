import type { Migration } from '@/core/migration'

/** Of the built-in role, as `rootRoleId` of the module admin-role has it. It sorts before all others. */
const root = '00000000-0000-7000-8000-000000000000'

/**
 * What administrators may do comes from roles. Whoever could do everything is root from now on; whoever could do less gets a role of their
 * own, which has their id and is named after them, since SQL makes no ids that all databases agree on.
 */
export const migration: Migration = {
  id: '0015_admin_role',
  up: ({ id, text, json, integer, timestamp, epoch, tableOptions, uniqueIndex, changeColumn }) => [
    `create table "adminRole" (
      "id" ${id} not null primary key,
      "name" ${text(64)} not null,
      "summary" ${text(200)} not null,
      "permissions" ${json} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('adminRole', ['name']),
    `insert into "adminRole" ("id", "name", "summary", "permissions", "createdAt", "updatedAt", "version")
      values ('${root}', 'root', 'May do everything.', '["*"]', ${epoch}, ${epoch}, 1)`,
    `insert into "adminRole" ("id", "name", "summary", "permissions", "createdAt", "updatedAt", "version")
      select "id", concat('of-', "username"), concat('What ', "username", ' could do before there were roles.'),
        "permissions", "updatedAt", "updatedAt", 1
      from "administrator" where "permissions" not like '%"*"%' and "permissions" not like '[]'`,
    `alter table "administrator" add column "roleIds" ${json}`,
    `update "administrator" set "roleIds" = case
      when "permissions" like '%"*"%' then '["${root}"]'
      when "permissions" like '[]' then '[]'
      else concat('["', "id", '"]') end`,
    ...changeColumn('administrator', 'roleIds', { from: json, to: `${json} not null` }),
    'alter table "administrator" drop column "permissions"',
    ...changeColumn('administrator', 'passwordHash', { from: `${text(255)} not null`, to: text(255) }),
    `create table "administratorInvitation" (
      "id" ${id} not null primary key,
      "administratorId" ${id} not null,
      "handle" ${id} not null,
      "codeHash" ${text(64)} not null,
      "expiresAt" ${timestamp} not null,
      "makerId" ${id},
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('administratorInvitation', ['administratorId']),
    uniqueIndex('administratorInvitation', ['handle']),
  ],
  // Whoever has several roles keeps what one of them allows: root, or the oldest. The table is made anew, since a column comes back last.
  down: ({ id, text, json, integer, timestamp, tableOptions, uniqueIndex, dropIndex }) => [
    'drop table "administratorInvitation"',
    dropIndex('administrator', ['username']),
    'alter table "administrator" rename to "administratorWithRoles"',
    `create table "administrator" (
      "id" ${id} not null primary key,
      "username" ${text(32)} not null,
      "passwordHash" ${text(255)} not null,
      "status" ${text(16)} not null,
      "permissions" ${json} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('administrator', ['username']),
    `insert into "administrator" ("id", "username", "passwordHash", "status", "permissions", "createdAt", "updatedAt", "version")
      select "id", "username", "passwordHash", "status", coalesce((select "permissions" from "adminRole"
        where instr("administratorWithRoles"."roleIds", "adminRole"."id") > 0 order by "adminRole"."id" limit 1), '[]'),
        "createdAt", "updatedAt", "version"
      from "administratorWithRoles" where "passwordHash" is not null`,
    'drop table "administratorWithRoles"',
    'drop table "adminRole"',
  ],
}
