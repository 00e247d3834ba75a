import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0016_second_factor',
  up: ({ id, text, integer, timestamp, tableOptions, uniqueIndex }) => [
    `create table "secondFactor" (
      "id" ${id} not null primary key,
      "administratorId" ${id} not null,
      "sealedSeed" ${text(255)} not null,
      "keyId" ${text(16)} not null,
      "confirmedAt" ${timestamp},
      "setUpUntil" ${timestamp} not null,
      "lastStep" ${integer} not null,
      "failures" ${integer} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('secondFactor', ['administratorId']),
    `create table "recoveryCode" (
      "id" ${id} not null primary key,
      "administratorId" ${id} not null,
      "codeHash" ${text(43)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('recoveryCode', ['administratorId', 'codeHash']),
    `alter table "session" add column "provenAt" ${timestamp}`,
  ],
  down: () => ['alter table "session" drop column "provenAt"', 'drop table "recoveryCode"', 'drop table "secondFactor"'],
}
