import { type Database, UniqueViolation } from '@/core/database'
import type { Log } from '@/core/log'
import { catchUpMax } from '@/core/schedule/schedule'
import type { ScheduleHistory, TickRow } from './history'
import type { ScheduleRow } from './rows'
import { decide } from './ticks'

/** What becomes of ticks that an edit leaves behind: nobody fires them any more, and the history says so. */
export interface Passing {
  /** Those before the edit that nobody has fired yet. @returns how many */
  missed(): Promise<number>
  /** The one that waits for the end of a task. @returns what is buffered then: nothing */
  letBuffered(): Promise<null>
}

interface PassedBy {
  tx: Database
  history: ScheduleHistory
  log: Log
  row: ScheduleRow
  atMs: number
}

export function passBy({ tx, history, log, row, atMs }: PassedBy): Passing {
  const scheduleId = row.id
  const left = { scheduleId, atMs, taskId: null, outcome: null }
  /** One that is there already was decided, whatever the cursor says: that must not keep anybody from the edit. */
  const add = (tick: TickRow) =>
    tx
      .tx(inner => history.add(inner, [tick]))
      .catch((thrown: unknown) => {
        if (!(thrown instanceof UniqueViolation)) throw thrown
      })
  return {
    async missed() {
      const passed = passedOf(row, atMs)
      if (!passed) return 0
      const { fromMs: tickMs, count } = passed
      await add({ ...left, tickMs, what: 'missed', count: Math.min(count, catchUpMax), lateMs: atMs - tickMs })
      await tx.afterCommit(() => log.warn('ticks of a schedule were missed before it was changed', { schedule: row.name, ...passed }))
      return count
    },

    async letBuffered() {
      const { bufferedMs: tickMs } = row
      if (tickMs === null) return null
      await history.dropBuffered(tx, [{ scheduleId, tickMs }])
      await add({ ...left, tickMs, what: 'skipped', count: 1, lateMs: atMs - tickMs })
      return null
    },
  }
}

function passedOf({ id, fault: _, ...row }: ScheduleRow, nowMs: number): { fromMs: number; count: number } | undefined {
  // Also those whose jitter has not passed: after the edit they do not come any more.
  const rules = { ...row, catchUp: 'none', jitterMs: 0 } as const
  try {
    const { ticks, missed } = decide({ scheduleId: id, rules, cursorMs: row.cursorMs, nowMs })
    const fromMs = missed?.fromMs ?? ticks[0]?.tickMs
    return fromMs === undefined ? undefined : { fromMs, count: (missed?.count ?? 0) + ticks.length }
  } catch {
    // Somebody has changed it by hand into what never comes.
    return undefined
  }
}
