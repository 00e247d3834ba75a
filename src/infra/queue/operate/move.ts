import { type Clock, toTimestamp } from '@/core/clock'
import type { NewTask, QueueDriver, StoredTask } from '../driver'

export interface BulkOptions {
  driver: QueueDriver
  clock: Clock
}

/**
 * Moves tasks from one queue to another: they are dead letters at the one, are enqueued under their ids at the other, and go from
 * the one. Whoever is killed between leaves a dead letter that says what to do, and that whoever moves to the same queue moves on:
 * neither is a task lost then, nor is it run twice, unless somebody retries the letter instead.
 *
 * An id that has been in the other queue within 24 hours, and has ended or moved on from there, is known there still: then nobody can
 * tell whether that was an end of this task. It stays a dead letter, and so does one whose unique key another has there.
 * @returns how many have moved
 */
export async function moveTasks({ driver, clock }: BulkOptions, from: string, to: string, tasks: readonly StoredTask[]): Promise<number> {
  const starts = new Map(tasks.map(task => [task.id, startOf(task, from, to)]))
  const answers = await driver.bury(
    from,
    tasks.map(({ id }) => ({ id, error: letterText(from, to, starts.get(id)) })),
  )
  const leaving: NewTask[] = []
  for (const [i, task] of tasks.entries()) {
    const isFresh = answers[i] === 'buried'
    // What has waited may have changed since it was listed; it rests now.
    const resting = isFresh ? await driver.show(from, task.id) : answers[i] === 'dead' ? task : undefined
    if (resting?.envelope === undefined) continue
    // One that was buried just now says by the clock of the store what time that was.
    const nowMs = (isFresh && resting.atMs) || clock.nowMs()
    const delayMs = Math.max(0, (starts.get(task.id) ?? 0) - nowMs)
    leaving.push(newTaskOf(resting, resting.envelope, delayMs))
  }
  if (leaving.length === 0) return 0
  const replies = await driver.enqueue(to, leaving)
  const there: string[] = []
  for (const { id, status } of replies) {
    if (status === 'enqueued' || (status === 'duplicate' && (await driver.show(to, id)))) there.push(id)
  }
  if (there.length === 0) return 0
  const removed = await driver.remove(from, there)
  return removed.filter(answer => answer === 'removed').length
}

/** A move that did not come to its end has left it. */
export const isHalfMoved = ({ state, errors }: StoredTask, from: string, to: string): boolean =>
  state === 'dead' && (errors.at(-1)?.message.startsWith(letterText(from, to)) ?? false)

const notBefore = '; not before '
const letterText = (from: string, to: string, startMs?: number) =>
  `is on its way to the queue ${to}: when it stays here, move it again, by 'bingo task move --queue=${from} --to=${to}'` +
  (startMs === undefined ? '' : `${notBefore}${toTimestamp(startMs)}`)

/** When it may start, of one that is scheduled, or was when a move that has not come to its end has buried it. */
function startOf(task: StoredTask, from: string, to: string): number | undefined {
  if (task.state === 'scheduled') return task.atMs
  const said = isHalfMoved(task, from, to) ? task.errors.at(-1)?.message.split(notBefore)[1] : undefined
  const startMs = said === undefined ? Number.NaN : Date.parse(said)
  return Number.isNaN(startMs) ? undefined : startMs
}

const newTaskOf = ({ id, priority, unique, lane }: StoredTask, envelope: string, delayMs: number): NewTask => ({
  id,
  isIdKept: true,
  priority,
  delayMs,
  ...(unique && { unique }),
  ...(lane !== undefined && { lane }),
  envelope,
})
