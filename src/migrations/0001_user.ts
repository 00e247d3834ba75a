import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0001_user',
  up: ({ id, text, integer, timestamp, tableOptions }) => [
    `create table "user" (
      "id" ${id} not null primary key,
      "username" ${text(32)} not null,
      "email" ${text(254)} not null,
      "nickname" ${text(64)},
      "passwordHash" ${text(255)} not null,
      "status" ${text(16)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    'create unique index "user_username" on "user" ("username")',
    'create unique index "user_email" on "user" ("email")',
    'create index "user_createdAt" on "user" ("createdAt", "id")',
    'create index "user_status_createdAt" on "user" ("status", "createdAt", "id")',
  ],
  down: () => ['drop table "user"'],
}
