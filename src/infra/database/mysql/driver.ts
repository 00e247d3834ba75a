import type { PoolConnection, ResultSetHeader } from 'mysql2'
import type { Config } from '@/core/config/settings'
import type { Dialect, SqlRow, SqlValue } from '@/core/database'
import { serverCodecs } from '../codecs'
import type { DriverTools, OpenDatabase } from '../driver'
import { createMeters } from '../meters'
import { retriesDefault, retryPauseMs } from '../retry'
import { refuseInsideTx } from '../scope'
import { outside, type TxDriver, type TxSession } from '../transaction'
import { databaseErrors } from '../errors'
import { isContention, isLost, isTxTimeout } from './errors'
import { lockWaitMs } from './driver-pool'
import { createConnections } from './pool'

/** MySQL ≥ 8.4 and MariaDB ≥ 10.6. */
const pingFreshMs = 1000

const dialects = {
  mysql: { name: 'mysql', forUpdate: ' for update', codecs: serverCodecs },
  mariadb: { name: 'mariadb', forUpdate: ' for update', codecs: serverCodecs },
} as const satisfies Record<string, Dialect>

/**
 * Opens a pool and asks the server who it is.
 * @throws StartError when the server cannot be reached or refuses us
 */
export async function openMysql(config: Config['database'], tools: DriverTools): Promise<OpenDatabase> {
  const meters = createMeters(tools.metrics)
  const connections = createConnections(config, tools, meters)
  const { acquireTimeoutMs, queryTimeoutMs } = config
  const dialect = dialects[/mariadb/i.test(await connections.version()) ? 'mariadb' : 'mysql']

  async function once(sql: string, values: readonly SqlValue[], leftMs?: number): Promise<unknown> {
    const connection = await connections.acquire(leftMs)
    try {
      return await connections.execute(connection, sql, values, leftMs)
    } finally {
      connections.release(connection)
    }
  }

  /** One statement is one transaction, so after a deadlock it is safe to run it again, in the time that one may take. */
  async function again(lost: unknown, startedMs: number, sql: string, values: readonly SqlValue[]): Promise<unknown> {
    const endsAtMs = startedMs + acquireTimeoutMs + queryTimeoutMs
    let thrown = lost
    for (let retry = 0; retry < retriesDefault && isContention(thrown); retry++) {
      const pauseMs = retryPauseMs(retry)
      // What waits for a lock must be able to end by itself.
      if (performance.now() + pauseMs + lockWaitMs(queryTimeoutMs) > endsAtMs) break
      meters.txRetries.add()
      await Bun.sleep(pauseMs)
      try {
        return await once(sql, values, endsAtMs - performance.now())
      } catch (next) {
        // Of it nobody knows whether it was undone.
        thrown = isTxTimeout(next) ? databaseErrors.QueryTimeout({ cause: thrown }) : next
      }
    }
    throw thrown
  }

  const autocommit = async (sql: string, values: readonly SqlValue[]): Promise<unknown> => {
    const startedMs = performance.now()
    try {
      return await once(sql, values)
    } catch (thrown) {
      return again(thrown, startedMs, sql, values)
    }
  }

  const { clock, seal, cache, log } = tools
  const base = { dialect, clock, seal, cache }
  const hasWritten = (header: ResultSetHeader) => tools.onWrite?.(positionOf(header))

  function sessionOn(connection: PoolConnection): TxSession {
    let underWay = 0
    let writes = 0
    const counted = async <T>(answer: Promise<T>): Promise<T> => {
      underWay++
      try {
        return await answer
      } finally {
        underWay--
      }
    }
    const ask = (sql: string, values: readonly SqlValue[]) => counted(connections.execute(connection, sql, values))
    const say = (sql: string, txLeftMs?: number) => counted(connections.say(connection, sql, txLeftMs))
    return {
      async all(sql, params = []) {
        meters.reads.add()
        return (await ask(sql, params)) as SqlRow[]
      },
      async first(sql, params = []) {
        meters.reads.add()
        return ((await ask(sql, params)) as SqlRow[])[0]
      },
      async run(sql, params = []) {
        meters.writes.add()
        writes++
        return { changes: ((await ask(sql, params)) as ResultSetHeader).affectedRows }
      },
      async begin(isolation, leftMs) {
        writes = 0
        const endsAtMs = performance.now() + leftMs
        try {
          // Of the next transaction only.
          if (isolation) await say(`set transaction isolation level ${isolation}`, leftMs)
          await say('start transaction', endsAtMs - performance.now())
        } catch (thrown) {
          connections.discard(connection)
          throw thrown
        }
      },
      async commit() {
        const header = (await say('commit')) as ResultSetHeader
        if (writes > 0) hasWritten(header)
      },
      async rollback() {
        // A statement that is still under way would keep it waiting; without a connection the server undoes all.
        if (underWay > 0) connections.discard(connection)
        else await say('rollback').catch(() => connections.discard(connection))
      },
      say: sql => say(sql),
      verdict: thrown => (isContention(thrown) ? 'again' : isLost(thrown) ? 'over' : undefined),
      release: () => connections.release(connection),
    }
  }

  const txDriver: TxDriver = {
    ...base,
    acquire: async leftMs => sessionOn(await connections.acquire(leftMs)),
    log,
    meters,
    limits: config,
  }

  const db: OpenDatabase = {
    ...base,
    inTransaction: false,
    async all(sql, params = []) {
      refuseInsideTx(db)
      meters.reads.add()
      return (await autocommit(sql, params)) as SqlRow[]
    },
    async first(sql, params = []) {
      refuseInsideTx(db)
      meters.reads.add()
      return ((await autocommit(sql, params)) as SqlRow[])[0]
    },
    async run(sql, params = []) {
      refuseInsideTx(db)
      meters.writes.add()
      const header = (await autocommit(sql, params)) as ResultSetHeader
      hasWritten(header)
      return { changes: header.affectedRows }
    },
    ...outside(() => db, txDriver),
    async ping() {
      // Under load every connection is lent out, and whoever has just been answered has asked already.
      if (performance.now() - connections.answeredAtMs() > pingFreshMs) await once('select 1', [])
    },
    close: connections.end,
  }
  return db
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
