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

/** The store of a table in a database or, with the `tx` of `db.tx`, in a transaction. Costs little to make. */
export function createStore<S extends TObject, Rel extends Relations>(db: Database, table: Table<S, Rel>): Store<Table<S, Rel>> {
  const reads = readsOf(db, table)
  const copies = copiesOf(db, table, reads)
  const writes = writesOf(db, table, copies)
  const store = { ...reads, ...writes, ...writesOfMany(db, table, copies) }
  const withCopies = copies.mayAnswer ? { ...store, ...readsByCopies(db, table, reads, copies) } : store
  return withCopies as unknown as Store<Table<S, Rel>>
}

type Options = ReadOptions<AnyTable>

/** `get` and `find` from the cache, where a copy says what was asked. */
function readsByCopies(db: Database, table: AnyTable, reads: ReturnType<typeof readsOf>, copies: ReturnType<typeof copiesOf>) {
  const plan = planOf(table, db.dialect)
  const mayCopy = (options: FindOptions<AnyTable>) => options.from !== 'primary' && (options.deleted ?? 'exclude') === 'exclude'

  async function shaped(row: Row | undefined, options: Options): Promise<Row | undefined> {
    // What is asked for wrongly is refused, be there a copy or not.
    shapeOf(plan, options)
    if (!row) return undefined
    if (options.include) await include(db, table, [row], options.include, options)
    return onlySelected(row, options)
  }

  return {
    get(id: string, options?: Options): Promise<Row | undefined> {
      if (options === undefined) return copies.get(id)
      return mayCopy(options) ? copies.get(id).then(row => shaped(row, options)) : reads.get(id, options)
    },
    async find(where: object, options: FindOptions<AnyTable> = {}): Promise<Row | undefined> {
      plan.order(options.orderBy)
      const copied = mayCopy(options) ? copies.find(where) : undefined
      return copied ? shaped(await copied.row, options) : reads.find(where, options)
    },
  }
}
