import type { Migration } from '@/core/migration'

/** Requests with an `Idempotency-Key`: `src/infra/idempotency/rows.ts` says what the columns mean. Instants are milliseconds since 1970. */
export const migration: Migration = {
  id: '0013_idempotency',
  up: ({ undeclared, id, text, longText, integer, keyedTableOptions }) =>
    undeclared([
      `create table "idempotentRequest" (
      "id" ${text(43)} not null primary key,
      "fingerprint" ${text(43)} not null,
      "claim" ${id} not null,
      "state" ${text(16)} not null,
      "answer" ${longText},
      "leaseUntilMs" ${integer} not null,
      "expiresAtMs" ${integer} not null
    ) ${keyedTableOptions}`,
      'create index "idempotentRequest_expiresAtMs" on "idempotentRequest" ("expiresAtMs")',
    ]),
  down: ({ undeclared }) => undeclared(['drop table "idempotentRequest"']),
}
