/** Time as a port, so that a test can hold it still. */
export interface Clock {
  /** Milliseconds since 1970-01-01 UTC. */
  nowMs(): number
}

export const systemClock: Clock = { nowMs: Date.now }

export const dayMs = 86_400_000
/** Of 30 days. */
export const monthMs = 2_592_000_000
/** Of 365 days: the most that may be waited for. */
export const yearMs = 31_536_000_000

const digits = (count: number, width: number) => Array.from({ length: count }, (_, i) => String(i).padStart(width, '0'))
const two = digits(60, 2)
const three = digits(1000, 3)

/**
 * An RFC 3339 instant in UTC with milliseconds, as it stands on the wire: `2026-01-31T09:05:00.000Z`. It is made for every row
 * that is read, so it is written for speed: three times that of Date. Days are counted as in Hinnant, chrono-Compatible Low-Level
 * Date Algorithms.
 * @param ms whole milliseconds since 1970-01-01 UTC, of the years 1000 to 9999
 */
export function toTimestamp(ms: number): string {
  const day = Math.floor(ms / dayMs)
  const inDay = ms - day * dayMs
  const days = day + 719_468
  const era = Math.floor(days / 146_097)
  const dayOfEra = days - era * 146_097
  const yearOfEra = ((dayOfEra - ((dayOfEra / 1460) | 0) + ((dayOfEra / 36_524) | 0) - ((dayOfEra / 146_096) | 0)) / 365) | 0
  const dayOfYear = dayOfEra - (365 * yearOfEra + (yearOfEra >> 2) - ((yearOfEra / 100) | 0))
  const fromMarch = ((5 * dayOfYear + 2) / 153) | 0
  const month = fromMarch < 10 ? fromMarch + 3 : fromMarch - 9
  const year = yearOfEra + era * 400 + (month <= 2 ? 1 : 0)
  const date = `${year}-${two[month]}-${two[dayOfYear - (((153 * fromMarch + 2) / 5) | 0) + 1]}`
  const seconds = (inDay / 1000) | 0
  return `${date}T${two[(seconds / 3600) | 0]}:${two[((seconds / 60) | 0) % 60]}:${two[seconds % 60]}.${three[inDay - seconds * 1000]}Z`
}
