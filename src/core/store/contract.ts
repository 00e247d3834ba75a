import type { ReadFrom } from '../database'
import { defineErrors } from '../error'
import type { AnyTable, Relation, RowOf } from '../table'
import type { Where } from './filter'

export const storeErrors = defineErrors({
  VersionMismatch: ['FailedPrecondition', 'It was changed since you read it. Read it again and repeat the change.'],
  Contended: ['Aborted', 'Others keep changing it at the same time. Try again.'],
  Value: ['Unprocessable', 'Some values do not fit.'],
  TooMany: ['InvalidArgument', 'That is too much at once.'],
})

/** Most rows that one call takes or asks for by id. */
export const batchMax = 1000
/** Most rows of a relation for each row that includes it, and when nothing is said. */
export const includedMax = 100
export const includedDefault = 20
/** Most rows that one relation brings in one call. */
export const includedRowsMax = 10_000

type KeptByStore = 'id' | 'createdAt' | 'updatedAt' | 'version' | 'deletedAt'
type OptionalKeys<R> = { [K in keyof R]-?: undefined extends R[K] ? K : never }[keyof R]

export type NewRow<R> = Omit<R, KeptByStore>
/** What to change; `null` removes a value that is optional. */
export type Patch<R> = { [K in keyof NewRow<R>]?: R[K] | (K extends OptionalKeys<R> ? null : never) }

/** What a read brings. */
export interface Selection<T extends AnyTable> {
  /** Only these columns; all when absent. */
  select?: readonly (keyof RowOf<T>)[]
  /** Relations to follow, each by one query however many rows there are. */
  include?: Include<T>
}
export type Include<T extends AnyTable> = {
  [K in keyof T['relations']]?: T['relations'][K] extends Relation<infer U, infer Kind>
    ? true | (Kind extends 'many' ? IncludeMany<U> : Selection<U>)
    : never
}
export interface IncludeMany<U extends AnyTable> extends Selection<U> {
  where?: Where<RowOf<U>>
  /** As in `list`. By id when absent, which is by age. */
  orderBy?: string
  /** How many for each row: 1–100, 20 when absent. */
  limit?: number
}

/** The row that a read with these options returns. */
export type Found<T extends AnyTable, O> = Plain<Selected<T, O> & Included<T, O>>
type Plain<X> = { [K in keyof X]: X[K] }
type Selected<T extends AnyTable, O> = O extends { select: readonly (infer K extends keyof RowOf<T>)[] } ? Pick<RowOf<T>, K> : RowOf<T>
type Included<T extends AnyTable, O> = O extends { include: infer I }
  ? { [K in keyof I & keyof T['relations']]: FoundRelation<T['relations'][K], I[K]> }
  : unknown
type FoundRelation<Rel, O> =
  Rel extends Relation<infer U, infer Kind> ? (Kind extends 'many' ? Found<U, O>[] : Found<U, O> | undefined) : never

export interface ReadOptions<T extends AnyTable> extends Selection<T>, ReadFrom {
  /** Rows of a table with soft delete that were removed: left out unless said. */
  deleted?: 'exclude' | 'include' | 'only'
}
export interface FindOptions<T extends AnyTable> extends ReadOptions<T> {
  /** As in `list`. */
  orderBy?: string
}
export interface ListOptions<T extends AnyTable> extends ReadOptions<T> {
  where?: Where<RowOf<T>>
  /** `'status, createdAt desc'`: up to three sortable columns, each with asc (the default) or desc. Ties are broken by id. */
  orderBy?: string
  /** 1–100, more is cut to 100; 20 when absent or 0. */
  pageSize?: number
  /** From the page before; bound to the same `where`, `orderBy` and `deleted`. */
  pageToken?: string
  /** Count all that match, too: one more query, which takes longer the more they are. */
  total?: boolean
}
export interface IterateOptions<T extends AnyTable> extends ReadOptions<T> {
  where?: Where<RowOf<T>>
  /** How many rows are in memory at a time: 1–1,000, 500 when absent. */
  batchSize?: number
}
export interface Page<Row> {
  items: Row[]
  /** Empty on the last page. */
  nextPageToken: string
  /** There when it was asked for. */
  total?: number
}
export interface Expected {
  /** The row must have one of these versions, or VersionMismatch is thrown. */
  versions?: readonly number[]
}
export interface Removal {
  /** Of a table with soft delete: the row itself, also when it was soft-deleted before. */
  forever?: boolean
}
/** Which rows; all of them has to be said, since an empty `where` is more often a mistake. */
export type Which<R> = Where<R> | 'all'

/** Options with no other keys than these: a misspelt one would else be taken for one that is not said. */
type Only<O, Known> = O & { [K in Exclude<keyof O, keyof Known>]: never }

/** Keeps rows of one table. Methods reject with the table's own error when a unique key is taken. */
export interface Store<T extends AnyTable> {
  /**
   * Throws the table's own error when one of its unique keys is taken by another row just now. Saves costly work ahead of a
   * `create`; it is the `create` that decides.
   */
  refuseTaken(values: Partial<NewRow<RowOf<T>>>): Promise<void>
  /**
   * Adds a row with a new id.
   * @throws storeErrors.Value when a value breaks its column's schema
   */
  create(row: NewRow<RowOf<T>>): Promise<RowOf<T>>
  /** Adds up to 1,000 rows: all or none. */
  createMany(rows: readonly NewRow<RowOf<T>>[]): Promise<RowOf<T>[]>
  /** From the cache when the table asks for one; `from: 'primary'` reads the database. */
  get<const O extends ReadOptions<T>>(id: string, options?: Only<O, ReadOptions<T>>): Promise<Found<T, O> | undefined>
  /** Up to 1,000 rows in the order of their ids; those that are not there are left out. */
  getMany<const O extends ReadOptions<T>>(ids: readonly string[], options?: Only<O, ReadOptions<T>>): Promise<Found<T, O>[]>
  /** The first by `orderBy`, or by id, that matches. From the cache when `where` is one unique key and the table asks for one. */
  find<const O extends FindOptions<T>>(where: Where<RowOf<T>>, options?: Only<O, FindOptions<T>>): Promise<Found<T, O> | undefined>
  /** One page in a stable order: rows added or removed between pages neither repeat nor hide others. */
  list<const O extends ListOptions<T>>(options?: Only<O, ListOptions<T>>): Promise<Page<Found<T, O>>>
  /** Every row that matches, by id, a batch at a time. Each batch is read when the one before is used up, outside any snapshot. */
  iterate<const O extends IterateOptions<T>>(options?: Only<O, IterateOptions<T>>): AsyncIterableIterator<Found<T, O>>
  count(where?: Where<RowOf<T>>, options?: Pick<ReadOptions<T>, 'deleted' | 'from'>): Promise<number>
  exists(where: Where<RowOf<T>>, options?: Pick<ReadOptions<T>, 'deleted' | 'from'>): Promise<boolean>
  /**
   * Changes a row and returns exactly what was written, or undefined when there is none. Safe against a change at the same
   * time: it is read again, a bounded number of times.
   * @throws storeErrors.VersionMismatch, storeErrors.Contended, storeErrors.Value
   */
  update(id: string, patch: Patch<RowOf<T>>, expected?: Expected): Promise<RowOf<T> | undefined>
  /** @returns how many were changed, each one version on */
  updateMany(where: Which<RowOf<T>>, patch: Patch<RowOf<T>>): Promise<number>
  /**
   * Changes the row that has the same values in the columns `by`, which are one of the table's unique keys, or adds it.
   * Two at the same time: one adds, the other changes.
   */
  upsert(row: NewRow<RowOf<T>>, by: readonly (keyof NewRow<RowOf<T>>)[]): Promise<{ row: RowOf<T>; created: boolean }>
  /** @returns whether there was such a row */
  delete(id: string, options?: Expected & Removal): Promise<boolean>
  /** @returns how many were removed */
  deleteMany(where: Which<RowOf<T>>, options?: Removal): Promise<number>
  /** Brings a soft-deleted row back, or undefined when there is none. Its unique values may have been taken meanwhile. */
  restore(id: string, expected?: Expected): Promise<RowOf<T> | undefined>
}
