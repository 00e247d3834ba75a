import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0011_api_key',
  up: ({ id, text, json, integer, timestamp, tableOptions, uniqueIndex, index }) => [
    `create table "apiKey" (
      "id" ${id} not null primary key,
      "userId" ${id},
      "name" ${text(64)} not null,
      "start" ${text(16)} not null,
      "keyHash" ${text(64)} not null,
      "scopes" ${json} not null,
      "requestsPerMinute" ${integer},
      "expiresAt" ${timestamp} not null,
      "lastUsedAt" ${timestamp},
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('apiKey', ['keyHash']),
    index('apiKey', ['userId', 'createdAt']),
    index('apiKey', ['createdAt']),
    index('apiKey', ['expiresAt']),
  ],
  down: () => ['drop table "apiKey"'],
}
