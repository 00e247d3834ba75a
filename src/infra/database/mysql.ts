import mysql, { type Pool, type PoolConnection, type QueryError, type ResultSetHeader } from 'mysql2'
import type { Config } from '@/core/config/settings'
import { type Database, type Dialect, type SqlRow, type SqlValue, UniqueViolation } from '@/core/database'
import { AppError, StartError } from '@/core/error'
import { serverCodecs } from './codecs'
import { type DriverTools, type OpenDatabase, refuseNested } from './driver'
import { databaseErrors, refuseInsideTx, runTx, type Scope } from './transaction'

/** MySQL ≥ 8.4 and MariaDB ≥ 10.6 by mysql2's callback interface: its promise interface costs an Error object a call. */
const waitingMax = 1000
const connectTimeoutMs = 5000
const statementsMax = 500
const deadlockAttempts = 5
const pingFreshMs = 1000

/** Sent once on each new connection, before anything else on it. */
const session = [
  "time_zone = '+00:00'",
  // ANSI_QUOTES: "name" is an identifier, as on SQLite. The rest refuses what would be stored changed.
  "sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
].join(', ')
/** Added where somebody asks for the position of writes; each server reads its own comment. Their answers then carry it. */
const tracking =
  " /*!80000 , session_track_gtids = OWN_GTID */ /*M! , session_track_system_variables = concat(@@session_track_system_variables, ',last_gtid') */"

const dialects = {
  mysql: { name: 'mysql', forUpdate: ' for update', codecs: serverCodecs },
  mariadb: { name: 'mariadb', forUpdate: ' for update', codecs: serverCodecs },
} as const satisfies Record<string, Dialect>

type Limits = Pick<Config['database'], 'url' | 'poolSize' | 'queryTimeoutMs'>

/**
 * Opens a pool and asks the server who it is.
 * @throws StartError when the server cannot be reached or refuses us
 */
export async function openMysql({ url, poolSize, queryTimeoutMs }: Limits, tools: DriverTools): Promise<OpenDatabase> {
  const pool = mysql.createPool({
    uri: url,
    connectionLimit: poolSize,
    queueLimit: waitingMax,
    connectTimeout: connectTimeoutMs,
    maxPreparedStatements: statementsMax,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    // As text from both servers, so that one codec reads it.
    jsonStrings: true,
    enableKeepAlive: true,
  })
  pool.on('connection', connection => {
    // Queued before the caller's own statement. Should it fail, the connection must not be used as it is.
    const { onWrite } = tools
    connection.query(`set session ${session}${onWrite ? tracking : ''}`, (failed: QueryError | null) => failed && connection.destroy())
  })

  let borrowed = 0
  let answeredAtMs = Number.NEGATIVE_INFINITY
  let lastReturned: (() => void) | undefined

  const acquire = () => {
    borrowed++
    return connect().catch(thrown => {
      returned()
      throw thrown
    })
  }
  const release = (connection: PoolConnection) => {
    connection.release()
    returned()
  }
  const returned = () => {
    borrowed--
    if (borrowed === 0) lastReturned?.()
  }

  const connect = () =>
    new Promise<PoolConnection>((resolve, reject) => {
      let late = false
      const timer = setTimeout(() => {
        late = true
        reject(databaseErrors.Busy({ retryAfterSeconds: 1 }))
      }, queryTimeoutMs)
      pool.getConnection((failed, connection) => {
        clearTimeout(timer)
        if (failed) reject(translated(failed))
        else if (late) connection.release()
        else resolve(connection)
      })
    })

  type Done = (failed: QueryError | null, result?: unknown) => void
  /**
   * Starts a command of the driver and waits for it, for so long. The driver's own timer starts when the statement is sent, not
   * while it is prepared or waits for another; and after it the answer is still under way, so the connection is given up.
   */
  const within = (connection: PoolConnection, begin: (done: Done) => void) =>
    new Promise<unknown>((resolve, reject) => {
      const timer = setTimeout(() => {
        connection.destroy()
        reject(databaseErrors.QueryTimeout())
      }, queryTimeoutMs)
      begin((failed, result) => {
        clearTimeout(timer)
        if (failed) reject(translated(failed))
        else {
          answeredAtMs = performance.now()
          resolve(result)
        }
      })
    })
  const execute = (connection: PoolConnection, sql: string, values: readonly SqlValue[]) =>
    within(connection, done => void connection.execute(sql, values as SqlValue[], done))

  async function once(sql: string, values: readonly SqlValue[]): Promise<unknown> {
    const connection = await acquire()
    try {
      return await execute(connection, sql, values)
    } finally {
      release(connection)
    }
  }

  /** One statement is one transaction, so after a deadlock it is safe to run it again. */
  async function autocommit(sql: string, values: readonly SqlValue[]): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await once(sql, values)
      } catch (thrown) {
        const isWorthAgain = thrown instanceof AppError && isContention((thrown.cause ?? {}) as QueryError)
        if (!isWorthAgain || attempt === deadlockAttempts) throw thrown
        await Bun.sleep(Math.random() * 10 * 2 ** attempt)
      }
    }
  }

  const written = (header: ResultSetHeader) => tools.onWrite?.(positionOf(header))

  const dialect = dialects[await flavorOf(pool, url)]
  const calls = (
    guard: () => void,
    ask: (sql: string, values: readonly SqlValue[]) => Promise<unknown>,
    onRun: (header: ResultSetHeader) => void,
  ) => ({
    dialect,
    clock: tools.clock,
    seal: tools.seal,
    cache: tools.cache,
    all: async (sql: string, params: readonly SqlValue[] = []) => {
      guard()
      return (await ask(sql, params)) as SqlRow[]
    },
    first: async (sql: string, params: readonly SqlValue[] = []) => {
      guard()
      return ((await ask(sql, params)) as SqlRow[])[0]
    },
    run: async (sql: string, params: readonly SqlValue[] = []) => {
      guard()
      const header = (await ask(sql, params)) as ResultSetHeader
      onRun(header)
      return { changes: header.affectedRows }
    },
  })

  const db: OpenDatabase = {
    ...calls(() => refuseInsideTx(db), autocommit, written),
    inTransaction: false,
    afterCommit: async hook => hook(),
    async tx(work, options = {}) {
      refuseInsideTx(db)
      const connection = await acquire()
      let underWay = 0
      let hasWritten = false
      const say = (sql: string) => within(connection, done => void connection.query(sql, done))
      const steps = {
        begin: async () => void (await say('start transaction')),
        commit: async () => {
          const header = (await say('commit')) as ResultSetHeader
          if (hasWritten) written(header)
        },
        // A statement that is still under way would keep the rollback waiting; without a connection the server undoes all.
        rollback: async () => void (underWay > 0 ? connection.destroy() : await say('rollback').catch(() => connection.destroy())),
        bind: (refuseIfOver: () => void, scope: Scope): Database => ({
          ...calls(
            refuseIfOver,
            (sql, values) => {
              underWay++
              return execute(connection, sql, values).finally(() => underWay--)
            },
            () => {
              hasWritten = true
            },
          ),
          inTransaction: true,
          afterCommit: async hook => void scope.hooks.push(hook),
          tx: refuseNested,
        }),
      }
      try {
        return await runTx(db, steps, work, options.timeoutMs)
      } finally {
        release(connection)
      }
    },
    async ping() {
      // Under load every connection is lent out, and whoever has just been answered has asked already.
      if (performance.now() - answeredAtMs > pingFreshMs) await once('select 1', [])
    },
    async close() {
      if (borrowed > 0) {
        await new Promise<void>(resolve => {
          lastReturned = resolve
        })
      }
      await new Promise<void>(resolve => pool.end(() => resolve()))
    },
  }
  return db
}

async function flavorOf(pool: Pool, url: string): Promise<'mysql' | 'mariadb'> {
  const { host, pathname } = new URL(url)
  try {
    const version = await new Promise<string>((resolve, reject) => {
      pool.query({ sql: 'select version() as version', timeout: connectTimeoutMs }, (failed, rows) =>
        failed ? reject(failed) : resolve(String((rows as SqlRow[])[0]?.['version'])),
      )
    })
    return /mariadb/i.test(version) ? 'mariadb' : 'mysql'
  } catch (thrown) {
    pool.end(() => {})
    const why = (thrown as QueryError).code ?? (thrown as Error).message
    throw new StartError(`cannot use the database ${pathname.slice(1)} at ${host}: ${why}; ${remedy(why)}`, undefined, { cause: thrown })
  }
}

/** The GTID of what was just committed, as MySQL and MariaDB each say it. */
function positionOf({ stateChanges }: TrackingHeader): string | undefined {
  if (!stateChanges) return undefined
  const { gtids, systemVariables } = stateChanges
  return gtids.length > 0 ? gtids.join(',') : systemVariables['last_gtid']
}

/** What the driver gives and its types leave out. */
interface TrackingHeader extends ResultSetHeader {
  stateChanges?: { gtids: string[]; systemVariables: Record<string, string> }
}

function remedy(code: string): string {
  if (code === 'ER_ACCESS_DENIED_ERROR' || code === 'ER_DBACCESS_DENIED_ERROR') return 'check user and password in BINGO_DATABASE_URL'
  if (code === 'ER_BAD_DB_ERROR') return 'create the database, or correct its name in BINGO_DATABASE_URL'
  return 'check that the server runs and that BINGO_DATABASE_URL names it'
}

const lostCodes = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ER_CON_COUNT_ERROR',
  'ER_SERVER_SHUTDOWN',
])

/** ER_LOCK_DEADLOCK undid the whole transaction; ER_LOCK_WAIT_TIMEOUT only the statement, which alone is as good. */
const isContention = (failed: { code?: string }) => failed.code === 'ER_LOCK_DEADLOCK' || failed.code === 'ER_LOCK_WAIT_TIMEOUT'

function translated(failed: Error & { code?: string; fatal?: boolean }): Error {
  if (failed.code === 'ER_DUP_ENTRY') {
    // MySQL names the key `user.user_email`, MariaDB `user_email`. What stands before it is input.
    const key = /for key '(?:[^']*\.)?([^'.]+)'$/.exec(failed.message)?.[1] ?? ''
    return new UniqueViolation(key, { cause: failed })
  }
  if (isContention(failed)) return databaseErrors.Busy({ cause: failed, retryAfterSeconds: 1 })
  if (failed.fatal || lostCodes.has(failed.code ?? '') || failed.message === 'Queue limit reached.') {
    return databaseErrors.Unreachable({ cause: failed, retryAfterSeconds: 1 })
  }
  return failed
}
