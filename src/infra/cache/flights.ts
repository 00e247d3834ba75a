import { rememberedMs, type Timing } from './timing'

/** One load of a key for all who ask for it meanwhile. */
export interface Flights {
  /** Joins the load of `key` that is under way, or begins one. */
  join<T>(key: string, begin: (flight: Flight) => Promise<T>): Promise<T>
  isUnderWay(key: string): boolean
  /** What is under way may be old: it still answers those who wait for it, but nobody joins it and it fills nothing. */
  void(key: string): void
  voidAll(): void
}

export interface Flight {
  readonly startedAtMs: number
  isVoid: boolean
}

export function createFlights(timing: Timing): Flights {
  const underWay = new Map<string, Flight & { landing: Promise<unknown> }>()

  return {
    join<T>(key: string, begin: (flight: Flight) => Promise<T>): Promise<T> {
      const now = timing.nowMs()
      const found = underWay.get(key)
      // What takes longer than writes are remembered is not waited for by more, and could fill something old.
      if (found && now - found.startedAtMs < rememberedMs) return found.landing as Promise<T>
      if (found) found.isVoid = true
      const flight = { startedAtMs: now, isVoid: false, landing: undefined as unknown as Promise<T> }
      underWay.set(key, flight)
      flight.landing = begin(flight).finally(() => {
        if (underWay.get(key) === flight) underWay.delete(key)
      })
      return flight.landing
    },
    isUnderWay: key => underWay.has(key),
    void(key) {
      const flight = underWay.get(key)
      if (!flight) return
      flight.isVoid = true
      underWay.delete(key)
    },
    voidAll() {
      for (const flight of underWay.values()) flight.isVoid = true
      underWay.clear()
    },
  }
}
