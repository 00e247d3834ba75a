import type { Migration } from '@/core/migration'

const indexes = [
  'create unique index "queueTask_id" on "queueTask" ("queue", "id")',
  'create index "queueTask_line" on "queueTask" ("queue", "priority", "line") where "state" = 0',
  'create index "queueTask_at" on "queueTask" ("queue", "state", "at", "id") where "state" > 0',
  'create index "queueTask_nonce" on "queueTask" ("queue", "nonce") where "nonce" is not null',
  'create unique index "queueTask_uniqueKey" on "queueTask" ("queue", "uniqueKey") where "uniqueUntil" is not null',
  'create index "queueTask_ended" on "queueTask" ("queue", "line") where "state" in (3, 4)',
  'create index "queueTask_cancelled" on "queueTask" ("queue", "id") where "isCancelled" = 1',
]
const columns = [
  'seq',
  'queue',
  'id',
  'state',
  'priority',
  'line',
  'at',
  'attempt',
  'failures',
  'crashes',
  'isCancelled',
  'isIdKept',
  'nonce',
]
  .concat(['worker', 'finisher', 'uniqueKey', 'uniqueFor', 'uniqueUntil', 'errors', 'envelope'])
  .map(name => `"${name}"`)
  .join(', ')

/**
 * Limits, groups, and tasks that wait for others. On SQLite `src/infra/queue/sqlite` says what the columns mean; the table is made anew since
 * there are more states. On MySQL the outbox keeps what else is said of a task as JSON, and finds a task by its id.
 */
export const migration: Migration = {
  id: '0004_queue',
  up: ({ onlyOn, longText }) => [
    ...onlyOn('sqlite', [
      'alter table "queueTask" rename to "queueTaskBefore"',
      'drop index "queueTask_id"',
      'drop index "queueTask_line"',
      'drop index "queueTask_at"',
      'drop index "queueTask_nonce"',
      'drop index "queueTask_uniqueKey"',
      'drop index "queueTask_cancelled"',
      `create table "queueTask" (
        "seq" integer primary key,
        "queue" text not null,
        "id" text not null,
        "state" integer not null check ("state" between 0 and 5),
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
        "lane" text,
        "groupKey" text,
        "groupUntil" integer,
        "groupCount" integer,
        "follower" text,
        "needCount" integer,
        "isDoneNeeded" integer,
        "delayMs" integer,
        "errors" text,
        "progress" text,
        "result" text,
        "envelope" text not null
      ) strict`,
      `insert into "queueTask" (${columns}) select ${columns} from "queueTaskBefore"`,
      'drop table "queueTaskBefore"',
      ...indexes,
      `create table "queueEnded" (
        "queue" text not null,
        "follower" text not null,
        "id" text not null,
        "outcome" integer not null,
        "result" text,
        "until" integer,
        primary key ("queue", "follower", "id")
      ) strict, without rowid`,
      'create index "queueEnded_until" on "queueEnded" ("until") where "until" is not null',
      'alter table "queueSummary" add column "held" integer not null default 0',
      'alter table "queueSummary" add column "kept" integer not null default 0',
      'alter table "queueSummary" add column "isPaused" integer not null default 0',
    ]),
    ...onlyOn('server', [
      `alter table "outbox" add column "extras" ${longText}`,
      'alter table "outbox" add index "outbox_taskId" ("taskId")',
    ]),
  ],
  // What these columns say would be lost; an older version has no use for it.
  down: ({ onlyOn }) => [
    ...onlyOn('sqlite', [
      'drop table "queueEnded"',
      'alter table "queueSummary" drop column "isPaused"',
      'alter table "queueSummary" drop column "kept"',
      'alter table "queueSummary" drop column "held"',
    ]),
    ...onlyOn('server', ['alter table "outbox" drop index "outbox_taskId"', 'alter table "outbox" drop column "extras"']),
  ],
}
