import type { TaskState } from './admin'

/** What is done with many tasks of a queue at once. */
export type Bulk = BulkScope & ({ action: 'retry' | 'delete' | 'cancel' } | { action: 'move'; to: string })
export type BulkAction = Bulk['action']

export interface BulkScope {
  /** All that the action is about when absent. */
  filter?: TaskFilter
  /** Only counts what would be done. */
  isDryRun?: boolean
  /** No more than so many are tried, from 1. */
  limit?: number
  /**
   * For who does it a part at a time: with `''` progress says at the end of each page where another call goes on, which says that then. Of another
   * action, filter or queue it is refused.
   */
  pageToken?: string
}

/** All that is said must hold of a task. */
export interface TaskFilter {
  /** Of those that the action is about, see `bulkStates`; all of them when absent. */
  states?: readonly TaskState[]
  /** Its name. */
  task?: string
  /** Dead letters since they died, others since they were enqueued; from 0. */
  olderThanMs?: number
  /** Text that its last error contains, capitals and all. */
  error?: string
}

/** Of which states tasks can be retried, and so on, in the order in which they are gone through: as tasks go from one to the next. */
export const bulkStates = {
  retry: ['dead'],
  cancel: ['held', 'scheduled', 'waiting', 'active'],
  delete: ['held', 'scheduled', 'waiting', 'done', 'dead'],
  move: ['dead', 'scheduled', 'waiting'],
} as const satisfies Record<BulkAction, readonly TaskState[]>

/** How far it is. The last one says `isOver`. */
export interface BulkProgress {
  /** How many there were in these states at the start. */
  total: number
  seen: number
  matched: number
  done: number
  /** What was in another state by the time its turn came, or could not be done. */
  skipped: number
  isOver: boolean
  /** Where another call goes on, when it was asked for, and it is not over, and nothing of what was seen is left to be done. */
  nextPageToken?: string
}

/** Dead letters that died of the same. */
export interface ErrorGroup {
  /** Absent when what is stored of them cannot be read. */
  task?: string
  /** The last error of each, with numbers, ids and quoted texts replaced by what they are; at most 200 characters. Empty when none was noted. */
  error: string
  count: number
  /** When the first and the last of them died. */
  oldest: string
  newest: string
  /** The one that died last. */
  sampleId: string
}

export interface ErrorGroups {
  /** The largest first, at most 100. */
  groups: ErrorGroup[]
  /** Dead letters that were looked at, newest first. */
  scanned: number
  /** Those of them that are in none of the groups, since there are more. */
  others: number
  /** There are more dead letters than were looked at. */
  isPartial: boolean
}
