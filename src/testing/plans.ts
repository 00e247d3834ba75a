import type { Database, SqlValue } from '@/core/database'
import type { OpenDatabase } from '@/infra/database/driver'

/** A statement that a database was asked. */
export interface Asked {
  sql: string
  params: readonly SqlValue[]
}

/** The database, with what is read from it, and by which values, written down. */
export function askedOf(db: OpenDatabase): { db: OpenDatabase; asked: Asked[] } {
  const asked: Asked[] = []
  const all: Database['all'] = (sql, params = [], options) => {
    asked.push({ sql, params })
    return db.all(sql, params, options)
  }
  return { db: { ...db, all }, asked }
}

export interface Plan {
  /** Those that it reads by. */
  indexes: string[]
  /** Whether rows are put in order after they were read: then it takes the longer the more there are. */
  isSorted: boolean
}

/** How a database would read it. */
export async function planOf(db: OpenDatabase, { sql, params }: Asked): Promise<Plan> {
  if (db.dialect.name === 'sqlite') {
    // Where it is written: a plan that is asked for beside leaves what is read there as it was at that moment.
    const details = (await db.tx(tx => tx.all(`explain query plan ${sql}`, params))).map(row => String(row['detail']))
    return {
      indexes: details.flatMap(detail => / INDEX (\S+)/.exec(detail)?.[1] ?? []),
      isSorted: details.some(detail => detail.includes('TEMP B-TREE')),
    }
  }
  const rows = await db.all(`explain format=traditional ${sql}`, params)
  return {
    indexes: rows.flatMap(row => (row['key'] === null ? [] : [String(row['key'])])),
    isSorted: rows.some(row => String(row['Extra']).includes('filesort')),
  }
}
