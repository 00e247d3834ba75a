import { currentCaller } from '../caller'
import type { CacheChange, CacheRule } from '../cache'
import type { Database } from '../database'
import type { AnyTable, UniqueKey } from '../table'
import { isUuid } from '../schema'
import { planOf, type Row } from './plan'
import type { readsOf } from './read'

/**
 * Copies of a table's rows in the cache: one by id, and one by each unique key. A write renews the copy by id with the row and
 * its version, and drops those by unique key, of what the row was and of what it is: so somebody else may take the name next.
 */
export interface Copies {
  /** Whether this table and this process keep any. */
  readonly areKept: boolean
  /** Whether the read that is asked for now may be answered by a copy: none may in a transaction. */
  readonly mayAnswer: boolean
  get(id: string): Promise<Row | undefined>
  /** What a unique key leads to, or nothing when `where` is not exactly one. */
  find(where: object): { row: Promise<Row | undefined> } | undefined
  /** Said after each write. What is there is not known before it is committed. */
  changed(db: Database, rows: readonly Change[]): Promise<void>
  /** Said instead when no answer came: nobody knows which of a change's rows is there. */
  unsure(rows: readonly Change[]): Promise<void>
}

/** A row as it was, unless it is new, and as it is, unless it is gone for good. */
export interface Change {
  before?: Row
  after?: Row
}

const absentTtlMaxMs = 10_000
/** Later than any version of a row; every level of the cache still writes it out in full. */
const goneForGood = 1_000_000_000_000

const none: Copies = {
  areKept: false,
  mayAnswer: false,
  get: async () => undefined,
  find: () => undefined,
  changed: async () => {},
  unsure: async () => {},
}

const rules = new WeakMap<AnyTable, { rule: CacheRule<Row>; prefix: string }>()

export function copiesOf(db: Database, table: AnyTable, reads: ReturnType<typeof readsOf>): Copies {
  const { cache } = db
  if (!cache || table.cacheTtlMs === undefined) return none
  const { rule, prefix } = ruleOf(table)
  const keyOf = (id: string) => `${prefix}${id}`
  const keyBy = ({ columns }: UniqueKey, values: Record<string, unknown>) =>
    `${prefix}${columns.join()}=${JSON.stringify(columns.map(column => values[column]))}`
  const uniqueKeys = (row: Row) =>
    (table.unique as UniqueKey[]).filter(({ columns }) => columns.every(column => row[column] !== undefined)).map(key => keyBy(key, row))

  const drop = (key: string): CacheChange => ({ key, rule: rule as CacheRule })
  const forgottenKeys = (rows: readonly Change[]) =>
    [...new Set(rows.flatMap(({ before, after }) => [before, after].flatMap(row => (row ? uniqueKeys(row) : []))))].map(drop)
  const forgotten = (rows: readonly Change[]) => [
    ...rows.map(({ before, after }) => drop(keyOf(((after ?? before) as Row).id))),
    ...forgottenKeys(rows),
  ]
  const renewed = (rows: readonly Change[]) =>
    rows.map(({ before, after }) => {
      // An id that is gone for good never comes back, whatever was written to its row last.
      const version = after?.version ?? goneForGood
      const entry = { version, value: after?.['deletedAt'] === undefined ? after : undefined }
      return { key: keyOf(((after ?? before) as Row).id), entry, rule } as CacheChange
    })

  // From the primary: a replica that lags would put back what was just renewed.
  const entryOf = async (load: Promise<Row | undefined>) => {
    const value = await load
    return { version: value?.version ?? 0, value }
  }

  return {
    areKept: true,
    // What the caller has just written may be held back until its answer is known.
    get mayAnswer() {
      return !db.inTransaction && currentCaller()?.once?.isHolding !== true
    },
    async get(id) {
      db.refuseInsideTx()
      if (!isUuid(id)) return undefined
      return cache.fetch(keyOf(id), () => entryOf(reads.get(id, { from: 'primary' })), rule)
    },
    find(where) {
      db.refuseInsideTx()
      const names = Object.keys(where)
      const values = planOf(table, db.dialect).canonical.spelled(where)
      const key = (table.unique as UniqueKey[]).find(
        ({ columns }) => columns.length === names.length && columns.every(column => isScalar(values[column])),
      )
      return key && { row: cache.fetch(keyBy(key, values), () => entryOf(reads.find(where, { from: 'primary' })), rule) }
    },
    changed: (on, rows) => {
      const drops = () => cache.write(forgotten(rows))
      return on.afterCommit(() => cache.write([...renewed(rows), ...forgottenKeys(rows)]), drops)
    },
    unsure: rows => cache.write(forgotten(rows)),
  }
}

const isScalar = (value: unknown) => typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean'

function ruleOf(table: AnyTable) {
  const known = rules.get(table)
  if (known) return known
  const ttlMs = table.cacheTtlMs as number
  const binary = table.columns.filter(({ kind }) => kind === 'binary').map(({ name }) => name)
  const isDeep = table.columns.some(({ kind }) => kind === 'json' || kind === 'binary')
  const rule: CacheRule<Row> = {
    ttlMs,
    absentTtlMs: Math.min(ttlMs, absentTtlMaxMs),
    isSecret: table.columns.some(column => column.isSecret),
    pack: row =>
      JSON.stringify(binary.length === 0 ? row : withColumns(row, binary, bytes => Buffer.from(bytes as Uint8Array).toString('base64'))),
    unpack: text => {
      const row = JSON.parse(text) as Row
      return binary.length === 0 ? row : withColumns(row, binary, encoded => new Uint8Array(Buffer.from(encoded as string, 'base64')))
    },
    copy: isDeep ? structuredClone : row => ({ ...row }),
  }
  // Another version of the executable may know other columns.
  const shape = Bun.hash(JSON.stringify([table.schema.properties, table.softDelete])).toString(36)
  const made = { rule, prefix: `${table.name}:${shape}:` }
  rules.set(table, made)
  return made
}

function withColumns(row: Row, names: readonly string[], convert: (value: unknown) => unknown): Row {
  const made: Row = { ...row }
  for (const name of names) if (made[name] !== undefined) made[name] = convert(made[name])
  return made
}
