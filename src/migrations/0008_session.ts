import type { Migration } from '@/core/migration'

/** Sessions of both servers, and the keys that sign their access tokens: `src/infra/tokens/rows.ts` says what the columns of those mean. */
export const migration: Migration = {
  id: '0008_session',
  up: ({ id, text, integer, timestamp, binary, undeclared, tableOptions, uniqueIndex, index }) => [
    `create table "session" (
      "id" ${id} not null primary key,
      "realm" ${text(16)} not null,
      "accountId" ${id} not null,
      "seed" ${binary(32)} not null,
      "generation" ${integer} not null,
      "rotatedAt" ${timestamp} not null,
      "expiresAt" ${timestamp} not null,
      "idleUntil" ${timestamp} not null,
      "userAgent" ${text(256)},
      "address" ${text(64)} not null,
      "lastUsedAt" ${timestamp} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    index('session', ['createdAt']),
    index('session', ['realm', 'accountId']),
    index('session', ['idleUntil']),
    ...undeclared([
      `create table "signingKey" (
      "id" ${id} not null primary key,
      "number" ${integer} not null,
      "publicKey" ${text(64)} not null,
      "privateKey" ${text(500)} not null,
      "usableAtMs" ${integer} not null,
      "createdAtMs" ${integer} not null
    ) ${tableOptions}`,
      uniqueIndex('signingKey', ['number']),
    ]),
  ],
  down: ({ undeclared }) => [...undeclared(['drop table "signingKey"']), 'drop table "session"'],
}
