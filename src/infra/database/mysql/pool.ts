import type { Socket } from 'node:net'
import mysql, { type Pool, type PoolConnection, type QueryError, type ResultSetHeader } from 'mysql2'
import type { Config } from '@/core/config/settings'
import type { SqlRow, SqlValue } from '@/core/database'
import { withDeadline } from '@/core/deadline'
import { StartError } from '@/core/error'
import type { DriverTools } from '../driver'
import { createEntrance } from '../entrance'
import { databaseErrors } from '../errors'
import type { Meters } from '../meters'
import { slowQueryWarning } from '../warnings'
import { dial, silenceMaxMs } from './dial'
import { isReadOnly, type ServerError, translated } from './errors'

/** Connections by mysql2's callback interface: its promise interface costs an Error object a call. */
const waitingMax = 1000
const startTimeoutMs = 5000
const statementsMax = 500

/** Sent once on each new connection, before anything else on it. */
const session = [
  "time_zone = '+00:00'",
  // ANSI_QUOTES: "name" is an identifier, as on SQLite. The rest refuses what would be stored changed.
  "sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
].join(', ')
/** Added where somebody asks for the position of writes; each server reads its own comment. Their answers then carry it. */
const tracking =
  " /*!80000 , session_track_gtids = OWN_GTID */ /*M! , session_track_system_variables = concat(@@session_track_system_variables, ',last_gtid') */"
/**
 * How long a statement waits for a lock: so much less than for its answer that the server gives up before we do, since we can do
 * so only by giving up the connection. Servers count whole seconds.
 */
export const lockWaitMs = (queryTimeoutMs: number) => 1000 * Math.max(1, Math.floor(queryTimeoutMs / 3000))
/**
 * What we have given up the server gives up, too, soon after: it does not see that nobody listens any more, and would go on with
 * it on a connection beyond those of the pool. MySQL can do so for selects only.
 */
const givenUpAfterMs = 500
const statementLimit = (queryTimeoutMs: number) => {
  const limitMs = queryTimeoutMs + givenUpAfterMs
  // Unless the server's own is shorter; 0 is none.
  const shorter = (name: string, ours: number) => `if(@@${name} > 0, least(@@${name}, ${ours}), ${ours})`
  const mysql = `max_execution_time = cast(${shorter('max_execution_time', limitMs)} as unsigned)`
  return ` /*!80000 , ${mysql} */ /*M! , max_statement_time = ${shorter('max_statement_time', limitMs / 1000)} */`
}

export interface Connections {
  /**
   * Waits for a connection, and for the server to take it, no longer than acquireTimeoutMs.
   * @param leftMs what is left of the time for all that it is for, such as a transaction; Timeout is thrown when that is over
   */
  acquire(leftMs?: number): Promise<PoolConnection>
  release(connection: PoolConnection): void
  /** Closes a connection that cannot be used again, whatever is under way on it. It is to be released as well. */
  discard(connection: PoolConnection): void
  /** A statement with its values, prepared once a connection. @returns rows, or a header for what returns none */
  execute(connection: PoolConnection, sql: string, values: readonly SqlValue[], leftMs?: number): Promise<SqlRow[] | ResultSetHeader>
  /** A statement that is not worth preparing, or cannot be. */
  say(connection: PoolConnection, sql: string, leftMs?: number): Promise<SqlRow[] | ResultSetHeader>
  /** When a server answered last, of `performance.now()`. */
  answeredAtMs(): number
  /** Of the server: `11.4.2-MariaDB`. @throws StartError when it cannot be reached or refuses us */
  version(): Promise<string>
  /** Waits until nobody has a connection, then closes them. */
  end(): Promise<void>
}

type Done = (failed: QueryError | null, result?: unknown) => void

export function createConnections(config: Config['database'], tools: DriverTools, meters: Meters): Connections {
  const { poolSize, acquireTimeoutMs, queryTimeoutMs, slowQueryMs } = config
  const entrance = createEntrance({ places: poolSize, waitingMax, acquireTimeoutMs }, meters)
  const pool = createPool(config, tools)
  const warnOfSlow = slowQueryWarning('server', tools.log, meters)
  const endGauges = meters.showConnections({ open: pool.open, inUse: () => entrance.inUse, waiting: () => entrance.waiting })
  /** Attempts to connect whose callers wait no longer. */
  const orphans = new Set<Socket>()
  let isEnding = false
  let answeredAtMs = Number.NEGATIVE_INFINITY

  function release(connection: PoolConnection): void {
    connection.release()
    entrance.leave()
  }

  /** For whoever has a place. An attempt that outlasts its caller keeps the place, and the next caller finds what comes of it. */
  const connect = (limitMs: number, leftMs: number) =>
    new Promise<PoolConnection>((resolve, reject) => {
      let socket: Socket | undefined
      let timer: Timer | undefined
      let isLate = false
      const done = (failed: Error | null, connection: PoolConnection) => {
        clearTimeout(timer)
        if (socket) orphans.delete(socket)
        if (!failed) return isLate ? release(connection) : resolve(connection)
        entrance.leave()
        reject(translated(failed))
      }
      const giveUp = (attempt: Socket) => {
        isLate = true
        if (isEnding) attempt.destroy()
        else orphans.add(attempt)
        if (leftMs < acquireTimeoutMs) return reject(databaseErrors.TxTimeout())
        meters.acquireTimeouts.add()
        reject(databaseErrors.Unreachable({ retryAfterSeconds: 1 }))
      }
      socket = pool.lend(done)
      if (socket) timer = setTimeout(giveUp, Math.max(0, limitMs), socket)
    })

  /**
   * Starts a command of the driver and waits for it, for so long. The driver's own timer starts when the statement is sent, not
   * while it is prepared or waits for another; and after it the answer is still under way, so the connection is given up.
   */
  const within = (connection: PoolConnection, sql: string, begin: (done: Done) => void, leftMs = Number.POSITIVE_INFINITY) =>
    new Promise<SqlRow[] | ResultSetHeader>((resolve, reject) => {
      const startedMs = performance.now()
      let isLate = false
      const late = () => {
        isLate = true
        if (slowQueryMs > 0) warnOfSlow(sql, performance.now() - startedMs)
        discard(connection)
        if (leftMs < queryTimeoutMs) return reject(databaseErrors.TxTimeout())
        meters.queryTimeouts.add()
        reject(databaseErrors.QueryTimeout())
      }
      const timer = setTimeout(late, Math.max(0, Math.min(queryTimeoutMs, leftMs)))
      const done: Done = (failed, result) => {
        if (isLate) return
        clearTimeout(timer)
        const endedMs = performance.now()
        if (slowQueryMs > 0 && endedMs - startedMs >= slowQueryMs) warnOfSlow(sql, endedMs - startedMs)
        if (failed) {
          if (isReadOnly(failed)) discard(connection)
          return reject(translated(failed))
        }
        answeredAtMs = endedMs
        resolve(result as SqlRow[] | ResultSetHeader)
      }
      try {
        begin(done)
      } catch (refused) {
        // The driver refuses some values at once; left alone, the timer would take the connection from whoever has it then.
        clearTimeout(timer)
        reject(refused)
      }
    })

  return {
    acquire(leftMs = Number.POSITIVE_INFINITY) {
      const limitMs = Math.min(acquireTimeoutMs, leftMs)
      const turn = entrance.enter(leftMs)
      if (!turn) return connect(limitMs, leftMs)
      const endsAtMs = performance.now() + limitMs
      return turn.then(() => connect(endsAtMs - performance.now(), leftMs))
    },
    release,
    discard,
    execute: (connection, sql, values, leftMs) =>
      within(connection, sql, done => void connection.execute(sql, values as SqlValue[], done), leftMs),
    say: (connection, sql, leftMs) => within(connection, sql, done => void connection.query(sql, done), leftMs),
    answeredAtMs: () => answeredAtMs,
    async version() {
      try {
        return await versionOf(pool, config.url)
      } catch (thrown) {
        endGauges()
        throw thrown
      }
    },
    async end() {
      isEnding = true
      for (const socket of orphans) socket.destroy()
      await entrance.idle()
      endGauges()
      await new Promise<void>(resolve => pool.end(() => resolve()))
    },
  }
}

function createPool(config: Config['database'], { onWrite }: DriverTools) {
  const { url, poolSize, acquireTimeoutMs, queryTimeoutMs } = config
  let dialed: Socket | undefined
  const pool = mysql.createPool({
    uri: url,
    connectionLimit: poolSize,
    // Nobody waits in there: who has a place at the entrance finds a connection.
    queueLimit: poolSize,
    stream: ({ config: address }: { config: mysql.ConnectionOptions }) => {
      dialed = dial(address, acquireTimeoutMs)
      return dialed
    },
    connectTimeout: silenceMaxMs,
    maxPreparedStatements: statementsMax,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    // As text from both servers, so that one codec reads it.
    jsonStrings: true,
  })
  const seconds = lockWaitMs(queryTimeoutMs) / 1000
  const lockWait = `innodb_lock_wait_timeout = ${seconds}, lock_wait_timeout = ${seconds}`
  const words = `set session ${session}, ${lockWait}${statementLimit(queryTimeoutMs)}${onWrite ? tracking : ''}`
  let open = 0
  pool.on('connection', connection => {
    open++
    streamOf(connection).once('close', () => open--)
    // Queued before the caller's own statement. Should it fail, the connection must not be used as it is.
    connection.query(words, (failed: QueryError | null) => failed && discard(connection))
  })
  return Object.assign(pool, {
    open: () => open,
    /** @returns the socket of the connection when it has to be made first */
    lend(done: Parameters<Pool['getConnection']>[0]): Socket | undefined {
      dialed = undefined
      pool.getConnection(done)
      return dialed
    },
  })
}

/** The driver's types leave it out. */
const streamOf = (connection: unknown): Socket => (connection as { stream: Socket }).stream

function discard(connection: PoolConnection): void {
  connection.destroy()
  // The driver only ends it, and takes what the server says last for an answer out of order.
  streamOf(connection).destroy()
}

async function versionOf(pool: ReturnType<typeof createPool>, url: string): Promise<string> {
  const { host, pathname } = new URL(url)
  let socket: Socket | undefined
  try {
    const asking = new Promise<string>((resolve, reject) => {
      socket = pool.lend((failed, connection) => {
        if (failed) return reject(failed)
        connection.query('select version() as version', (refused: Error | null, rows: unknown) => {
          connection.release()
          if (refused) reject(refused)
          else resolve(String((rows as SqlRow[])[0]?.['version']))
        })
      })
    })
    return await withDeadline(asking, startTimeoutMs, () => Object.assign(new Error('ETIMEDOUT'), { code: 'ETIMEDOUT' }))
  } catch (thrown) {
    socket?.destroy()
    pool.end(() => {})
    const failed = thrown as ServerError
    const why = failed.code ?? failed.message
    const text = `cannot use the database ${pathname.slice(1)} at ${host}: ${why}; ${remedy(why)}`
    throw new StartError(text, undefined, { cause: translated(failed) })
  }
}

function remedy(code: string): string {
  if (code === 'ER_ACCESS_DENIED_ERROR' || code === 'ER_DBACCESS_DENIED_ERROR') return 'check user and password in BINGO_DATABASE_URL'
  if (code === 'ER_BAD_DB_ERROR') return 'create the database, or correct its name in BINGO_DATABASE_URL'
  return 'check that the server runs and that BINGO_DATABASE_URL names it'
}
