import type { Socket } from 'node:net'
import mysql, { type Pool, type PoolConnection, type QueryError, type ResultSetHeader } from 'mysql2'
import type { Config } from '@/core/config/settings'
import type { SqlRow, SqlValue } from '@/core/database'
import { StartError } from '@/core/error'
import type { DriverTools } from '../driver'
import { createEntrance, type Entrance } from '../entrance'
import { databaseErrors } from '../errors'
import type { Meters } from '../meters'
import { slowQueryWarning } from '../warnings'
import { type ServerError, translated } from './errors'

/** Connections by mysql2's callback interface: its promise interface costs an Error object a call. */
const waitingMax = 1000
const connectTimeoutMs = 5000
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
const lockWaitSeconds = (queryTimeoutMs: number) => Math.max(1, Math.floor(queryTimeoutMs / 3000))

export interface Connections extends Pick<Entrance, 'idle'> {
  /** @param txLeftMs what is left of a transaction's time, when it is for one */
  acquire(txLeftMs?: number): Promise<PoolConnection>
  release(connection: PoolConnection): void
  /** Closes a connection that cannot be used again, whatever is under way on it. It is to be released as well. */
  discard(connection: PoolConnection): void
  /** A statement with its values, prepared once a connection. @returns rows, or a header for what returns none */
  execute(connection: PoolConnection, sql: string, values: readonly SqlValue[]): Promise<SqlRow[] | ResultSetHeader>
  /** A statement that is not worth preparing, or cannot be. */
  say(connection: PoolConnection, sql: string): Promise<SqlRow[] | ResultSetHeader>
  /** When a server answered last, of `performance.now()`. */
  answeredAtMs(): number
  /** Of the server: `11.4.2-MariaDB`. @throws StartError when it cannot be reached or refuses us */
  version(): Promise<string>
  end(): Promise<void>
}

type Done = (failed: QueryError | null, result?: unknown) => void

export function createConnections(config: Config['database'], tools: DriverTools, meters: Meters): Connections {
  const { poolSize, acquireTimeoutMs, queryTimeoutMs, slowQueryMs } = config
  const entrance = createEntrance<PoolConnection>({ places: poolSize, waitingMax, acquireTimeoutMs }, meters)
  const pool = createPool(config, tools)
  const warnOfSlow = slowQueryWarning('server', tools.log, meters)
  const endGauges = meters.showConnections({ open: () => pool.open.size, inUse: () => entrance.inUse, waiting: () => entrance.waiting })
  let answeredAtMs = Number.NEGATIVE_INFINITY

  /** For who has a place. @param leftMs what is left of the time to wait, when a connection must be made first */
  const connect = (leftMs: number, isTxTime: boolean) =>
    new Promise<PoolConnection>((resolve, reject) => {
      let isLate = false
      const late = () => {
        isLate = true
        if (isTxTime) return reject(databaseErrors.TxTimeout())
        meters.acquireTimeouts.add()
        reject(databaseErrors.Unreachable({ retryAfterSeconds: 1 }))
      }
      const timer = entrance.inUse > pool.open.size ? setTimeout(late, leftMs) : undefined
      pool.getConnection((failed, connection) => {
        clearTimeout(timer)
        if (!failed && !isLate) return resolve(connection)
        connection?.release()
        entrance.leave()
        if (failed) reject(translated(failed))
      })
    })
  const acquire = (txLeftMs = Number.POSITIVE_INFINITY) => {
    const limitMs = Math.min(acquireTimeoutMs, txLeftMs)
    const isTxTime = txLeftMs < acquireTimeoutMs
    const turn = entrance.enter(txLeftMs)
    if (!turn) return connect(limitMs, isTxTime)
    return turn.then(({ handed, waitedMs }) => handed ?? connect(Math.max(0, limitMs - waitedMs), isTxTime))
  }

  /**
   * Starts a command of the driver and waits for it, for so long. The driver's own timer starts when the statement is sent, not
   * while it is prepared or waits for another; and after it the answer is still under way, so the connection is given up.
   */
  const within = (connection: PoolConnection, sql: string, begin: (done: Done) => void) =>
    new Promise<SqlRow[] | ResultSetHeader>((resolve, reject) => {
      const startedMs = performance.now()
      let isLate = false
      const timer = setTimeout(() => {
        isLate = true
        meters.queryTimeouts.add()
        if (slowQueryMs > 0) warnOfSlow(sql, performance.now() - startedMs)
        pool.discard(connection)
        reject(databaseErrors.QueryTimeout())
      }, queryTimeoutMs)
      begin((failed, result) => {
        if (isLate) return
        clearTimeout(timer)
        const endedMs = performance.now()
        if (slowQueryMs > 0 && endedMs - startedMs >= slowQueryMs) warnOfSlow(sql, endedMs - startedMs)
        if (failed) return reject(translated(failed))
        answeredAtMs = endedMs
        resolve(result as SqlRow[] | ResultSetHeader)
      })
    })

  return {
    acquire,
    release(connection) {
      // From hand to hand, past the driver's own pool.
      if (entrance.waiting > 0 && pool.open.has(connection)) return entrance.leave(connection)
      connection.release()
      entrance.leave()
    },
    discard: pool.discard,
    execute: (connection, sql, values) => within(connection, sql, done => void connection.execute(sql, values as SqlValue[], done)),
    say: (connection, sql) => within(connection, sql, done => void connection.query(sql, done)),
    idle: entrance.idle,
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
      endGauges()
      await new Promise<void>(resolve => pool.end(() => resolve()))
    },
  }
}

function createPool({ url, poolSize, acquireTimeoutMs, queryTimeoutMs }: Config['database'], { onWrite }: DriverTools) {
  const pool = mysql.createPool({
    uri: url,
    connectionLimit: poolSize,
    // Nobody waits in there: who has a place at the entrance finds a connection.
    queueLimit: poolSize,
    connectTimeout: Math.min(connectTimeoutMs, acquireTimeoutMs),
    maxPreparedStatements: statementsMax,
    charset: 'utf8mb4',
    timezone: 'Z',
    dateStrings: true,
    supportBigNumbers: true,
    // As text from both servers, so that one codec reads it.
    jsonStrings: true,
    enableKeepAlive: true,
  })
  const seconds = lockWaitSeconds(queryTimeoutMs)
  const words = `set session ${session}, innodb_lock_wait_timeout = ${seconds}, lock_wait_timeout = ${seconds}${onWrite ? tracking : ''}`
  const open = new Set<PoolConnection>()
  const discard = (connection: PoolConnection) => {
    open.delete(connection)
    connection.destroy()
    // The driver only ends it, and takes what the server says last for an answer out of order.
    streamOf(connection).destroy()
  }
  pool.on('connection', connection => {
    open.add(connection)
    const forget = () => open.delete(connection)
    connection.on('error', forget)
    connection.on('end', forget)
    streamOf(connection).once('close', forget)
    // Queued before the caller's own statement. Should it fail, the connection must not be used as it is.
    connection.query(words, (failed: QueryError | null) => failed && discard(connection))
  })
  return Object.assign(pool, { open, discard })
}

/** The driver's types leave it out. */
const streamOf = (connection: unknown): Socket => (connection as { stream: Socket }).stream

async function versionOf(pool: Pool, url: string): Promise<string> {
  const { host, pathname } = new URL(url)
  try {
    return await new Promise<string>((resolve, reject) => {
      pool.query({ sql: 'select version() as version', timeout: connectTimeoutMs }, (failed, rows) =>
        failed ? reject(failed) : resolve(String((rows as SqlRow[])[0]?.['version'])),
      )
    })
  } catch (thrown) {
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
