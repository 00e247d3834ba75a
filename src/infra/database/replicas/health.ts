import type { SqlRow } from '@/core/database'
import { SqlError } from '../errors'

/**
 * Whether a replica may be read, by what it says of itself: MySQL ≥ 8.4 and MariaDB ≥ 10.5 answer `show replica status`, each
 * with names of its own, one row for each source.
 */
export const statusQuery = 'show replica status'

/** Why a replica is not read: a closed set, since it labels a metric. */
export const ailments = ['unreachable', 'no-replica', 'stopped', 'cut-off', 'lagging'] as const
export type Ailment = (typeof ailments)[number]

/** For the log. */
export const ailmentWords: Record<Ailment, string> = {
  unreachable: 'it does not answer',
  'no-replica': 'it replicates from nobody',
  stopped: 'it has stopped to apply what it receives',
  'cut-off': 'it receives nothing from the primary, which answers',
  lagging: 'it is further behind than database.replicaLagMaxMs',
}

/** @returns what is wrong, or undefined when nothing is */
export function ailmentOf(rows: readonly SqlRow[], lagMaxMs: number): Ailment | undefined {
  if (rows.length === 0) return 'no-replica'
  const sources = rows.map(row => ({
    applies: (row['Replica_SQL_Running'] ?? row['Slave_SQL_Running']) === 'Yes',
    receives: (row['Replica_IO_Running'] ?? row['Slave_IO_Running']) === 'Yes',
    // NULL while it receives nothing.
    lagMs: 1000 * Number(row['Seconds_Behind_Source'] ?? row['Seconds_Behind_Master'] ?? 0),
  }))
  if (sources.some(({ applies }) => !applies)) return 'stopped'
  if (sources.some(({ lagMs }) => lagMs > lagMaxMs)) return 'lagging'
  if (sources.some(({ receives }) => !receives)) return 'cut-off'
  return undefined
}

/** Both servers refuse the status to users without the right to it, by this code. */
export const isDenied = (thrown: unknown): boolean => thrown instanceof SqlError && thrown.code === 'ER_SPECIFIC_ACCESS_DENIED_ERROR'

export const missingGrant = {
  mysql: 'grant replication client on *.* to this user',
  mariadb: 'grant replica monitor on *.* to this user',
} as const
