import type { Migration } from '@/core/migration'

/** Whose account a chat account is, and the codes that show it. */
export const migration: Migration = {
  id: '0020_chat_link',
  up: ({ id, text, integer, timestamp, tableOptions, uniqueIndex, index }) => [
    `create table "chatLink" (
      "id" ${id} not null primary key,
      "platform" ${text(16)} not null,
      "senderId" ${text(64)} not null,
      "senderName" ${text(100)} not null,
      "accountKind" ${text(16)} not null,
      "accountId" ${id} not null,
      "provenAt" ${timestamp} not null,
      "codeHash" ${text(43)} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('chatLink', ['platform', 'senderId']),
    index('chatLink', ['accountKind', 'accountId']),
    index('chatLink', ['codeHash']),
    index('chatLink', ['createdAt']),
    `create table "chatLinkCode" (
      "id" ${id} not null primary key,
      "accountKind" ${text(16)} not null,
      "accountId" ${id} not null,
      "codeHash" ${text(43)} not null,
      "provenAt" ${timestamp} not null,
      "expiresAt" ${timestamp} not null,
      "createdAt" ${timestamp} not null,
      "updatedAt" ${timestamp} not null,
      "version" ${integer} not null
    ) ${tableOptions}`,
    uniqueIndex('chatLinkCode', ['codeHash']),
    uniqueIndex('chatLinkCode', ['accountKind', 'accountId']),
    index('chatLinkCode', ['expiresAt']),
  ],
  down: () => ['drop table "chatLinkCode"', 'drop table "chatLink"'],
}
