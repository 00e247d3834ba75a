import type { Migration } from '@/core/migration'

/** The processes that run: `src/infra/processes/rows.ts` says what the columns mean. Instants are milliseconds since 1970. */
export const migration: Migration = {
  id: '0018_process',
  up: ({ undeclared, id, text, integer, keyedTableOptions }) =>
    undeclared([
      `create table "process" (
      "id" ${id} not null primary key,
      "roles" ${text(128)} not null,
      "version" ${text(64)} not null,
      "host" ${text(255)} not null,
      "pid" ${integer} not null,
      "startedAtMs" ${integer} not null,
      "seenAtMs" ${integer} not null
    ) ${keyedTableOptions}`,
      'create index "process_seenAtMs" on "process" ("seenAtMs")',
    ]),
  down: ({ undeclared }) => undeclared(['drop table "process"']),
}
