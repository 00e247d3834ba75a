import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0005_user_export',
  up: ({ id, text, integer, timestamp, tableOptions, uniqueIndex, index, binary }) => [
    `create table "userExport" (
      "id" ${id} not null primary key,
      "format" ${text(16)} not null,
      "status" ${text(16)},
      "state" ${text(16)} not null,
      "taskId" ${text(128)} not null,
      "lastUserId" ${id},
      "chunks" ${integer} not null,
      "rows" ${integer} not null,
      "bytes" ${integer} not null,
      "total" ${integer},
      "error" ${text(1000)},
      "startedAt" ${timestamp},
      "endedAt" ${timestamp},
      "expiresAt" ${timestamp},
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('userExport', ['taskId']),
    index('userExport', ['createdAt']),
    `create table "userExportChunk" (
      "id" ${id} not null primary key,
      "exportId" ${id} not null,
      "number" ${integer} not null,
      "rows" ${integer} not null,
      "content" ${binary(4194304)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('userExportChunk', ['exportId', 'number']),
  ],
  down: () => ['drop table "userExportChunk"', 'drop table "userExport"'],
}
