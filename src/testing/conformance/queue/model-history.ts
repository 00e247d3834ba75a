import type { QueueStats } from '@/core/queue/admin'
import { historyMs, type Snapshot, snapshotEveryMs } from '@/infra/queue/driver'
import type { Counts, Seen } from '@/infra/queue/latency'

/** What the model has counted, and been told, and when. Newest first. */
export type ModelHistory = { atMs: number; total: QueueStats['total']; seen: Seen }[]

export function noteHistory(
  { history, total }: { history: ModelHistory; total: QueueStats['total'] },
  nowMs: number,
  seen = nothing,
): void {
  const newest = history[0]
  if (newest && nowMs - newest.atMs < snapshotEveryMs)
    newest.seen = { waits: sum(newest.seen.waits, seen.waits), runs: sum(newest.seen.runs, seen.runs) }
  else history.unshift({ atMs: nowMs, total: { ...total }, seen })
}

export const snapshots = (history: ModelHistory, nowMs: number): Snapshot[] =>
  history.map(({ atMs, total, seen }) => ({ agoMs: nowMs - atMs, total, seen })).filter(({ agoMs }) => agoMs <= historyMs)

const nothing: Seen = { waits: {}, runs: {} }

function sum(a: Counts, b: Counts): Counts {
  const all: Record<number, number> = { ...a }
  for (const [bucket, by] of Object.entries(b)) all[Number(bucket)] = (all[Number(bucket)] ?? 0) + by
  return all
}
