import type { QueueStats } from '@/core/queue/admin'
import type { Snapshot } from '../driver'
import { percentilesOf } from '../latency'

const rateMs = 60_000
const latencyMs = 3_600_000

/**
 * What the history of a queue says of how it goes now.
 * @param total as it is now
 * @param history newest first
 */
export function paceOf(total: QueueStats['total'], history: readonly Snapshot[]): Pick<QueueStats, 'rates' | 'latencies'> {
  const recent = history.filter(({ agoMs }) => agoMs <= latencyMs)
  const overMs = recent.at(-1)?.agoMs ?? 0
  const [wait, run] = [percentilesOf(recent.map(({ seen }) => seen.waits)), percentilesOf(recent.map(({ seen }) => seen.runs))]
  const rates = ratesOf(total, history)
  return {
    ...(rates && { rates }),
    ...((wait || run) && { latencies: { overMs, ...(wait && { wait }), ...(run && { run }) } }),
  }
}

/** Between two snapshots, all is taken to have gone evenly. */
function ratesOf(total: QueueStats['total'], history: readonly Snapshot[]): QueueStats['rates'] {
  const points = [{ agoMs: 0, total }, ...history]
  const at = points.findIndex(({ agoMs }) => agoMs >= rateMs)
  const [older, newer] = [points.at(at), points[at - 1]]
  if (!older || older.agoMs <= 0) return undefined
  const isBetween = newer !== undefined && newer.agoMs > 0 && at > 0
  const overMs = isBetween ? rateMs : older.agoMs
  const share = isBetween ? (rateMs - newer.agoMs) / (older.agoMs - newer.agoMs) : 1
  const perSecond = (name: keyof QueueStats['total']): number => {
    const from = isBetween ? newer.total[name] + (older.total[name] - newer.total[name]) * share : older.total[name]
    // Counters that the store has lost since go back.
    return Math.max(0, Math.round(((total[name] - from) / overMs) * 1_000_000) / 1000)
  }
  return {
    overMs,
    ...{ enqueued: perSecond('enqueued'), done: perSecond('done'), failed: perSecond('failed') },
    ...{ crashed: perSecond('crashed'), dead: perSecond('dead'), cancelled: perSecond('cancelled') },
  }
}
