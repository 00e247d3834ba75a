import type { Socket } from 'node:net'
import type { PoolConnection, QueryError, ResultSetHeader } from 'mysql2'
import type { Config } from '@/core/config/settings'
import type { SqlRow, SqlValue } from '@/core/database'
import type { DriverTools } from '../driver'
import { createEntrance } from '../entrance'
import { databaseErrors } from '../errors'
import type { Meters } from '../meters'
import { slowQueryWarning } from '../warnings'
import { createWaits } from '../../waits'
import { createPool, versionOf } from './driver-pool'
import { isReadOnly, translated } from './errors'

/** Connections by mysql2's callback interface: its promise interface costs an Error object a call. */
const waitingMax = 1000

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
  const entrance = createEntrance<PoolConnection>({ places: poolSize, waitingMax, acquireTimeoutMs }, meters)
  const pool = createPool(config, tools)
  const answers = createWaits(queryTimeoutMs)
  const warnOfSlow = slowQueryWarning('server', tools.log, meters)
  const endGauges = meters.showConnections({ open: () => pool.open.size, inUse: () => entrance.inUse, waiting: () => entrance.waiting })
  /** Attempts to connect whose callers wait no longer. */
  const orphans = new Set<Socket>()
  let isEnding = false
  let answeredAtMs = Number.NEGATIVE_INFINITY

  function release(connection: PoolConnection): void {
    // From hand to hand, past the driver's own pool.
    if (entrance.waiting > 0 && pool.open.has(connection)) entrance.leave(connection)
    else {
      connection.release()
      entrance.leave()
    }
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
        pool.discard(connection)
        if (leftMs < queryTimeoutMs) return reject(databaseErrors.TxTimeout())
        meters.queryTimeouts.add()
        reject(databaseErrors.QueryTimeout())
      }
      const wait = answers.begin(late, leftMs)
      const done: Done = (failed, result) => {
        if (isLate) return
        answers.end(wait)
        const endedMs = performance.now()
        if (slowQueryMs > 0 && endedMs - startedMs >= slowQueryMs) warnOfSlow(sql, endedMs - startedMs)
        if (failed) {
          if (isReadOnly(failed)) pool.discard(connection)
          return reject(translated(failed))
        }
        answeredAtMs = endedMs
        resolve(result as SqlRow[] | ResultSetHeader)
      }
      try {
        begin(done)
      } catch (refused) {
        // The driver refuses some values at once; left alone, it would take the connection from whoever has it then.
        answers.end(wait)
        reject(refused)
      }
    })

  return {
    acquire(leftMs = Number.POSITIVE_INFINITY) {
      const limitMs = Math.min(acquireTimeoutMs, leftMs)
      const turn = entrance.enter(leftMs)
      if (!turn) return connect(limitMs, leftMs)
      return turn.then(({ handed, waitedMs }) => handed ?? connect(limitMs - waitedMs, leftMs))
    },
    release,
    discard: pool.discard,
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
