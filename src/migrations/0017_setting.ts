import type { Migration } from '@/core/migration'

/** Settings that change while everything runs, and the indexes that users of one status are searched by. */
export const migration: Migration = {
  id: '0017_setting',
  up: ({ id, text, integer, timestamp, tableOptions, uniqueIndex, index }) => [
    `create table "setting" (
      "id" ${id} not null primary key,
      "name" ${text(64)} not null,
      "value" ${text(4000)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('setting', ['name']),
    index('user', ['status', 'username']),
    index('user', ['status', 'email']),
  ],
  down: ({ dropIndex }) => [dropIndex('user', ['status', 'email']), dropIndex('user', ['status', 'username']), 'drop table "setting"'],
}
