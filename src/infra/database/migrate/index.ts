import type { Database } from '@/core/database'
import { StartError } from '@/core/error'
import type { Migration } from '@/core/migration'
import { checksumUpTo, type Entry, forget, isLedgerOld, prepareLedger, readLedger, stamp, statementsOf } from './ledger'
import { locked, type Session } from './lock'
import type { MigrateOptions } from './progress'
import type { Direction } from './progress'
import { type Run, runStatements } from './statements'

/**
 * Brings the tables to the newest migration, or back. Migrations run in the order of their digits, under a lock, so two
 * processes that start at once are safe. On SQLite all that one call runs is one transaction. On MySQL and MariaDB each change of
 * a table commits by itself; there it is noted how far a migration is, and the next call goes on after the last statement.
 */
export type MigrationState = 'applied' | 'pending' | 'out of order' | 'half applied' | 'half undone'

export interface MigrationStatus {
  id: string
  state: MigrationState
  /** RFC 3339; undefined unless `applied`. */
  appliedAt: string | undefined
}

/**
 * Each migration that this executable knows, oldest first, and where it stands. Changes nothing.
 * @throws StartError when the database has migrations that are not known here, or whose text has changed since
 */
export async function migrationStatus(db: Database, migrations: readonly Migration[]): Promise<MigrationStatus[]> {
  return statusOf(db, await readLedger(db), migrations)
}

/** Whether `migrateUp` has something to do: migrations, or the notes of an older version to complete. */
export async function needsMigrating(db: Database, migrations: readonly Migration[]): Promise<boolean> {
  const entries = await readLedger(db)
  return statusOf(db, entries, migrations).some(({ state }) => state !== 'applied') || isLedgerOld(entries)
}

/**
 * @returns the migrations that were applied, oldest first
 * @throws StartError with what went wrong, what of it stays, and the remedy
 */
export async function migrateUp(db: Database, migrations: readonly Migration[], options: MigrateOptions = {}): Promise<string[]> {
  return locked(db, options, async session => {
    const entries = await ledgerOf(session, migrations)
    const statuses = statusOf(db, entries, migrations)
    refuseToGoUp(statuses)
    const pending = migrations.filter((_, i) => statuses[i]?.state !== 'applied')
    for (const migration of pending) {
      const { id } = migration
      await runStatements(session, runOf(db, migration, 'up'), entries.get(id), options)
      await stamp(session.tx, id)
      await session.commit()
    }
    return pending.map(({ id }) => id)
  })
}

/**
 * Undoes the newest migration. @returns its id, or undefined when there is none
 * @throws StartError when it cannot be undone, and as `migrateUp` does
 */
export async function migrateDown(
  db: Database,
  migrations: readonly Migration[],
  options: MigrateOptions = {},
): Promise<string | undefined> {
  return locked(db, options, async session => {
    const entries = await ledgerOf(session, migrations)
    const newest = statusOf(db, entries, migrations).findLast(isThere)
    const migration = migrations.find(({ id }) => id === newest?.id)
    if (!newest || !migration) return undefined
    const { id, down } = migration
    if (newest.state === 'half applied')
      throw new StartError(
        `migration ${id} is half applied; finish it with 'bingo migrate up', or undo its first statements by hand and delete its row from the table "migration"`,
      )
    if (typeof down !== 'function') throw new StartError(`migration ${id} cannot be undone: ${down.irreversible}`)
    await runStatements(session, runOf(db, migration, 'down'), newest.state === 'half undone' ? entries.get(id) : undefined, options)
    await forget(session.tx, id)
    await session.commit()
    return id
  })
}

const runOf = (db: Database, migration: Migration, direction: Direction): Run => ({
  id: migration.id,
  direction,
  statements: statementsOf(db, migration, direction),
  checksum: count => checksumUpTo(db, migration, direction, count),
})

async function ledgerOf(session: Session, migrations: readonly Migration[]): Promise<Map<string, Entry>> {
  // Looked at before anything is changed: a database that is newer than this executable is left as it is.
  refuseUnknown(await readLedger(session.tx), migrations)
  await prepareLedger(session.tx, migrations)
  await session.commit()
  return readLedger(session.tx)
}

function statusOf(db: Database, entries: ReadonlyMap<string, Entry>, migrations: readonly Migration[]): MigrationStatus[] {
  refuseDisorder(migrations)
  refuseUnknown(entries, migrations)
  refuseChanged(db, entries, migrations)
  const states = migrations.map(({ id }) => stateOf(entries.get(id)))
  const newest = states.findLastIndex(state => state !== 'pending')
  return migrations.map(({ id }, i) => {
    const found = states[i] ?? 'pending'
    const state = found === 'pending' && i < newest ? 'out of order' : found
    return { id, state, appliedAt: state === 'applied' ? entries.get(id)?.appliedAt : undefined }
  })
}

function stateOf(entry: Entry | undefined): MigrationState {
  if (!entry) return 'pending'
  // Where the first statement was refused, nothing has changed.
  if (entry.direction === 'down') return entry.begunStatements === 0 ? 'applied' : 'half undone'
  if (entry.appliedAt !== undefined) return 'applied'
  return entry.begunStatements === 0 ? 'pending' : 'half applied'
}

const isThere = ({ state }: MigrationStatus) => state !== 'pending' && state !== 'out of order'

/** Two branches that took the same number would run in an order that depends on their names. */
function refuseDisorder(migrations: readonly Migration[]): void {
  let last = ''
  for (const { id } of migrations) {
    if (!/^\d{4}_[a-z0-9_]+$/.test(id)) throw new StartError(`the migration ${id} is not named by four digits and a name: 0001_user`)
    if (id.slice(0, 4) <= last) throw new StartError(`the number of migration ${id} is not greater than ${last}; give it the next one`)
    last = id.slice(0, 4)
  }
}

function refuseUnknown(entries: ReadonlyMap<string, Entry>, migrations: readonly Migration[]): void {
  const unknown = [...entries.keys()].filter(id => !migrations.some(migration => migration.id === id))
  if (unknown.length === 0) return
  throw new StartError(
    `the database is newer than this executable: it has ${unknown.join(', ')}; start a newer bingo, or go back with that one's 'bingo migrate down'`,
  )
}

function refuseChanged(db: Database, entries: ReadonlyMap<string, Entry>, migrations: readonly Migration[]): void {
  const changed = migrations.filter(migration => {
    const entry = entries.get(migration.id)
    if (!entry || entry.checksum === undefined) return false
    // What has not begun may still be mended.
    const isWhole = entry.direction === 'up' && entry.appliedAt !== undefined
    return entry.checksum !== checksumUpTo(db, migration, entry.direction, isWhole ? Number.POSITIVE_INFINITY : entry.begunStatements)
  })
  if (changed.length === 0) return
  const [it, was] = changed.length === 1 ? ['it', 'was'] : ['they', 'were']
  throw new StartError(
    `${changed.map(({ id }) => id).join(', ')} ${changed.length === 1 ? 'has' : 'have'} been changed since ${it} ${was} applied; restore the text, and write what is to change as a new migration`,
  )
}

/** What the newer ones were written for may not be there yet, so the order is kept: every database goes through the same steps. */
function refuseToGoUp(statuses: readonly MigrationStatus[]): void {
  const late = statuses.find(({ state }) => state === 'out of order')
  const newest = statuses.findLast(isThere)
  if (late)
    throw new StartError(
      `migration ${late.id} is older than ${newest?.id}, which is applied already; give it the next number, or undo the newer ones with 'bingo migrate down' first`,
    )
  const undone = statuses.find(({ state }) => state === 'half undone')
  if (undone) throw new StartError(`migration ${undone.id} is half undone; finish that with 'bingo migrate down'`)
}
