import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { StartError } from '@/core/error'
import { columnWords, type Migration } from '@/core/migration'

/**
 * Brings the tables to the newest migration. Migrations run one after another under a lock, so two processes that start at
 * once are safe. On SQLite a migration is all or nothing; MySQL commits each statement by itself.
 */
const timeoutMs = 10 * 60_000
const lockWaitSeconds = 60
const lockName = 'bingo.migrate'

export interface MigrationStatus {
  id: string
  appliedAt: string | undefined
}

/** Each migration that this executable knows, and when it was applied. Changes nothing. */
export async function migrationStatus(db: Database, migrations: readonly Migration[]): Promise<MigrationStatus[]> {
  const applied = await appliedMigrations(db)
  const unknown = [...applied.keys()].filter(id => !migrations.some(migration => migration.id === id))
  if (unknown.length > 0) {
    throw new StartError(
      `the database is newer than this executable: it has ${unknown.join(', ')}; start a newer bingo, or go back with that one's 'bingo migrate down'`,
    )
  }
  return migrations.map(({ id }) => ({ id, appliedAt: applied.get(id) }))
}

/** @returns the migrations that were applied, oldest first */
export async function migrateUp(db: Database, migrations: readonly Migration[]): Promise<string[]> {
  return locked(db, async tx => {
    const { text, timestamp, tableOptions } = columnWords[db.dialect.name]
    await tx.run(
      `create table if not exists "migration" ("id" ${text(64)} not null primary key, "appliedAt" ${timestamp} not null) ${tableOptions}`,
    )
    const pending = (await migrationStatus(tx, migrations)).filter(status => !status.appliedAt).map(({ id }) => id)
    for (const migration of migrations.filter(({ id }) => pending.includes(id))) {
      await runStatements(tx, migration.id, migration.up(columnWords[db.dialect.name]))
      const appliedAt = encoded(db, toTimestamp(db.clock.nowMs()))
      await tx.run('insert into "migration" ("id", "appliedAt") values (?, ?)', [migration.id, appliedAt])
    }
    return pending
  })
}

/** Undoes the newest migration. @returns its id, or undefined when there is none */
export async function migrateDown(db: Database, migrations: readonly Migration[]): Promise<string | undefined> {
  return locked(db, async tx => {
    const newest = (await migrationStatus(tx, migrations)).findLast(status => status.appliedAt)
    const migration = migrations.find(({ id }) => id === newest?.id)
    if (!migration) return undefined
    if (typeof migration.down !== 'function')
      throw new StartError(`migration ${migration.id} cannot be undone: ${migration.down.irreversible}`)
    await runStatements(tx, migration.id, migration.down(columnWords[db.dialect.name]))
    await tx.run('delete from "migration" where "id" = ?', [migration.id])
    return migration.id
  })
}

/** @throws StartError that says what stays and what to do, since MySQL cannot undo changes of tables */
async function runStatements(tx: Database, id: string, statements: readonly string[]): Promise<void> {
  for (const [index, statement] of statements.entries()) {
    try {
      await tx.run(statement)
    } catch (thrown) {
      const remains =
        tx.dialect.name === 'sqlite' || index === 0
          ? 'nothing of it was kept'
          : `the ${index} before it were kept: undo them by hand, or restore the database`
      const why = thrown instanceof Error ? thrown.message : String(thrown)
      throw new StartError(
        `migration ${id} failed at statement ${index + 1} of ${statements.length}: ${why}; ${remains}, then try again`,
        undefined,
        { cause: thrown },
      )
    }
  }
}

async function appliedMigrations(db: Database): Promise<Map<string, string>> {
  const exists =
    db.dialect.name === 'sqlite'
      ? `select 1 from sqlite_master where type = 'table' and name = 'migration'`
      : `select 1 from information_schema.tables where table_schema = database() and table_name = 'migration'`
  // Another process may have applied them just now.
  const from = 'primary'
  if (!(await db.first(exists, [], { from }))) return new Map()
  const rows = await db.all('select "id", "appliedAt" from "migration" order by "id"', [], { from })
  const decode = db.dialect.codecs.timestamp?.decode as ((stored: unknown) => string) | undefined
  return new Map(rows.map(row => [String(row['id']), decode ? decode(row['appliedAt']) : String(row['appliedAt'])]))
}

const encoded = (db: Database, timestamp: string) => {
  const encode = db.dialect.codecs.timestamp?.encode as ((value: string) => number | string) | undefined
  return encode ? encode(timestamp) : timestamp
}

/** SQLite's transaction is the lock. MySQL's schema changes commit by themselves, so a named lock of the session is. */
async function locked<T>(db: Database, work: (tx: Database) => Promise<T>): Promise<T> {
  return db.tx(
    async tx => {
      if (db.dialect.name === 'sqlite') return work(tx)
      const got = await tx.first('select get_lock(?, ?) as got', [lockName, lockWaitSeconds])
      if (Number(got?.['got']) !== 1) {
        throw new StartError(`another process has been migrating for ${lockWaitSeconds} s; wait for it, or end it, and try again`)
      }
      try {
        return await work(tx)
      } finally {
        await tx.first('select release_lock(?)', [lockName])
      }
    },
    // What MySQL has changed of the tables stays, so a migration does not run again from its start.
    { timeoutMs, retries: 0 },
  )
}
