/**
 * Copies of rows, so that a row which is read often is not asked of the database each time. Everything here may be lost at any
 * moment and nothing fails: when the cache is down or slow, reads go to the database.
 *
 * Two rules keep a copy from being older than what its reader knows.
 *
 * - A fill holds a lease (Nishtala et al., Scaling Memcache at Facebook, NSDI 2013, §3.2.1): whoever misses takes it, and a
 *   write in between voids it, so a slow reader cannot put an old row over a newer one.
 * - A copy has the version of its row: of two writers whose words arrive in the other order, the later version stays.
 */
export interface Cache {
  /**
   * The copy of `key`; when there is none, what `load` finds, once for all who ask at the same time. Rejects only when `load`
   * does. What it returns is the caller's own: changing it changes no copy.
   * @param load reads what is committed, of the primary: what a replica says may be older than a write that is known here. It may
   * still be under way when the call has ended, since a copy near its end is renewed beside it
   */
  fetch<T>(key: string, load: () => Promise<CacheEntry<T>>, rule: CacheRule<T>): Promise<T | undefined>
  /** After a commit. Resolves when no read of this process, and no later fill of another, returns what was there before. */
  write(changes: readonly CacheChange[]): Promise<void>
  close(): Promise<void>
}

export interface CacheEntry<T = unknown> {
  /** Grows with each change of the row; 0 for what has no row. Of a row that was removed, its last version or the next. */
  version: number
  /** Undefined when there is no such row: that, too, is worth knowing, for a shorter time. */
  value: T | undefined
}

export interface CacheChange<T = unknown> {
  key: string
  /**
   * What is there now; `value` undefined when it was removed. Absent: forget what is known, and for a while keep what is loaded
   * only, since nobody can tell whether an entry that comes then is older.
   */
  entry?: CacheEntry<T>
  rule: CacheRule<T>
}

/** How the copies of one table are kept. */
export interface CacheRule<T = unknown> {
  /** No copy is older; up to a tenth less, so that what was read at once does not expire at once. 100–86,400,000. */
  readonly ttlMs: number
  /** The same for what is not there. */
  readonly absentTtlMs: number
  /** The values hold secrets: they are encrypted where they leave the process. */
  readonly isSecret: boolean
  pack(value: T): string
  /** Throws what it likes at text of another version of the table; that text is forgotten then. */
  unpack(text: string): T
  copy(value: T): T
}

/** The part of `ttlMs` after which a copy is still returned, while one reader renews it. */
export const renewAfter = 0.8
