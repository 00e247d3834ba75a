import type { Metrics } from '@/core/metrics'

/** What the databases of a process count; those that count one thing share its counter. */
export interface Meters {
  /** Statements sent, before it is known how they end. */
  reads: Count
  writes: Count
  slowQueries: Count
  queryTimeouts: Count
  acquireTimeouts: Count
  /** Of those who had to wait. */
  acquireWaitSeconds: { observe(value: number): void }
  txRetries: Count
  txHeldLong: Count
  savepointsUndone: Count
  /** @returns what ends it, for a database that is closed */
  showConnections(read: { open(): number; inUse(): number; waiting(): number }): () => void
}

interface Count {
  add(by?: number): void
}

const waitBuckets = [0.001, 0.005, 0.025, 0.1, 0.5, 1, 2.5, 5, 10]

export function createMeters(metrics: Metrics): Meters {
  const count = (name: string, help: string) => metrics.counter({ name, help }).with({})
  const statements = metrics.counter({
    name: 'bingo_database_statements_total',
    help: 'Statements sent, by kind: read or write. Those that begin and end transactions are not counted.',
    labels: ['kind'],
  })
  return {
    reads: statements.with({ kind: 'read' }),
    writes: statements.with({ kind: 'write' }),
    slowQueries: count('bingo_database_slow_queries_total', 'Statements that took longer than database.slowQueryMs.'),
    queryTimeouts: count('bingo_database_query_timeouts_total', 'Statements that took longer than database.queryTimeoutMs.'),
    acquireTimeouts: count(
      'bingo_database_acquire_timeouts_total',
      'Callers who waited for a connection, or for their turn to write, longer than database.acquireTimeoutMs.',
    ),
    acquireWaitSeconds: metrics
      .histogram({
        name: 'bingo_database_acquire_wait_seconds',
        help: 'How long those waited for a connection, or for their turn to write, who had to wait.',
        buckets: waitBuckets,
      })
      .with({}),
    txRetries: count('bingo_database_transaction_retries_total', 'Transactions run again after a deadlock or a lock that was not given.'),
    txHeldLong: count(
      'bingo_database_transactions_held_long_total',
      'Transactions that held their connection longer than database.leakWarnMs.',
    ),
    savepointsUndone: count('bingo_database_savepoints_undone_total', 'Savepoints that were rolled back inside a transaction.'),
    showConnections({ open, inUse, waiting }) {
      const ends = [
        metrics.gauge({ name: 'bingo_database_connections', help: 'Connections that are open.' }, open),
        metrics.gauge({ name: 'bingo_database_connections_in_use', help: 'Connections that are lent out; on SQLite, the writer.' }, inUse),
        metrics.gauge({ name: 'bingo_database_waiting', help: 'Callers that wait for a connection, or for their turn to write.' }, waiting),
      ]
      return () => {
        for (const end of ends) end()
      }
    },
  }
}
