import type { OpenDatabase } from '@/infra/database/driver'
import { say } from '../../replication'

/**
 * What the database itself saw of ticks, beside what the product keeps of them: triggers copy each row into a table of the test, in the transaction
 * that writes it, so what is undone is not there, and what the product trims is.
 */
export interface Witness {
  /** Tasks of ticks that were put into the queue, on SQLite, or into the outbox. One that is put there twice is there twice. */
  tasks(): Promise<{ id: string; atMs: number }[]>
  /** What was written into the history. */
  ticks(): Promise<{ scheduleId: string; tickMs: number; what: string }[]>
  /** How long after a whole second tasks were put there since then, on average; undefined when none was. */
  usualLateMs(sinceMs: number): Promise<number | undefined>
  /** How often a cursor was moved back. */
  movedBack(): Promise<number>
}

const tables = [
  'create table "seenTask" ("taskId" varchar(128) not null, "atMs" bigint not null)',
  'create table "seenTick" ("scheduleId" varchar(36) not null, "tickMs" bigint not null, "what" varchar(16) not null)',
  'create table "seenBack" ("scheduleId" varchar(36) not null)',
]

/** @param url of `db` */
export async function callWitness(db: OpenDatabase, url: string): Promise<Witness> {
  const isSqlite = db.dialect.name === 'sqlite'
  // MySQL makes no triggers by prepared statements, which is what drivers send.
  const run = async (sql: string) => void (isSqlite ? await db.run(sql) : await say({ url }, sql.replaceAll('"', '`')))
  const nowMs = isSqlite
    ? `cast(unixepoch('subsec') * 1000 as integer)`
    : `timestampdiff(microsecond, '1970-01-01', utc_timestamp(3)) div 1000`
  const trigger = (name: string, when: string, condition: string, statement: string) =>
    isSqlite
      ? `create trigger "${name}" ${when} for each row when ${condition} begin ${statement}; end`
      : `create trigger "${name}" ${when} for each row begin if ${condition} then ${statement}; end if; end`
  const [taskTable, taskId] = isSqlite ? ['queueTask', 'id'] : ['outbox', 'taskId']
  for (const table of tables) await run(table)
  const seeTask = `insert into "seenTask" values (new."${taskId}", ${nowMs})`
  const seeTick = 'insert into "seenTick" values (new."scheduleId", new."tickMs", new."what")'
  const seeBack = 'insert into "seenBack" values (new."id")'
  await run(trigger('seeTask', `after insert on "${taskTable}"`, `new."${taskId}" like 'schedule:%'`, seeTask))
  await run(trigger('seeTick', 'after insert on "scheduleTick"', '1 = 1', seeTick))
  await run(trigger('seeBack', 'after update on "schedule"', 'new."cursorMs" < old."cursorMs"', seeBack))
  const primary = { from: 'primary' } as const
  return {
    tasks: async () =>
      (await db.all('select * from "seenTask"', [], primary)).map(row => ({ id: String(row['taskId']), atMs: Number(row['atMs']) })),
    ticks: async () =>
      (await db.all('select * from "seenTick"', [], primary)).map(row => ({
        scheduleId: String(row['scheduleId']),
        tickMs: Number(row['tickMs']),
        what: String(row['what']),
      })),
    async usualLateMs(sinceMs) {
      const row = await db.first('select avg("atMs" % 1000) as "late" from "seenTask" where "atMs" > ?', [sinceMs], primary)
      return row?.['late'] === null || row === undefined ? undefined : Number(row['late'])
    },
    movedBack: async () => (await db.all('select * from "seenBack"', [], primary)).length,
  }
}
