import { expect } from 'bun:test'
import { tickTaskId } from '@/core/schedule/schedule'
import { isTick, type Pattern, ticksWithin } from './patterns'
import type { ScheduleScene } from './scene'

/** A schedule as it is stored, and the ticks it must have had. */
export type KnownPattern = Pattern & { id: string }

export interface Lateness {
  count: number
  p50Ms: number
  p99Ms: number
  mostMs: number
}

export interface Audited {
  /** How many ticks there were to be. */
  expected: number
  /** Of ticks while nobody was killed, down or starting. */
  healthy: Lateness
  all: Lateness
}

/**
 * Of each schedule every tick of a time has one task, and no other instant has any: in the database, as its triggers saw it; in the history; and
 * in the queue, which has seen each of them end.
 * @param fromMs all schedules were there before, and all that fire them. @param untilMs none was paused or removed before
 */
export async function auditTicks(
  scene: ScheduleScene,
  patterns: readonly KnownPattern[],
  fromMs: number,
  untilMs: number,
): Promise<Audited> {
  const expected = new Map(
    patterns.flatMap(pattern => ticksWithin(pattern, fromMs, untilMs).map(tickMs => [tickTaskId(pattern.id, tickMs), tickMs])),
  )
  const byId = new Map(patterns.map(pattern => [pattern.id, pattern]))
  const isOfPattern = (scheduleId: string, tickMs: number) => {
    const pattern = byId.get(scheduleId)
    return pattern !== undefined && isTick(pattern, tickMs)
  }

  const tasks = await scene.witness.tasks()
  const ids = tasks.map(({ id }) => id)
  const seen = new Set(ids)
  expect([...expected.keys()].filter(id => !seen.has(id))).toEqual([])
  expect(repeated(ids)).toEqual([])
  expect(ids.filter(id => !isOfPattern(...partsOf(id)))).toEqual([])

  const ticks = await scene.witness.ticks()
  const fired = ticks.filter(({ what }) => what === 'fired')
  // What is due when somebody pauses its schedule, and is not fired yet, never is.
  expect(ticks.filter(tick => !fired.includes(tick) && tick.tickMs < untilMs)).toEqual([])
  expect(fired.map(({ scheduleId, tickMs }) => tickTaskId(scheduleId, tickMs)).toSorted()).toEqual(ids.toSorted())
  expect(await scene.witness.movedBack()).toBe(0)

  expect((await scene.remembered()).toSorted()).toEqual(ids.toSorted())
  const { dead, total } = await scene.stats()
  expect({ dead, enqueued: total.enqueued, done: total.done }).toEqual({ dead: 0, enqueued: ids.length, done: ids.length })

  const lateOf = ({ id, atMs }: { id: string; atMs: number }) => atMs - (expected.get(id) ?? Number.NaN)
  const timely = tasks.filter(({ id }) => expected.has(id))
  return {
    expected: expected.size,
    healthy: latenessOf(timely.filter(({ id }) => scene.isHealthy(expected.get(id) ?? 0)).map(lateOf)),
    all: latenessOf(timely.map(lateOf)),
  }
}

function repeated(ids: readonly string[]): string[] {
  const once = new Set<string>()
  return ids.filter(id => once.size === once.add(id).size)
}

function partsOf(taskId: string): [string, number] {
  const [, scheduleId = '', tick] = taskId.split(':')
  return [scheduleId, Number(tick)]
}

function latenessOf(lateMs: readonly number[]): Lateness {
  const sorted = lateMs.toSorted((a, b) => a - b)
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN
  return { count: sorted.length, p50Ms: at(0.5), p99Ms: at(0.99), mostMs: at(1) }
}
