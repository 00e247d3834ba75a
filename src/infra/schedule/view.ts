import { toTimestamp } from '@/core/clock'
import type { ScheduleView, TickView } from '@/core/schedule/admin'
import type { TickRow } from './history'
import { isDeclared, type ScheduleRow } from './rows'
import { nextTicks } from './ticks'

/** What of rows is shown to operators. */

const nextShown = 5

export function scheduleView(row: ScheduleRow, nowMs: number): ScheduleView {
  const {
    id,
    name,
    origin,
    cron,
    timeZone,
    task,
    payload = null,
    overlap,
    catchUp,
    catchUpWindowMs,
    jitterMs,
    isPaused,
    missed,
    version,
  } = row
  return {
    ...{ id, name, origin, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs, isPaused },
    next: nextOf(row, nowMs),
    ...(row.lastTickMs !== null && { lastTick: toTimestamp(row.lastTickMs) }),
    ...{ missed, createdAt: toTimestamp(row.createdAtMs), updatedAt: toTimestamp(row.updatedAtMs), version },
  }
}

function nextOf(row: ScheduleRow, nowMs: number): string[] {
  if (row.isPaused || (row.origin === 'code' && !isDeclared(row, nowMs))) return []
  try {
    // A tick whose jitter has not passed is still to be fired.
    return nextTicks(row, Math.max(row.cursorMs, nowMs - row.jitterMs), nextShown).map(toTimestamp)
  } catch {
    // Somebody has changed it by hand, or made it with another version. It never comes, and can be mended as it is shown.
    return []
  }
}

export const tickView = ({ tickMs, what, count, atMs, lateMs, taskId, outcome }: TickRow): TickView => ({
  ...{ tick: toTimestamp(tickMs), what, count, at: toTimestamp(atMs), lateMs: Math.max(0, lateMs) },
  ...(taskId !== null && { taskId }),
  ...(outcome !== null && { outcome }),
})
