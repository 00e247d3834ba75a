import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0010_account',
  up: ({ id, text, integer, timestamp, tableOptions, uniqueIndex, index }) => [
    `alter table "user" add column "emailVerifiedAt" ${timestamp}`,
    `create table "userCode" (
      "id" ${id} not null primary key,
      "userId" ${id} not null,
      "purpose" ${text(16)} not null,
      "handle" ${id} not null,
      "email" ${text(254)} not null,
      "codeHash" ${text(64)} not null,
      "attempts" ${integer} not null,
      "expiresAt" ${timestamp} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('userCode', ['userId', 'purpose']),
    uniqueIndex('userCode', ['handle']),
    index('userCode', ['expiresAt']),
    `create table "userMessage" (
      "id" ${id} not null primary key,
      "userId" ${id} not null,
      "purpose" ${text(16)} not null,
      "times" ${integer} not null,
      "lastAt" ${timestamp} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('userMessage', ['userId', 'purpose']),
  ],
  down: () => ['drop table "userMessage"', 'drop table "userCode"', 'alter table "user" drop column "emailVerifiedAt"'],
}
