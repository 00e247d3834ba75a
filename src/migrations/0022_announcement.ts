import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0022_announcement',
  up: ({ id, text, integer, boolean, timestamp, tableOptions, uniqueIndex, index }) => [
    `create table "announcement" (
      "id" ${id} not null primary key,
      "topic" ${text(32)} not null,
      "text" ${text(2000)} not null,
      "state" ${text(16)} not null,
      "at" ${timestamp} not null,
      "startedAt" ${timestamp},
      "endedAt" ${timestamp},
      "lastSubscriberId" ${id},
      "isSpread" ${boolean} not null,
      "isCounted" ${boolean} not null,
      "total" ${integer} not null,
      "sent" ${integer} not null,
      "gone" ${integer} not null,
      "failed" ${integer} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    index('announcement', ['createdAt']),
    `create table "delivery" (
      "id" ${id} not null primary key,
      "announcementId" ${id} not null,
      "subscriberId" ${id} not null,
      "platform" ${text(16)} not null,
      "state" ${text(16)} not null,
      "attempts" ${integer} not null,
      "unanswered" ${integer} not null,
      "messageId" ${text(64)},
      "error" ${text(100)},
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('delivery', ['announcementId', 'subscriberId']),
    index('delivery', ['announcementId', 'state']),
  ],
  down: () => ['drop table "delivery"', 'drop table "announcement"'],
}
