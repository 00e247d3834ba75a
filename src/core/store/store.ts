import type { Database } from '../database'
import type { TObject } from '../schema'
import type { AnyTable, Relations, Table } from '../table'
import type { FindOptions, ReadOptions, Store } from './contract'
import { copiesOf } from './copies'
import { include, onlySelected } from './include'
import { planOf, type Row } from './plan'
import { readsOf, shapeOf } from './read'
import { writesOf } from './write'
import { writesOfMany } from './write-many'

/** Of each database; those of a transaction are over with it. */
const stores = new WeakMap<Database, Map<AnyTable, unknown>>()

/** The store of a table in a database or, with the `tx` of `db.tx`, in a transaction. Asked for as often as one likes: a database keeps its own. */
export function createStore<S extends TObject, Rel extends Relations>(db: Database, table: Table<S, Rel>): Store<Table<S, Rel>> {
  const known = stores.get(db)?.get(table)
  if (known) return known as Store<Table<S, Rel>>
  const made = makeStore(db, table) as unknown as Store<Table<S, Rel>>
  if (!db.inTransaction) stores.set(db, (stores.get(db) ?? new Map()).set(table, made))
  return made
}

function makeStore(db: Database, table: AnyTable) {
  const reads = readsOf(db, table)
  const copies = copiesOf(db, table, reads)
  const store = { ...reads, ...writesOf(db, table, copies), ...writesOfMany(db, table, copies) }
  return copies.areKept && !db.inTransaction ? { ...store, ...readsByCopies(db, table, reads, copies) } : store
}

type Options = ReadOptions<AnyTable>

/** `get` and `find` from the cache, where a copy says what was asked. */
function readsByCopies(db: Database, table: AnyTable, reads: ReturnType<typeof readsOf>, copies: ReturnType<typeof copiesOf>) {
  const plan = planOf(table, db.dialect)
  const mayCopy = (options: FindOptions<AnyTable>) =>
    copies.mayAnswer && options.from !== 'primary' && (options.deleted ?? 'exclude') === 'exclude'

  async function shaped(row: Row | undefined, options: Options): Promise<Row | undefined> {
    // What is asked for wrongly is refused, be there a copy or not.
    shapeOf(plan, options)
    if (!row) return undefined
    if (options.include) await include(db, table, [row], options.include, options)
    return onlySelected(row, options)
  }

  return {
    get(id: string, options?: Options): Promise<Row | undefined> {
      if (options === undefined) return copies.mayAnswer ? copies.get(id) : reads.get(id)
      return mayCopy(options) ? copies.get(id).then(row => shaped(row, options)) : reads.get(id, options)
    },
    async find(where: object, options: FindOptions<AnyTable> = {}): Promise<Row | undefined> {
      plan.order(options.orderBy)
      const copied = mayCopy(options) ? copies.find(where) : undefined
      return copied ? shaped(await copied.row, options) : reads.find(where, options)
    },
  }
}
