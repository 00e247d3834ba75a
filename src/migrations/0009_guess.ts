import type { Migration } from '@/core/migration'

/** What is remembered of guesses: `src/infra/throttle/rows.ts` says what the columns mean. */
export const migration: Migration = {
  id: '0009_guess',
  up: ({ undeclared, text, integer, keyedTableOptions }) =>
    undeclared([
      `create table "guess" (
      "digest" ${text(43)} not null primary key,
      "failures" ${integer} not null,
      "sinceMs" ${integer} not null,
      "nextAtMs" ${integer} not null,
      "letInAtMs" ${integer} not null,
      "expiresAtMs" ${integer} not null
    ) ${keyedTableOptions}`,
      'create index "guess_expiresAtMs" on "guess" ("expiresAtMs")',
    ]),
  down: ({ undeclared }) => undeclared(['drop table "guess"']),
}
