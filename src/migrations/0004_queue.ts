import type { Migration } from '@/core/migration'

/** What both have, the table before and the one after. */
const begin = `
        "seq" integer primary key,
        "queue" text not null,
        "id" text not null,
        "state" integer not null check ("state" between 0 and`
const middle = `),
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
        "uniqueUntil" integer,`
const end = `
        "envelope" text not null
      ) strict`
const columns = ['seq', 'queue', 'id', 'state', 'priority', 'line', 'at', 'attempt', 'failures', 'crashes', 'isCancelled', 'isIdKept']
  .concat(['nonce', 'worker', 'finisher', 'uniqueKey', 'uniqueFor', 'uniqueUntil', 'errors', 'envelope'])
  .map(name => `"${name}"`)
  .join(', ')

const lineBefore = 'create index "queueTask_line" on "queueTask" ("queue", "priority", "line") where "state" = 0'
const newIndexes = [
  'create index "queueTask_line" on "queueTask" ("queue", "lane", "priority", "line") where "state" = 0',
  'create index "queueTask_groupKey" on "queueTask" ("queue", "groupKey") where "groupUntil" is not null',
  'create index "queueTask_ended" on "queueTask" ("queue", "line") where "state" in (3, 4)',
  'create index "queueTask_laned" on "queueTask" ("queue", "priority", "line") where "state" = 0 and "lane" is not null',
]
const otherIndexes = [
  'create unique index "queueTask_id" on "queueTask" ("queue", "id")',
  'create index "queueTask_at" on "queueTask" ("queue", "state", "at", "id") where "state" > 0',
  'create index "queueTask_nonce" on "queueTask" ("queue", "nonce") where "nonce" is not null',
  'create unique index "queueTask_uniqueKey" on "queueTask" ("queue", "uniqueKey") where "uniqueUntil" is not null',
  'create index "queueTask_cancelled" on "queueTask" ("queue", "id") where "isCancelled" = 1',
]
const dropIndexes = ['id', 'line', 'at', 'nonce', 'uniqueKey', 'cancelled'].map(name => `drop index "queueTask_${name}"`)

/**
 * Limits, groups, and tasks that wait for others. On SQLite `src/infra/queue/sqlite` says what the columns mean; the table is made anew since
 * there are more states. On MySQL the outbox keeps what else is said of a task as JSON, and finds a task by its id.
 */
export const migration: Migration = {
  id: '0004_queue',
  up: ({ onlyOn, longText }) => [
    ...onlyOn('sqlite', [
      'alter table "queueTask" rename to "queueTaskBefore"',
      ...dropIndexes,
      `create table "queueTask" (${begin} 5${middle}
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
        "result" text,${end}`,
      `insert into "queueTask" (${columns}) select ${columns} from "queueTaskBefore"`,
      'drop table "queueTaskBefore"',
      ...newIndexes,
      ...otherIndexes,
      `create table "queueLane" (
        "queue" text not null,
        "lane" text not null,
        "active" integer not null,
        "priority" integer,
        "turn" integer,
        "heldUntil" integer,
        "tat" real,
        primary key ("queue", "lane")
      ) strict, without rowid`,
      'create index "queueLane_turn" on "queueLane" ("queue", "priority", "turn") where "turn" is not null and "priority" is not null',
      'create index "queueLane_held" on "queueLane" ("queue", "heldUntil") where "heldUntil" is not null and "priority" is not null',
      'create index "queueLane_idle" on "queueLane" ("queue", "heldUntil") where "heldUntil" is not null and "priority" is null',
      `create table "queueHistory" (
        "queue" text not null,
        "at" integer not null,
        "total" text not null,
        "seen" text not null,
        primary key ("queue", "at")
      ) strict, without rowid`,
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
      'alter table "queueSummary" add column "lanes" integer not null default 0',
      'alter table "queueSummary" add column "limits" text',
    ]),
    ...onlyOn('server', [
      `alter table "outbox" add column "extras" ${longText}`,
      'alter table "outbox" add index "outbox_taskId" ("taskId")',
    ]),
  ],
  // What the new columns and tables say is lost. What was held waits, since it was accepted.
  down: ({ onlyOn }) => [
    ...onlyOn('sqlite', [
      'drop table "queueHistory"',
      'drop table "queueEnded"',
      'drop table "queueLane"',
      'alter table "queueTask" rename to "queueTaskAfter"',
      'drop index "queueTask_laned"',
      'drop index "queueTask_ended"',
      'drop index "queueTask_groupKey"',
      ...dropIndexes,
      `create table "queueTask" (${begin} 3${middle}
        "errors" text,${end}`,
      `insert into "queueTask" (${columns}) select ${columns} from "queueTaskAfter" where "state" < 4`,
      `insert into "queueTask" (${columns})
        select ${columns.replace('"state"', '0').replace('"line"', 'coalesce((select "tail" from "queueSummary" s where s."queue" = t."queue"), 0)')}
        from "queueTaskAfter" t where "state" = 5 order by "seq"`,
      `update "queueSummary" set "waiting" = "waiting" + (select count(*) from "queueTaskAfter" t where t."queue" = "queueSummary"."queue" and "state" = 5)`,
      'drop table "queueTaskAfter"',
      lineBefore,
      ...otherIndexes,
      'alter table "queueSummary" drop column "limits"',
      'alter table "queueSummary" drop column "lanes"',
      'alter table "queueSummary" drop column "isPaused"',
      'alter table "queueSummary" drop column "kept"',
      'alter table "queueSummary" drop column "held"',
    ]),
    ...onlyOn('server', ['alter table "outbox" drop index "outbox_taskId"', 'alter table "outbox" drop column "extras"']),
  ],
}
