import type { Socket } from 'node:net'
import mysql, { type Pool, type PoolConnection, type QueryError } from 'mysql2'
import type { Config } from '@/core/config/settings'
import type { SqlRow } from '@/core/database'
import { withDeadline } from '@/core/deadline'
import { StartError } from '@/core/error'
import type { DriverTools } from '../driver'
import { dial, silenceMaxMs } from './dial'
import { type ServerError, translated } from './errors'

/** The pool of mysql2: how its connections are made, what each is told first, and how one is given up. */
const startTimeoutMs = 5000
/** Prepared on each connection. A server keeps 16,382 for all of everybody's, and refuses more. */
const statementsMax = 100

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

export function createPool(config: Config['database'], { onWrite }: DriverTools) {
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
  return Object.assign(pool, {
    /** Those that can be used. */
    open,
    discard,
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

/** @throws StartError when the server cannot be reached or refuses us */
export async function versionOf(pool: ReturnType<typeof createPool>, url: string): Promise<string> {
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
