/**
 * When ticks are to come, found out the slow way: minute by minute by what clocks show, with the offsets of `Intl.DateTimeFormat`. It knows no cron
 * library, reads no expressions, and shares nothing with `src/infra/cron.ts`.
 */
export interface Pattern {
  /** The same for the calculator. */
  cron: string
  /** Whether it says times of day, or a rhythm. */
  says: 'times' | 'rhythm'
  /** Of a minute; 0 when absent. */
  seconds?: readonly number[]
  minutes: readonly number[]
  hours: readonly number[]
  /** Whether it comes on this day. `day` is from 1, Sunday is 0. All days when absent. */
  isOn?: (day: number, weekday: number, month: number) => boolean
}

export interface Period {
  fromMs: number
  untilMs: number
}

const minuteMs = 60_000
const hourMs = 3_600_000
const dayMs = 86_400_000

/** Changes of a zone's offset, the first at the beginning of the period. */
export interface Offsets {
  changes: { atMs: number; offsetMs: number }[]
}

/** @param stepMs no two changes are as near; 6 hours where it is to be sure, more to see whether there is any */
export function offsetsOf(timeZone: string, { fromMs, untilMs }: Period, stepMs = 6 * hourMs): Offsets {
  const format = new Intl.DateTimeFormat('en-US', {
    ...{
      timeZone,
      hourCycle: 'h23',
      year: 'numeric',
      month: 'numeric',
      day: 'numeric',
      hour: 'numeric',
      minute: 'numeric',
      second: 'numeric',
    },
  })
  const offsetAt = (ms: number) => {
    const [month = 0, day, year = 0, hour, minute, second] = (format.format(ms).match(/\d+/g) ?? []).map(Number)
    return Date.UTC(year, month - 1, day, hour, minute, second) - ms
  }
  const changes = [{ atMs: fromMs, offsetMs: offsetAt(fromMs) }]
  for (let ms = fromMs; ms < untilMs; ms += stepMs) {
    const offsetMs = offsetAt(ms + stepMs)
    const before = changes.at(-1)?.offsetMs
    if (offsetMs === before) continue
    let [low, high] = [ms, ms + stepMs]
    while (high - low > minuteMs) {
      const middle = low + Math.floor((high - low) / (2 * minuteMs)) * minuteMs
      if (offsetAt(middle) === before) low = middle
      else high = middle
    }
    changes.push({ atMs: high, offsetMs })
  }
  return { changes }
}

/**
 * All ticks of a period, in order. A rhythm comes whenever the clocks show it. Of times of day each comes when the clocks show it for the first time, or,
 * when they skip it, as soon as they show more.
 */
export function ticksOf(pattern: Pattern, { changes }: Offsets, { fromMs, untilMs }: Period): number[] {
  const { says, seconds = [0] } = pattern
  const isOn = shows(pattern)
  const ticks: number[] = []
  let at = changes.findLastIndex(change => change.atMs <= fromMs)
  // The latest minute that the clocks have shown.
  let latest = fromMs + (changes[at]?.offsetMs ?? 0) - minuteMs
  for (let ms = fromMs; ms < untilMs; ms += minuteMs) {
    if ((changes[at + 1]?.atMs ?? Number.POSITIVE_INFINITY) <= ms) at++
    const shown = ms + (changes[at]?.offsetMs ?? 0)
    if (says === 'rhythm') {
      if (isOn(shown)) for (const second of seconds) ticks.push(ms + second * 1000)
      continue
    }
    if (shown <= latest) continue
    let isSkipped = false
    for (let skipped = latest + minuteMs; skipped < shown; skipped += minuteMs) isSkipped ||= isOn(skipped)
    if (isSkipped) ticks.push(ms)
    if (isOn(shown)) for (const second of seconds) if (!isSkipped || second > 0) ticks.push(ms + second * 1000)
    latest = shown
  }
  return ticks
}

/** Whether a minute, as clocks show it, is one of a pattern's. */
function shows({ minutes, hours, isOn = () => true }: Pattern): (shownMs: number) => boolean {
  const isMinute = new Uint8Array(1440)
  for (const hour of hours) for (const minute of minutes) isMinute[hour * 60 + minute] = 1
  const days = new Map<number, boolean>()
  return shownMs => {
    if (isMinute[(shownMs % dayMs) / minuteMs] !== 1) return false
    const day = Math.floor(shownMs / dayMs)
    const known = days.get(day)
    if (known !== undefined) return known
    const date = new Date(day * dayMs)
    const is = isOn(date.getUTCDate(), date.getUTCDay(), date.getUTCMonth() + 1)
    days.set(day, is)
    return is
  }
}
