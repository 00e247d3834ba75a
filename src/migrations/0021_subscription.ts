import type { Migration } from '@/core/migration'

/** Chats that want to be told of something, and what of. */
export const migration: Migration = {
  id: '0021_subscription',
  up: ({ id, text, boolean, integer, timestamp, tableOptions, uniqueIndex, index }) => [
    `create table "chat" (
      "id" ${id} not null primary key,
      "platform" ${text(16)} not null,
      "chatId" ${text(64)} not null,
      "isPrivate" ${boolean} not null,
      "emptySince" ${timestamp},
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('chat', ['platform', 'chatId']),
    index('chat', ['emptySince']),
    `create table "subscription" (
      "id" ${id} not null primary key,
      "subscriberId" ${id} not null,
      "topic" ${text(32)} not null,
      "platform" ${text(16)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('subscription', ['subscriberId', 'topic']),
    index('subscription', ['topic', 'subscriberId']),
    index('subscription', ['topic', 'platform']),
  ],
  down: () => ['drop table "subscription"', 'drop table "chat"'],
}
