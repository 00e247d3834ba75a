import type { Migration } from '@/core/migration'

export const migration: Migration = {
  id: '0019_chat_update',
  up: ({ id, text, longText, integer, boolean, timestamp, tableOptions, uniqueIndex, index }) => [
    `create table "chatUpdate" (
      "id" ${id} not null primary key,
      "platform" ${text(16)} not null,
      "updateId" ${text(64)} not null,
      "chatId" ${text(64)} not null,
      "senderId" ${text(64)} not null,
      "position" ${integer} not null,
      "state" ${text(16)} not null,
      "isOpen" ${boolean} not null,
      "said" ${longText},
      "answer" ${longText},
      "attempts" ${integer} not null,
      "sends" ${integer} not null,
      "dueAtMs" ${integer} not null,
      "awaitedUntilMs" ${integer} not null,
      "receivedAtMs" ${integer} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('chatUpdate', ['platform', 'updateId']),
    index('chatUpdate', ['platform', 'chatId', 'isOpen', 'position']),
    index('chatUpdate', ['platform', 'senderId', 'receivedAtMs']),
    index('chatUpdate', ['receivedAtMs']),
  ],
  down: () => ['drop table "chatUpdate"'],
}
