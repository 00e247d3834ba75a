import type { PlatformName } from '@/core/chat'
import type { Database } from '@/core/database'

/**
 * The table "chatPlatform", a row for each platform that some process has used, and one for each bot there that was told to wait.
 * Instants are milliseconds by the clock of the database server, on SQLite of the machine; 0 is never, and an empty text is none.
 *
 * - `pollerId`, `pollUntilMs`: which process asks the platform for what is new, and until when nobody else does.
 * - `busyUntilMs`: until when the platform wants no calls of a bot, in the row of that.
 * - `commandsDigest`, `webhookDigest`: of what the platform was told last.
 */
/** At most 32 characters. */
export type BotName = `${PlatformName}:${string}`
export type Digest = 'commandsDigest' | 'webhookDigest'

const primary = { from: 'primary' } as const

/** The row is there after this. */
export async function makePlatform(db: Database, platform: PlatformName | BotName): Promise<void> {
  const ifThere = db.dialect.name === 'sqlite' ? 'on conflict do nothing' : 'on duplicate key update "platform" = "platform"'
  await db.run(
    `insert into "chatPlatform" ("platform", "pollerId", "pollUntilMs", "busyUntilMs", "commandsDigest", "webhookDigest") values (?, '', 0, 0, '', '') ${ifThere}`,
    [platform],
  )
}

/** @returns whether this poller may ask until `untilMs`: it already did, or nobody does. Of a row that is there */
export async function takePoll(
  db: Database,
  platform: PlatformName,
  { pollerId, nowMs, untilMs }: { pollerId: string; nowMs: number; untilMs: number },
): Promise<boolean> {
  const { changes } = await db.run(
    'update "chatPlatform" set "pollerId" = ?, "pollUntilMs" = ? where "platform" = ? and ("pollerId" = ? or "pollUntilMs" <= ?)',
    [pollerId, untilMs, platform, pollerId, nowMs],
  )
  return changes > 0
}

/** Lets the next one ask at once, unless another does already. */
export const leavePoll = (db: Database, platform: PlatformName, pollerId: string) =>
  db.run('update "chatPlatform" set "pollerId" = \'\', "pollUntilMs" = 0 where "platform" = ? and "pollerId" = ?', [platform, pollerId])

export async function busyUntilMs(db: Database, bot: BotName): Promise<number> {
  const row = await db.first('select "busyUntilMs" from "chatPlatform" where "platform" = ?', [bot], primary)
  return Number(row?.['busyUntilMs'] ?? 0)
}

/** A later instant that another process has said stays. */
export const keepBusy = (db: Database, bot: BotName, untilMs: number) =>
  db.run('update "chatPlatform" set "busyUntilMs" = ? where "platform" = ? and "busyUntilMs" < ?', [untilMs, bot, untilMs])

async function toldTo(db: Database, platform: PlatformName, what: Digest): Promise<string> {
  const row = await db.first(`select "${what}" from "chatPlatform" where "platform" = ?`, [platform], primary)
  return String(row?.[what] ?? '')
}

export interface Telling {
  platform: PlatformName
  what: Digest
  /** Of what is to be told, and to whom; at most 64 characters. */
  digest: string
  /** Whether the platform has forgotten it. */
  isForgotten?: boolean
}

/** Tells a platform something unless it was told the same last. @returns whether it was told */
export async function tellWhenChanged(
  db: Database,
  { platform, what, digest, isForgotten = false }: Telling,
  tell: () => Promise<unknown>,
): Promise<boolean> {
  if (!isForgotten && (await toldTo(db, platform, what)) === digest) return false
  await tell()
  await makePlatform(db, platform)
  await db.run(`update "chatPlatform" set "${what}" = ? where "platform" = ?`, [digest, platform])
  return true
}
