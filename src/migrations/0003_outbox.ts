import type { Migration } from '@/core/migration'

/** Tasks that transactions leave for Redis. On SQLite tasks are in the database themselves. */
export const migration: Migration = {
  id: '0003_outbox',
  up: ({ onlyOn, text, integer, longText, timestamp, tableOptions }) =>
    onlyOn('server', [
      `create table "outbox" (
            "seq" ${integer} not null auto_increment primary key,
            "queue" ${text(64)} not null,
            "taskId" ${text(128)} not null,
            "priority" ${integer} not null,
            "delayMs" ${integer} not null,
            "uniqueKey" ${text(64)},
            "uniqueForMs" ${integer},
            "envelope" ${longText.replace('medium', 'long')} not null,
            "madeAt" ${timestamp} not null,
            "claimedAt" ${timestamp},
            "takenUntil" ${timestamp},
            "gaveUpAt" ${timestamp}
          ) ${tableOptions}`,
    ]),
  down: ({ onlyOn }) => onlyOn('server', ['drop table "outbox"']),
}
