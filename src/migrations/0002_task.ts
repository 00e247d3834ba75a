import type { Migration } from '@/core/migration'

/** The task queue where Redis is not: `src/infra/queue/sqlite` says what the columns mean. */
export const migration: Migration = {
  id: '0002_task',
  up: ({ onlyOn }) =>
    onlyOn('sqlite', [
      `create table "queueTask" (
        "seq" integer primary key,
        "queue" text not null,
        "id" text not null,
        "state" integer not null check ("state" between 0 and 3),
        "priority" integer not null check ("priority" between 0 and 9),
        "line" integer not null,
        "at" integer not null,
        "attempt" integer not null default 0,
        "failures" integer not null default 0,
        "crashes" integer not null default 0,
        "isCancelled" integer not null default 0,
        "isIdKept" integer not null,
        "nonce" text,
        "worker" text,
        "finisher" text,
        "uniqueKey" text,
        "uniqueFor" integer,
        "uniqueUntil" integer,
        "errors" text,
        "envelope" text not null
      ) strict`,
      'create unique index "queueTask_id" on "queueTask" ("queue", "id")',
      'create index "queueTask_line" on "queueTask" ("queue", "priority", "line") where "state" = 0',
      'create index "queueTask_at" on "queueTask" ("queue", "state", "at", "id") where "state" > 0',
      'create index "queueTask_nonce" on "queueTask" ("queue", "nonce") where "nonce" is not null',
      'create unique index "queueTask_uniqueKey" on "queueTask" ("queue", "uniqueKey") where "uniqueUntil" is not null',
      'create index "queueTask_cancelled" on "queueTask" ("queue", "id") where "isCancelled" = 1',
      `create table "queueTombstone" (
        "queue" text not null,
        "id" text not null,
        "until" integer not null,
        primary key ("queue", "id")
      ) strict, without rowid`,
      'create index "queueTombstone_until" on "queueTombstone" ("until")',
      `create table "queueSummary" (
        "queue" text not null primary key,
        "head" integer not null,
        "tail" integer not null,
        "waiting" integer not null,
        "scheduled" integer not null,
        "active" integer not null,
        "dead" integer not null,
        "enqueued" integer not null,
        "done" integer not null,
        "failed" integer not null,
        "crashed" integer not null,
        "died" integer not null,
        "cancelled" integer not null,
        "clockMs" integer not null
      ) strict, without rowid`,
    ]),
  down: ({ onlyOn }) => onlyOn('sqlite', ['drop table "queueSummary"', 'drop table "queueTombstone"', 'drop table "queueTask"']),
}
