import type { ScheduleDefinition } from '@/core/schedule/admin'

/** Schedules of every period that divides a minute, and the ticks that they have by plain arithmetic, without an expression or a library. */
export interface Pattern {
  name: string
  periodSeconds: number
  /** A tick is at each second since 1970 that leaves this when it is divided by the period. */
  offsetSeconds: number
}

const periods = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60]
/** Their offsets from UTC are whole minutes, so the seconds of a tick are the same in all. */
const timeZones = ['UTC', 'Europe/Berlin', 'America/St_Johns', 'Asia/Kathmandu', 'Australia/Lord_Howe']

export function patternsOf(count: number): Pattern[] {
  return Array.from({ length: count }, (_, i) => {
    const periodSeconds = periods[i % periods.length] as number
    return { name: `fault.${i}`, periodSeconds, offsetSeconds: (i * 7) % periodSeconds }
  })
}

/** @param task whose payload names an export; there is none of that id, so it does nothing */
export function definitionOf({ name, periodSeconds, offsetSeconds }: Pattern, i: number, task: string): ScheduleDefinition {
  return {
    name,
    cron: cronOf(periodSeconds, offsetSeconds),
    timeZone: timeZones[i % timeZones.length] as string,
    task,
    payload: { exportId: Bun.randomUUIDv7() },
    // A killed worker has its task for a while: with any other rule its schedule would rightly fire less.
    overlap: 'allow',
  }
}

function cronOf(period: number, offset: number): string {
  if (period === 1) return '* * * * * *'
  if (period === 60) return offset === 0 ? '* * * * *' : `${offset} * * * * *`
  return `${offset}-59/${period} * * * * *`
}

/** Its ticks from one instant, itself included, until another, itself not. */
export function ticksWithin({ periodSeconds, offsetSeconds }: Pattern, fromMs: number, untilMs: number): number[] {
  const ticks: number[] = []
  const fromSecond = Math.ceil(fromMs / 1000)
  const first = fromSecond + ((((offsetSeconds - fromSecond) % periodSeconds) + periodSeconds) % periodSeconds)
  for (let second = first; second * 1000 < untilMs; second += periodSeconds) ticks.push(second * 1000)
  return ticks
}

export const isTick = ({ periodSeconds, offsetSeconds }: Pattern, tickMs: number): boolean =>
  tickMs % 1000 === 0 && (tickMs / 1000) % periodSeconds === offsetSeconds
