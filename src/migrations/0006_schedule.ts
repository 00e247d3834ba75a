import type { Migration } from '@/core/migration'

/** Schedules, and what became of their ticks: `src/infra/schedule/rows.ts` says what the columns mean. Instants are milliseconds since 1970. */
export const migration: Migration = {
  id: '0006_schedule',
  up: ({ undeclared, id, text, longText, integer, boolean, tableOptions, keyedTableOptions, uniqueIndex, index }) =>
    undeclared([
      `create table "schedule" (
      "id" ${id} not null primary key,
      "name" ${text(64)} not null,
      "origin" ${text(16)} not null,
      "cron" ${text(200)} not null,
      "timeZone" ${text(64)} not null,
      "task" ${text(64)} not null,
      "payload" ${longText} not null,
      "overlap" ${text(16)} not null,
      "catchUp" ${text(16)} not null,
      "catchUpWindowMs" ${integer} not null,
      "jitterMs" ${integer} not null,
      "isPaused" ${boolean} not null,
      "cursorMs" ${integer} not null,
      "nextAtMs" ${integer},
      "lastTickMs" ${integer},
      "lastTaskId" ${text(128)},
      "bufferedMs" ${integer},
      "missed" ${integer} not null,
      "untrimmed" ${integer} not null,
      "declaredAtMs" ${integer},
      "createdAtMs" ${integer} not null,
      "updatedAtMs" ${integer} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
      uniqueIndex('schedule', ['name']),
      index('schedule', ['isPaused', 'nextAtMs']),
      `create table "scheduleTick" (
      "scheduleId" ${id} not null,
      "tickMs" ${integer} not null,
      "isManual" ${boolean} not null,
      "what" ${text(16)} not null,
      "count" ${integer} not null,
      "atMs" ${integer} not null,
      "lateMs" ${integer} not null,
      "taskId" ${text(128)},
      "outcome" ${text(16)},
      "lookAtMs" ${integer},
      "seenAtMs" ${integer},
      primary key ("scheduleId", "tickMs", "isManual")
    ) ${keyedTableOptions}`,
      'create index "scheduleTick_lookAtMs" on "scheduleTick" ("lookAtMs")',
    ]),
  down: ({ undeclared }) => undeclared(['drop table "scheduleTick"', 'drop table "schedule"']),
}
