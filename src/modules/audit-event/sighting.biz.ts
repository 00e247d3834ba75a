import type { Log } from '@/core/log'
import type { Ends } from './chain'

/**
 * What this process has seen of the end of the log. Whoever sets back the database, rows and head together, has a log that was true once; a process
 * that has seen more of it tells, for as long as it runs.
 */
export function createSighting(log: Pick<Log, 'error'>) {
  let seen: Ends | undefined

  return {
    /** @param head as it was committed */
    keep(head: Ends): void {
      if (!seen || head.begunAt !== seen.begunAt || head.seq > seen.seq) seen = head
    },
    /**
     * Asked before the head is read, since it goes on meanwhile.
     * @returns what tells whether a head may follow what was seen until then, and logs that it may not
     */
    watch(): { seen: Ends | undefined; isBehind(head: Ends | undefined): boolean } {
      const before = seen
      return {
        seen: before,
        isBehind(head) {
          if (!before || (head && isAfter(before, head))) return false
          tellBack(log, before, head)
          return true
        },
      }
    },
  }
}
export type Sighting = ReturnType<typeof createSighting>

/** It is said each time that it is found, until the process is started anew. */
export const tellBack = (log: Pick<Log, 'error'>, seen: Ends, head: Ends | undefined): void =>
  log.error('the audit log was set back: this process has seen more of it than there is; see bingo audit verify --head', {
    seen: linkText(seen),
    ...(head && { head: linkText(head) }),
  })

const isAfter = (before: Ends, head: Ends): boolean =>
  head.begunAt === before.begunAt && (head.seq > before.seq || (head.seq === before.seq && head.hash === before.hash))

/** As `bingo audit verify --head` takes it. */
export const linkText = ({ seq, hash }: Pick<Ends, 'seq' | 'hash'>): string => `${seq}:${hash}`
