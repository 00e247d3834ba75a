import type { Migration } from '@/core/migration'

/** What has changed of whom processes know: `src/infra/identity/epoch.ts` says what the columns mean. Instants are milliseconds since 1970. */
export const migration: Migration = {
  id: '0007_identity',
  up: ({ undeclared, integer, text, tableOptions, keyedTableOptions }) =>
    undeclared([
      `create table "revocationEpoch" ("id" ${integer} not null primary key, "value" ${integer} not null) ${tableOptions}`,
      'insert into "revocationEpoch" ("id", "value") values (1, 0)',
      `create table "revocation" (
      "epoch" ${integer} not null,
      "subject" ${text(64)} not null,
      "atMs" ${integer} not null,
      primary key ("epoch", "subject")
    ) ${keyedTableOptions}`,
      'create index "revocation_atMs" on "revocation" ("atMs")',
    ]),
  down: ({ undeclared }) => undeclared(['drop table "revocation"', 'drop table "revocationEpoch"']),
}
