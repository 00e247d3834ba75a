import type { Statement } from 'bun:sqlite'
import type { Config } from '@/core/config/settings'
import type { Dialect, SqlRow, SqlValue } from '@/core/database'
import { sqliteCodecs } from '../codecs'
import type { DriverTools, OpenDatabase } from '../driver'
import { createEntrance } from '../entrance'
import { databaseErrors } from '../errors'
import { createMeters } from '../meters'
import { refuseInsideTx } from '../scope'
import { outside, type TxDriver, type TxSession } from '../transaction'
import { slowQueryWarning } from '../warnings'
import { connect, statements } from './connect'
import { isContention } from './errors'
import { createPatience } from './patience'

/**
 * SQLite in WAL mode. One connection writes, its callers taking turns, each transaction begun IMMEDIATE; another only reads,
 * so that a read neither waits behind an open transaction nor sees its uncommitted rows. Several processes may share the file.
 */
const waitingMax = 10_000

const dialect: Dialect = {
  name: 'sqlite',
  forUpdate: '',
  codecs: sqliteCodecs,
}

/**
 * Opens the file, and makes it and its folder when they are not there.
 * @throws StartError when it cannot be opened or is no SQLite database
 */
export async function openSqlite(path: string, config: Config['database'], tools: DriverTools): Promise<OpenDatabase> {
  const { queryTimeoutMs, acquireTimeoutMs, slowQueryMs } = config
  const { clock, seal, cache, log } = tools
  const meters = createMeters(tools.metrics)
  const slow = slowQueryMs > 0 ? { limitMs: slowQueryMs, warn: slowQueryWarning('sqlite', log, meters) } : undefined
  const patiently = createPatience(queryTimeoutMs, slow)
  const { writer, reader } = await connect(path, patiently)
  const written = statements(writer)
  const readOnly = statements(reader)
  const turns = createEntrance({ places: 1, waitingMax, acquireTimeoutMs }, meters)
  const endGauges = meters.showConnections({ open: () => 2, inUse: () => turns.inUse, waiting: () => turns.waiting })

  const dataVersion = () => (written.of('pragma data_version').get() as { data_version: number }).data_version
  function elsewhereReader(): () => boolean {
    let seen = dataVersion()
    return () => {
      const version = dataVersion()
      if (version === seen) return false
      seen = version
      return true
    }
  }

  function newSession(): TxSession {
    let writes = 0
    let attempt = 0
    // What waited must not come after the rollback: it would be on its own, or in the next transaction.
    const inside = <T>(sql: string, work: () => T) => {
      const own = attempt
      return patiently(sql, work, queryTimeoutMs, () => own === attempt)
    }
    return {
      async all(sql, params = []) {
        meters.reads.add()
        return inside(sql, () => written.of(sql).all(...params) as SqlRow[])
      },
      async first(sql, params = []) {
        meters.reads.add()
        return inside(sql, () => rowOf(written.of(sql), params))
      },
      async run(sql, params = []) {
        meters.writes.add()
        writes++
        return inside(sql, () => ({ changes: written.of(sql).run(...params).changes }))
      },
      async runReturning(sql, params = []) {
        meters.writes.add()
        writes++
        return inside(sql, () => rowOf(written.of(sql), params))
      },
      async begin(_isolation, leftMs) {
        writes = 0
        attempt++
        const endsAtMs = performance.now() + leftMs
        // Left open by a rollback that failed: nothing of it may be committed with what comes.
        if (writer.inTransaction) written.of('rollback').run()
        try {
          await patiently('begin immediate', () => written.of('begin immediate').run(), Math.min(queryTimeoutMs, leftMs))
        } catch (thrown) {
          throw isContention(thrown) && performance.now() >= endsAtMs ? databaseErrors.TxTimeout() : thrown
        }
      },
      async commit() {
        await inside('commit', () => written.of('commit').run())
        if (writes > 0) tools.onWrite?.(undefined)
      },
      async rollback() {
        attempt++
        try {
          if (writer.inTransaction) written.of('rollback').run()
        } catch {
          // The error that led here says more; the next begin tries again.
        }
      },
      say: async sql => inside(sql, () => written.of(sql).run()),
      // A full disk, among others, makes SQLite roll back by itself: what follows would be committed alone.
      verdict: thrown => (isContention(thrown) ? 'again' : writer.inTransaction ? undefined : 'over'),
      release: turns.leave,
    }
  }

  const base = { dialect, clock, seal, cache }
  const txDriver: TxDriver = {
    ...base,
    async acquire(leftMs) {
      const turn = turns.enter(leftMs)
      if (turn) await turn
      return newSession()
    },
    log,
    meters,
    limits: config,
  }

  /** A statement on its own, in its turn. */
  async function write<T>(sql: string, work: () => T): Promise<T> {
    refuseInsideTx(db)
    meters.writes.add()
    const turn = turns.enter()
    if (turn) await turn
    try {
      const result = await patiently(sql, work)
      tools.onWrite?.(undefined)
      return result
    } finally {
      turns.leave()
    }
  }

  const db: OpenDatabase = {
    ...base,
    inTransaction: false,
    async all(sql, params = []) {
      refuseInsideTx(db)
      meters.reads.add()
      return patiently(sql, () => readOnly.of(sql).all(...params) as SqlRow[])
    },
    async first(sql, params = []) {
      refuseInsideTx(db)
      meters.reads.add()
      return patiently(sql, () => rowOf(readOnly.of(sql), params))
    },
    run: (sql, params = []) => write(sql, () => ({ changes: written.of(sql).run(...params).changes })),
    runReturning: (sql, params = []) => write(sql, () => rowOf(written.of(sql), params)),
    ...outside(() => db, txDriver),
    changedElsewhere: elsewhereReader(),
    elsewhereReader,
    async ping() {
      // Reads a page, so that a file that is gone or broken is noticed.
      readOnly.of('pragma schema_version').get()
    },
    async close() {
      await turns.idle()
      endGauges()
      // In its turn of the event loop, which comes after the reads that wait for theirs.
      await patiently('close', () => {
        readOnly.finalize()
        written.finalize()
        reader.close()
        writer.close()
      })
    },
  }
  return db
}

const rowOf = (statement: Statement, params: readonly SqlValue[]) => (statement.get(...params) ?? undefined) as SqlRow | undefined
