import type { QueueStats } from '@/core/queue/admin'
import type { Seen } from './latency'

/** How snapshots of a queue are written down, in whichever store. */

/** `w3:5 r7:2`: of bucket 3 of the waits five, and of bucket 7 of the runs two. */
export function packSeen({ waits, runs }: Seen): string {
  const words: string[] = []
  for (const [bucket, by] of Object.entries(waits)) words.push(`w${bucket}:${by}`)
  for (const [bucket, by] of Object.entries(runs)) words.push(`r${bucket}:${by}`)
  return words.join(' ')
}

/** Adds up what stands there several times. What cannot be read counts as nothing. */
export function readSeen(text: string): Seen {
  const counts = { w: {} as Record<number, number>, r: {} as Record<number, number> }
  for (const [, kind, bucket, by] of text.matchAll(/\b([wr])(\d{1,3}):(\d{1,15})\b/g)) {
    const own = counts[kind as 'w' | 'r']
    own[Number(bucket)] = (own[Number(bucket)] ?? 0) + Number(by)
  }
  return { waits: counts.w, runs: counts.r }
}

export const packTotal = ({ enqueued, done, failed, crashed, dead, cancelled }: QueueStats['total']): string =>
  `${enqueued} ${done} ${failed} ${crashed} ${dead} ${cancelled}`

export function readTotal(text: string): QueueStats['total'] {
  const [enqueued = 0, done = 0, failed = 0, crashed = 0, dead = 0, cancelled = 0] = text.split(' ').map(Number)
  return { enqueued, done, failed, crashed, dead, cancelled }
}
