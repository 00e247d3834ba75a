import type { WritePositions } from '@/core/caller'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'

/** What every driver is given: for the stores on it, and to say what it does. */
export interface DriverTools extends Pick<Database, 'clock' | 'seal' | 'cache'> {
  log: Log
  metrics: Metrics
  /**
   * Called after each `run` outside a transaction and each commit of a transaction with one, before the promise resolves.
   * @param position the GTID of that write; undefined when the server gives none, as for a write that changed nothing
   */
  onWrite?: ((position: string | undefined) => void) | undefined
  /** Where there are replicas: the last writes of actors, for all processes. Those of this process alone when absent. */
  writePositions?: WritePositions | undefined
}

/** What every driver opens. */
export interface OpenDatabase extends Database {
  /** Makes one more who is told what \`changedElsewhere\` tells: each once, and only of what comes after. On SQLite only. */
  elsewhereReader?(): () => boolean
  /** @throws Unavailable or Timeout when the next request would not be answered either */
  ping(): Promise<void>
  /** The servers behind it, where there are several: each by itself, whether it is there. */
  servers?: readonly { name: string; check(): Promise<void> }[]
  /** Lets what is under way finish, then closes. */
  close(): Promise<void>
}
