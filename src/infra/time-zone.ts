/** What a zone's clocks show, from the zone data of the runtime. Offsets change at most a few times a year, so they are asked for once and kept. */
export interface TimeZone {
  /** @param ms since 1970 */
  at(ms: number): Span
}

/** A time in which a zone's offset stays as it is. */
export interface Span {
  /** The first millisecond; -Infinity when it was never another. */
  readonly fromMs: number
  /** The first millisecond after it; Infinity when no change is known. */
  readonly untilMs: number
  /** What its clocks are ahead of UTC. */
  readonly offsetMs: number
}

/** Of each zone those asked for last: schedules look at today and at their next ticks. */
const spansKeptMax = 16
/** Only of zones that there are, which are some hundreds. */
const known = new Map<string, TimeZone>()

/** @throws RangeError when there is no such zone */
export function timeZoneOf(name: string): TimeZone {
  const zone = known.get(name) ?? openZone(name)
  known.set(name, zone)
  return zone
}

function openZone(name: string): TimeZone {
  const spans: Span[] = [spanAt(name, 0)]
  return {
    at(ms) {
      const found = spans.find(({ fromMs, untilMs }) => fromMs <= ms && ms < untilMs)
      if (found) return found
      const span = spanAt(name, ms)
      spans.unshift(span)
      if (spans.length > spansKeptMax) spans.pop()
      return span
    },
  }
}

function spanAt(name: string, ms: number): Span {
  const at = Temporal.Instant.fromEpochMilliseconds(ms).toZonedDateTimeISO(name)
  // The one before an instant is never at it.
  const from = at.add({ milliseconds: 1 }).getTimeZoneTransition('previous')
  const until = at.getTimeZoneTransition('next')
  return {
    fromMs: from?.epochMilliseconds ?? Number.NEGATIVE_INFINITY,
    untilMs: until?.epochMilliseconds ?? Number.POSITIVE_INFINITY,
    offsetMs: at.offsetNanoseconds / 1e6,
  }
}
