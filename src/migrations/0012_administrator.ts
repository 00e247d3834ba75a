import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0012_administrator',
  up: ({ id, text, json, integer, timestamp, tableOptions, uniqueIndex }) => [
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
  ],
  down: () => ['drop table "administrator"'],
}
