import type { Migration } from '@/core/migration'

/** What administrators have done, and the end of the chain that it is: `src/modules/audit-event/schema.ts` says what the columns mean. */
export const migration: Migration = {
  id: '0014_audit',
  up: ({ id, text, longText, integer, timestamp, epoch, tableOptions, uniqueIndex, index }) => [
    `create table "auditEvent" (
      "id" ${id} not null primary key,
      "seq" ${integer} not null,
      "actor" ${text(64)},
      "actorName" ${text(64)},
      "address" ${text(64)} not null,
      "requestId" ${text(64)},
      "action" ${text(64)} not null,
      "object" ${text(192)},
      "outcome" ${text(16)} not null,
      "reason" ${text(128)},
      "before" ${longText},
      "after" ${longText},
      "hash" ${text(43)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('auditEvent', ['seq']),
    index('auditEvent', ['createdAt', 'id']),
    index('auditEvent', ['actor', 'createdAt', 'id']),
    index('auditEvent', ['action', 'createdAt', 'id']),
    index('auditEvent', ['object', 'createdAt', 'id']),
    index('auditEvent', ['outcome', 'createdAt', 'id']),
    index('auditEvent', ['requestId', 'createdAt', 'id']),
    `create table "auditHead" (
      "id" ${id} not null primary key,
      "seq" ${integer} not null,
      "hash" ${text(43)} not null,
      "digest" ${text(43)} not null,
      "cutSeq" ${integer} not null,
      "cutHash" ${text(43)} not null,
      "begunAt" ${timestamp},
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    // A digest of it can be made by nobody who has no key: the first event that is written down makes it.
    `insert into "auditHead" ("id", "seq", "hash", "digest", "cutSeq", "cutHash", "createdAt", "updatedAt", "version")
      values ('00000000-0000-7000-8000-000000000001', 0, '', '', 0, '', ${epoch}, ${epoch}, 1)`,
  ],
  down: () => ['drop table "auditHead"', 'drop table "auditEvent"'],
}
