import { Database as Connection, SQLiteError, type Statement } from 'bun:sqlite'
import { mkdirSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Database, type Dialect, type SqlRow, type SqlValue, UniqueViolation, uniqueKeyName } from '@/core/database'
import { StartError } from '@/core/error'
import { sqliteCodecs } from './codecs'
import { type DriverTools, type OpenDatabase, refuseNested } from './driver'
import { databaseErrors, refuseInsideTx, runTx, type Scope } from './transaction'

/**
 * SQLite in WAL mode. One connection writes, its callers taking turns, each transaction begun IMMEDIATE; another only reads,
 * so that a read neither waits behind an open transaction nor sees its uncommitted rows. Several processes may share the file.
 *
 * SQLite waits for another process's lock inside the call, which holds up the event loop. So it may wait for `busyBlockMs`
 * only; after that the call is repeated from a timer, with jitter, up to `queryTimeoutMs`.
 */
const busyBlockMs = 5
const busyPauseMs = { min: 2, max: 25 }
const waitingMax = 10_000
const statementsMax = 500

const dialect: Dialect = {
  name: 'sqlite',
  forUpdate: '',
  codecs: sqliteCodecs,
}

/**
 * Opens the file, and makes it and its folder when they are not there.
 * @throws StartError when it cannot be opened or is no SQLite database
 */
export async function openSqlite(path: string, busyLimitMs: number, tools: DriverTools): Promise<OpenDatabase> {
  const patiently = patience(busyLimitMs)
  const { writer, reader } = await connect(path, patiently)
  const written = statements(writer)
  const readOnly = statements(reader)
  const inTurn = turns()
  let hasWritten = false

  const calls = (
    prepared: (sql: string) => Statement,
    guard: () => void,
    inOrder: <T>(work: () => Promise<T>) => Promise<T>,
    onRun: () => void,
  ) => ({
    dialect,
    clock: tools.clock,
    seal: tools.seal,
    cache: tools.cache,
    all: async (sql: string, params: readonly SqlValue[] = []) => {
      guard()
      return patiently(() => prepared(sql).all(...params) as SqlRow[])
    },
    first: async (sql: string, params: readonly SqlValue[] = []) => {
      guard()
      return patiently(() => (prepared(sql).get(...params) ?? undefined) as SqlRow | undefined)
    },
    run: async (sql: string, params: readonly SqlValue[] = []) => {
      guard()
      const result = await inOrder(async () => patiently(() => ({ changes: written(sql).run(...params).changes })))
      onRun()
      return result
    },
  })

  const db: OpenDatabase = {
    ...calls(
      readOnly,
      () => refuseInsideTx(db),
      inTurn,
      () => tools.onWrite?.(undefined),
    ),
    inTransaction: false,
    afterCommit: async hook => hook(),
    tx: async (work, options = {}) => {
      refuseInsideTx(db)
      return inTurn(() => runTx(db, steps, work, options.timeoutMs))
    },
    async ping() {
      // Reads a page, so that a file that is gone or broken is noticed.
      readOnly('pragma schema_version').get()
    },
    async close() {
      await inTurn(async () => {
        reader.close()
        writer.close()
      })
    },
  }

  const steps = {
    begin: async () => {
      // Left open by a rollback that failed: nothing of it may be committed with what comes.
      if (writer.inTransaction) written('rollback').run()
      hasWritten = false
      await patiently(() => written('begin immediate').run())
    },
    commit: async () => {
      await patiently(() => written('commit').run())
      if (hasWritten) tools.onWrite?.(undefined)
    },
    rollback: async () => {
      try {
        if (writer.inTransaction) written('rollback').run()
      } catch {
        // The error that led here says more; the next begin tries again.
      }
    },
    bind: (refuseIfOver: () => void, scope: Scope): Database => {
      const tx: Database = {
        ...calls(
          written,
          refuseIfOver,
          work => work(),
          () => {
            hasWritten = true
          },
        ),
        inTransaction: true,
        afterCommit: async hook => void scope.hooks.push(hook),
        tx: refuseNested,
      }
      return tx
    },
  }
  return db
}

async function connect(path: string, patiently: Patience): Promise<{ writer: Connection; reader: Connection }> {
  try {
    mkdirSync(dirname(resolve(path)), { recursive: true })
    const writer = new Connection(path, { create: true, readwrite: true, strict: true })
    writer.run(`pragma busy_timeout = ${busyBlockMs}`)
    await patiently(() => {
      writer.run('pragma journal_mode = wal')
      // FULL: what was answered with 201 is on the disk, also after a power cut.
      writer.run('pragma synchronous = full')
      writer.run('pragma foreign_keys = on')
    })
    const reader = new Connection(path, { readonly: true, strict: true })
    reader.run(`pragma busy_timeout = ${busyBlockMs}`)
    return { writer, reader }
  } catch (thrown) {
    const why = thrown instanceof Error ? thrown.message : String(thrown)
    throw new StartError(`cannot open the SQLite database ${path}: ${why}; check that it is one, and that its folder may be written`)
  }
}

/** Statements by their text, compiled once. The least recently added falls out when there are too many. */
function statements(connection: Connection) {
  const prepared = new Map<string, Statement>()
  return (sql: string): Statement => {
    const found = prepared.get(sql)
    if (found) return found
    const statement = connection.prepare(sql)
    if (prepared.size >= statementsMax) {
      const [oldest] = prepared
      if (oldest) {
        oldest[1].finalize()
        prepared.delete(oldest[0])
      }
    }
    prepared.set(sql, statement)
    return statement
  }
}

/** One at a time, in the order of asking: one connection has one transaction. */
function turns() {
  let last: Promise<unknown> = Promise.resolve()
  let waiting = 0
  return <T>(work: () => Promise<T>): Promise<T> => {
    if (waiting >= waitingMax) return Promise.reject(databaseErrors.Busy({ retryAfterSeconds: 1 }))
    waiting++
    const turn = last.then(work, work).finally(() => waiting--)
    last = turn.catch(() => {})
    return turn
  }
}

/** Runs `work`, again and again from a timer while another process holds the lock. */
type Patience = <T>(work: () => T) => T | Promise<T>

function patience(limitMs: number): Patience {
  async function retry<T>(work: () => T): Promise<T> {
    const deadline = performance.now() + limitMs
    while (performance.now() < deadline) {
      await Bun.sleep(busyPauseMs.min + Math.random() * (busyPauseMs.max - busyPauseMs.min))
      try {
        return work()
      } catch (thrown) {
        if (!isBusy(thrown)) throw translated(thrown)
      }
    }
    throw databaseErrors.Busy({ retryAfterSeconds: 1 })
  }

  return <T>(work: () => T): T | Promise<T> => {
    try {
      return work()
    } catch (thrown) {
      if (isBusy(thrown)) return retry(work)
      throw translated(thrown)
    }
  }
}

const isBusy = (thrown: unknown) => thrown instanceof SQLiteError && (thrown.errno & 0xff) === 5

/** `UNIQUE constraint failed: user.username` names table and columns of the key. */
function translated(thrown: unknown): unknown {
  if (!(thrown instanceof SQLiteError)) return thrown
  const unique = /^UNIQUE constraint failed: (.+)$/.exec(thrown.message)
  if (unique?.[1]) {
    const columns = unique[1].split(', ').map(name => name.split('.'))
    return new UniqueViolation(
      uniqueKeyName(
        columns[0]?.[0] ?? '',
        columns.map(([, column]) => column ?? ''),
      ),
      { cause: thrown },
    )
  }
  // SQLITE_FULL and SQLITE_IOERR: nothing the caller can change, and it may pass.
  if ((thrown.errno & 0xff) === 13 || (thrown.errno & 0xff) === 10)
    return databaseErrors.Unreachable({ cause: thrown, retryAfterSeconds: 1 })
  return thrown
}
