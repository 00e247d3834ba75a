import { createHash } from 'node:crypto'
import { toTimestamp } from '@/core/clock'
import { selectOf } from '@/core/column'
import type { Database, SqlRow, SqlValue } from '@/core/database'
import { type ColumnWords, columnWords, type Migration } from '@/core/migration'
import type { Direction } from './progress'

/**
 * The table "migration": which migrations have run, and how far. On servers each statement that changes tables commits by
 * itself, so what is noted before and after each one is what a later run goes on from:
 *
 * - as many begun as done: the next statement has not been tried, or the server has refused it.
 * - one more begun than done: a process ended in between, and the statement may have been carried out.
 */
export interface Entry {
  id: string
  direction: Direction
  /** When all of it was applied; kept while it is being undone. */
  appliedAt: string | undefined
  /** Of the statements that have begun, in this direction. Undefined when it was applied by a bingo that kept none. */
  checksum: string | undefined
  begunStatements: number
  doneStatements: number
}

/** SHA-256 of statements, in hex. Layout does not count. */
export const checksumOf = (statements: readonly string[]): string =>
  createHash('sha256')
    .update(statements.map(statement => statement.replace(/\s+/g, ' ').trim()).join(';\n'))
    .digest('hex')

/** What a migration runs on this database. */
export const statementsOf = (db: Database, migration: Migration, direction: Direction): readonly string[] =>
  statementsIn(columnWords[db.dialect.name], migration, direction)

function statementsIn(words: ColumnWords, migration: Migration, direction: Direction): readonly string[] {
  if (direction === 'up') return migration.up(words)
  return typeof migration.down === 'function' ? migration.down(words) : []
}

/**
 * Of the first `count` statements. On SQLite, where it is all of them or none, they are taken as MySQL would have them: there the
 * length of a text shows, and what is noted on one database is what another would refuse. What only SQLite runs is taken as it is.
 */
export function checksumUpTo(db: Database, migration: Migration, direction: Direction, count: number): string {
  if (db.dialect.name === 'sqlite') {
    const onServers = statementsIn(columnWords.mysql, migration, direction)
    return checksumOf(onServers.length > 0 ? onServers : statementsOf(db, migration, direction))
  }
  return checksumOf(statementsOf(db, migration, direction).slice(0, count))
}

const columns = ['id', 'appliedAt', 'checksum', 'direction', 'begunStatements', 'doneStatements'] as const

/** Every entry by id. Changes nothing, and reads the table as older versions made it, too. */
export async function readLedger(db: Database): Promise<Map<string, Entry>> {
  const known = await ledgerColumns(db)
  if (known.length === 0) return new Map()
  const names = columns
    .filter(name => known.includes(name))
    .map(name => selectOf({ name, kind: name === 'appliedAt' ? 'timestamp' : 'text' }, db.dialect))
  const rows = await db.all(`select ${names.join(', ')} from "migration" order by "id"`, [], { from: 'primary' })
  return new Map(rows.map(row => [String(row['id']), entryOf(db, row)]))
}

function entryOf(db: Database, row: SqlRow): Entry {
  const decode = db.dialect.codecs.timestamp?.decode as ((stored: unknown) => string) | undefined
  const appliedAt = row['appliedAt'] ?? undefined
  return {
    id: String(row['id']),
    direction: row['direction'] === 'down' ? 'down' : 'up',
    appliedAt: appliedAt === undefined ? undefined : decode ? decode(appliedAt) : String(appliedAt),
    checksum: (row['checksum'] as string | null | undefined) ?? undefined,
    begunStatements: Number(row['begunStatements'] ?? 0),
    doneStatements: Number(row['doneStatements'] ?? 0),
  }
}

async function ledgerColumns(db: Database): Promise<string[]> {
  const sql =
    db.dialect.name === 'sqlite'
      ? `select name from pragma_table_info('migration')`
      : `select column_name as name from information_schema.columns where table_schema = database() and table_name = 'migration'`
  return (await db.all(sql, [], { from: 'primary' })).map(row => String(row['name']))
}

/** Whether what has been applied is noted without its checksum, as older versions did. */
export const isLedgerOld = (entries: ReadonlyMap<string, Entry>): boolean =>
  [...entries.values()].some(({ checksum }) => checksum === undefined)

/** Makes the table, or brings one that an older version made up to date, and fills in the checksums that it did not keep. */
export async function prepareLedger(tx: Database, migrations: readonly Migration[]): Promise<void> {
  const known = await ledgerColumns(tx)
  if (known.length === 0) await tx.run(createLedger(tx))
  else if (!known.includes('checksum')) for (const sql of upgradeLedger(tx)) await tx.run(sql)
  const entries = await readLedger(tx)
  for (const migration of migrations) {
    const entry = entries.get(migration.id)
    if (!entry || entry.checksum !== undefined) continue
    const statements = statementsOf(tx, migration, 'up')
    const count = statements.length
    const direction = 'up'
    await note(tx, {
      id: migration.id,
      direction,
      checksum: checksumUpTo(tx, migration, direction, count),
      begunStatements: count,
      doneStatements: count,
    })
  }
}

function createLedger(tx: Database): string {
  const { text, timestamp, integer, tableOptions } = columnWords[tx.dialect.name]
  // With defaults, so that an older version which migrates beside this one can still add its row.
  return `create table "migration" ("id" ${text(64)} not null primary key, "appliedAt" ${timestamp}, "checksum" ${text(64)},
    "direction" ${text(4)} not null default 'up', "begunStatements" ${integer} not null default 0, "doneStatements" ${integer} not null default 0) ${tableOptions}`
}

/** One statement on servers, so that it is done or not. */
function upgradeLedger(tx: Database): readonly string[] {
  const { text, timestamp, integer } = columnWords[tx.dialect.name]
  const added = [
    `add column "checksum" ${text(64)}`,
    `add column "direction" ${text(4)} not null default 'up'`,
    `add column "begunStatements" ${integer} not null default 0`,
    `add column "doneStatements" ${integer} not null default 0`,
  ]
  if (tx.dialect.name === 'sqlite')
    return [...added.map(change => `alter table "migration" ${change}`), 'alter table "migration" alter column "appliedAt" drop not null']
  return [`alter table "migration" modify column "appliedAt" ${timestamp}, ${added.join(', ')}`]
}

/** Notes how far a migration is. */
export async function note(tx: Database, entry: Omit<Entry, 'appliedAt'>): Promise<void> {
  const { id, checksum = null, direction, begunStatements, doneStatements } = entry
  const values = [checksum, direction, begunStatements, doneStatements, id]
  const names = ['checksum', 'direction', 'begunStatements', 'doneStatements', 'id'].map(name => `"${name}"`)
  const assigned = names.slice(0, -1).map(name => `${name} = ?`)
  const { changes } = await tx.run(`update "migration" set ${assigned.join(', ')} where "id" = ?`, values)
  if (changes === 0) await tx.run(`insert into "migration" (${names.join(', ')}) values (?, ?, ?, ?, ?)`, values)
}

/** Notes that all of it has been applied, now. */
export async function stamp(tx: Database, id: string): Promise<void> {
  const encode = tx.dialect.codecs.timestamp?.encode as ((value: string) => SqlValue) | undefined
  const now = toTimestamp(tx.clock.nowMs())
  await tx.run('update "migration" set "appliedAt" = ? where "id" = ?', [encode ? encode(now) : now, id])
}

export const forget = (tx: Database, id: string): Promise<unknown> => tx.run('delete from "migration" where "id" = ?', [id])
