import type { Migration } from '@/core/migration'

/** What processes tell each other of a chat platform: `src/infra/chat/rows.ts` says what the columns mean. */
export const migration: Migration = {
  id: '0023_chat_platform',
  up: ({ undeclared, text, integer, keyedTableOptions }) =>
    undeclared([
      `create table "chatPlatform" (
      "platform" ${text(32)} not null primary key,
      "pollerId" ${text(64)} not null,
      "pollUntilMs" ${integer} not null,
      "busyUntilMs" ${integer} not null,
      "commandsDigest" ${text(64)} not null,
      "webhookDigest" ${text(64)} not null
    ) ${keyedTableOptions}`,
    ]),
  down: ({ undeclared }) => undeclared(['drop table "chatPlatform"']),
}
