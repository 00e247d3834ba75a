import mysql, { type Pool, type PoolConnection, type QueryError, type ResultSetHeader } from 'mysql2'
import type { Config } from '@/core/config/settings'
import { type Database, type Dialect, type SqlRow, type SqlValue, UniqueViolation } from '@/core/database'
import { type AppError, StartError } from '@/core/error'
import type { OpenDatabase, StoreTools } from './open'
import { databaseErrors, refuseInsideTx, runTx } from './transaction'

/** MySQL ≥ 8.4 and MariaDB ≥ 10.6 by mysql2's callback interface: its promise interface costs an Error object a call. */
const waitingMax = 1000
const connectTimeoutMs = 5000
const statementsMax = 500
const deadlockAttempts = 5

/** Sent once on each new connection, before anything else on it. */
const session = [
  "time_zone = '+00:00'",
  // ANSI_QUOTES: "name" is an identifier, as on SQLite. The rest refuses what would be stored changed.
  "sql_mode = 'ANSI_QUOTES,STRICT_ALL_TABLES,NO_ZERO_IN_DATE,NO_ZERO_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION'",
].join(', ')

const fullLength = '2026-01-31 09:05:00.000'.length
const dateLength = '2026-01-31'.length

const codecs: Dialect['codecs'] = {
  // DATETIME(3) in UTC travels as `2026-01-31 09:05:00.000`: no Date, so no time zone can slip in.
  timestamp: {
    encode: (value: string) => `${value.slice(0, 10)} ${value.slice(11, 23)}`,
    // Servers leave a fraction of zero out, and MariaDB the time when all of it is zero.
    decode: (stored: string) => {
      if (stored.length === fullLength) return `${stored.slice(0, 10)}T${stored.slice(11)}Z`
      return new Date(stored.length === dateLength ? stored : `${stored.replace(' ', 'T')}Z`).toISOString()
    },
  },
  boolean: {
    encode: (value: boolean) => (value ? 1 : 0),
    decode: (stored: number) => stored === 1,
  },
}
const dialects = {
  mysql: { name: 'mysql', forUpdate: ' for update', codecs },
  mariadb: { name: 'mariadb', forUpdate: ' for update', codecs },
} as const satisfies Record<string, Dialect>

type Limits = Pick<Config['database'], 'url' | 'poolSize' | 'queryTimeoutMs'>

/**
 * Opens a pool and asks the server who it is.
 * @throws StartError when the server cannot be reached or refuses us
 */
export async function openMysql({ url, poolSize, queryTimeoutMs }: Limits, tools: StoreTools): Promise<OpenDatabase> {
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
    enableKeepAlive: true,
  })
  pool.on('connection', connection => {
    // Queued before the caller's own statement. Should it fail, the connection must not be used as it is.
    connection.query(`set session ${session}`, (failed: QueryError | null) => failed && connection.destroy())
  })

  let borrowed = 0
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

  const execute = (connection: PoolConnection, sql: string, values: readonly SqlValue[]) =>
    new Promise<unknown>((resolve, reject) => {
      connection.execute({ sql, values: values as SqlValue[], timeout: queryTimeoutMs }, (failed, result) => {
        if (failed) reject(translated(failed))
        else resolve(result)
      })
    })

  async function once(sql: string, values: readonly SqlValue[]): Promise<unknown> {
    const connection = await acquire()
    try {
      return await execute(connection, sql, values)
    } catch (thrown) {
      // After a timeout the answer is still under way: the next user of the connection would get it.
      if (isLost(thrown)) connection.destroy()
      throw thrown
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
        if (!isDeadlock(thrown)) throw thrown
        if (attempt === deadlockAttempts) throw databaseErrors.Busy({ cause: thrown, retryAfterSeconds: 1 })
        await Bun.sleep(Math.random() * 10 * 2 ** attempt)
      }
    }
  }

  const dialect = dialects[await flavorOf(pool, url)]
  const on = (guard: () => void, ask: (sql: string, values: readonly SqlValue[]) => Promise<unknown>) => ({
    dialect,
    ...tools,
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
      return { changes: ((await ask(sql, params)) as ResultSetHeader).affectedRows }
    },
  })

  const db: OpenDatabase = {
    ...on(() => refuseInsideTx(db), autocommit),
    inTransaction: false,
    async tx(work, options = {}) {
      refuseInsideTx(db)
      const connection = await acquire()
      const say = (sql: string) =>
        new Promise<void>((resolve, reject) => {
          connection.query({ sql, timeout: queryTimeoutMs }, failed => (failed ? reject(translated(failed)) : resolve()))
        })
      const steps = {
        begin: () => say('start transaction'),
        commit: () => say('commit'),
        rollback: () => say('rollback').catch(() => connection.destroy()),
        bind: (refuseIfOver: () => void): Database => ({
          ...on(refuseIfOver, (sql, values) => execute(connection, sql, values)),
          inTransaction: true,
          tx: async () => {
            throw new Error('transactions do not nest yet; hand tx on to what should take part in it')
          },
        }),
      }
      try {
        return await runTx(db, steps, work, options.timeoutMs)
      } catch (thrown) {
        if (isLost(thrown)) connection.destroy()
        throw thrown
      } finally {
        release(connection)
      }
    },
    async ping() {
      await once('select 1', [])
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

function remedy(code: string): string {
  if (code === 'ER_ACCESS_DENIED_ERROR' || code === 'ER_DBACCESS_DENIED_ERROR') return 'check user and password in BINGO_DATABASE_URL'
  if (code === 'ER_BAD_DB_ERROR') return 'create the database, or correct its name in BINGO_DATABASE_URL'
  return 'check that the server runs and that BINGO_DATABASE_URL names it'
}

const lostCodes = new Set([
  'PROTOCOL_CONNECTION_LOST',
  'PROTOCOL_SEQUENCE_TIMEOUT',
  'ECONNREFUSED',
  'ECONNRESET',
  'EPIPE',
  'ETIMEDOUT',
  'ENOTFOUND',
  'EAI_AGAIN',
  'ER_CON_COUNT_ERROR',
  'ER_SERVER_SHUTDOWN',
])

const codeOf = (thrown: unknown): string => {
  const failed = ((thrown as AppError).cause ?? thrown) as Partial<QueryError>
  return failed.code ?? ''
}
const isLost = (thrown: unknown) => lostCodes.has(codeOf(thrown))
/** ER_LOCK_DEADLOCK undid the whole transaction; ER_LOCK_WAIT_TIMEOUT only the statement, which alone is as good. */
const isDeadlock = (thrown: unknown) => codeOf(thrown) === 'ER_LOCK_DEADLOCK' || codeOf(thrown) === 'ER_LOCK_WAIT_TIMEOUT'

function translated(failed: Error & { code?: string }): Error {
  if (failed.code === 'ER_DUP_ENTRY') {
    // MySQL names the key `user.user_email`, MariaDB `user_email`.
    const key = /for key '(?:[^']*\.)?([^'.]+)'/.exec(failed.message)?.[1] ?? ''
    return new UniqueViolation(key, { cause: failed })
  }
  if (failed.code === 'PROTOCOL_SEQUENCE_TIMEOUT') return databaseErrors.QueryTimeout({ cause: failed })
  if (lostCodes.has(failed.code ?? '') || failed.message === 'Queue limit reached.') {
    return databaseErrors.Unreachable({ cause: failed, retryAfterSeconds: 1 })
  }
  return failed
}
