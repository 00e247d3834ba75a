import type { Database } from '@/core/database'
import { AppError, StartError } from '@/core/error'
import { type MigrateOptions, watched } from './progress'

/** How long another process's migrations are waited for. On SQLite whoever opens the file says it, since its lock is the driver's. */
export const lockWaitSeconds = 60
const lockName = 'bingo.migrate'
/** For all migrations of one call. */
const timeoutMs = 24 * 60 * 60_000

/** The one that migrates, on one connection. */
export interface Session {
  tx: Database
  /** Whether all of it is undone when something fails; otherwise each statement that changes tables stays. */
  isAllOrNothing: boolean
  /** Keeps what was written so far, where a migration is not one transaction. */
  commit(): Promise<void>
}

/**
 * Runs `work` while no other process does. SQLite's transaction is the lock, and undoes all when `work` throws. On servers changes
 * of tables commit by themselves, so a named lock of the session is: the server gives it back when the session ends, and not
 * before a statement that a killed process left behind has ended.
 */
export async function locked<T>(db: Database, options: MigrateOptions, work: (session: Session) => Promise<T>): Promise<T> {
  const got = Promise.withResolvers<void>()
  const waiting = watched(
    options,
    seconds => options.progress?.({ isWaiting: true, seconds }),
    () => got.promise,
  )
  let isIn = false
  const enter = () => {
    isIn = true
    got.resolve()
  }
  try {
    const attempt = db.dialect.name === 'sqlite' ? inFile : inSession(options.lockWaitSeconds ?? lockWaitSeconds)
    return await db.tx(tx => attempt(tx, enter, work), { timeoutMs, retries: 0 })
  } catch (thrown) {
    const isLockedOut = !isIn && db.dialect.name === 'sqlite' && thrown instanceof AppError && thrown.kind === 'Unavailable'
    throw isLockedOut ? taken(thrown) : thrown
  } finally {
    got.resolve()
    await waiting
  }
}

const taken = (cause?: unknown) =>
  new StartError('another process has been migrating for too long; wait for it, or end it, and try again', undefined, { cause })

type Work<T> = (session: Session) => Promise<T>

function inFile<T>(tx: Database, enter: () => void, work: Work<T>): Promise<T> {
  enter()
  return work({ tx, isAllOrNothing: true, commit: async () => {} })
}

const inSession =
  (waitSeconds: number) =>
  async <T>(tx: Database, enter: () => void, work: Work<T>): Promise<T> => {
    const got = await tx.first('select get_lock(?, ?) as got', [lockName, waitSeconds])
    if (Number(got?.['got']) !== 1) throw taken()
    enter()
    try {
      // A statement that changes rows then commits together with the note that it is done.
      await tx.run('set autocommit = 0')
      return await work({ tx, isAllOrNothing: false, commit: async () => void (await tx.run('commit')) })
    } finally {
      // When the connection is gone the server does all of this by itself, and what was thrown says more.
      await tx.run('rollback').catch(() => {})
      await tx.run('set autocommit = 1').catch(() => {})
      await tx.first('select release_lock(?)', [lockName]).catch(() => {})
    }
  }
