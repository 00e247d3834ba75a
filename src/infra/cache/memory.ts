import { type Cache, type CacheEntry, type CacheRule, renewAfter } from '@/core/cache'
import { createLru } from './lru'
import { createFloors } from './floors'
import { createFlights, type Flight } from './flights'
import { type CacheMetrics, countedLoad } from './metrics'
import { forgotten, isOlder, type Known, lifeOf, saysVersion, systemTiming, type Timing, unknownVersion } from './timing'

/** Copies in this process. */
export interface Memory {
  readonly bytes: number
  readonly size: number
  fetch<T>(key: string, load: () => Promise<Found<T>>, rule: CacheRule<T>): Promise<T | undefined>
  /** What is there now; nothing older is kept after it. */
  put<T>(key: string, entry: CacheEntry<T>, rule: CacheRule<T>): void
  /** Forgets what is known; what is being read now is not kept. */
  drop(key: string): void
  clear(): void
}

/** What a load found, and how long it may be kept, counted from when the load began: as the rule says when absent, 0 for not. */
export interface Found<T> extends CacheEntry<T> {
  keepMs?: number
}

export interface MemoryOptions {
  /** Of all copies, as far as they can be told: their packed text at two bytes a character, their key, and what holds them. */
  bytesMax: number
  /** No copy lives longer, whatever its rule says. */
  lifeMaxMs?: number
  metrics: CacheMetrics
  timing?: Timing
}

/** A copy in its map, and its share of the tables, measured on rows of ten columns. */
const overheadBytes = 250
/** After a renewal begins, how long before the next may: one that fails is not repeated with each read. */
const renewPauseMs = 1000

export function createMemory({ bytesMax, lifeMaxMs = Number.POSITIVE_INFINITY, metrics, timing = systemTiming }: MemoryOptions): Memory {
  const copies = createLru(bytesMax, metrics.evicted.add)
  const floors = createFloors(timing)
  const flights = createFlights(timing)

  function keep<T>(key: string, entry: Found<T>, rule: CacheRule<T>, sinceMs: number) {
    const lifeMs = lifeOf(entry, rule, timing.random, Math.min(lifeMaxMs, entry.keepMs ?? lifeMaxMs))
    const packed = entry.value === undefined ? 0 : rule.pack(entry.value).length
    copies.set(key, {
      value: entry.value,
      version: entry.version,
      endsAtMs: sinceMs + lifeMs,
      renewAtMs: sinceMs + lifeMs * renewAfter,
      bytes: (packed + key.length) * 2 + overheadBytes,
    })
  }

  /** The newest that is known of a key, be it kept or not. */
  function known(key: string): Known | undefined {
    const floor = floors.get(key)
    const copy = copies.get(key)
    if (!copy || timing.nowMs() >= copy.endsAtMs || (floor && floor.version >= copy.version)) return floor
    return { version: copy.version, isAbsent: copy.value === undefined }
  }

  function fill<T>(key: string, found: Found<T>, rule: CacheRule<T>, flight: Flight) {
    const newest = known(key)
    const isForgotten = newest?.version === unknownVersion
    // What is absent has no version to compare: there the flight decides alone.
    const isOld = found.value !== undefined && newest !== undefined && !isForgotten && isOlder(found.version, newest)
    if (flight.isVoid || isOld || found.keepMs === 0) return metrics.memory.refused.add()
    if (isForgotten && found.value !== undefined) floors.set(key, { version: found.version, isAbsent: false })
    keep(key, found, rule, flight.startedAtMs)
  }

  function load<T>(key: string, from: () => Promise<Found<T>>, rule: CacheRule<T>): Promise<T | undefined> {
    return flights.join(key, async flight => {
      const found = await from()
      fill(key, found, rule, flight)
      return found.value
    })
  }

  function drop(key: string) {
    flights.void(key)
    copies.delete(key)
    floors.set(key, forgotten)
  }

  return {
    get bytes() {
      return copies.bytes
    },
    get size() {
      return copies.size
    },
    fetch(key, from, rule) {
      const copy = copies.get(key)
      const now = timing.nowMs()
      if (copy && now < copy.endsAtMs) {
        metrics.memory.hit.add()
        if (now >= copy.renewAtMs && !flights.isUnderWay(key)) {
          copy.renewAtMs = now + renewPauseMs
          // Whoever reads after the copy has ended sees the failure, if it lasts.
          load(key, from, rule).catch(() => {})
        }
        return Promise.resolve(own(copy.value as ValueOf<typeof rule>, rule))
      }
      metrics.memory.miss.add()
      return load(key, from, rule).then(value => own(value, rule))
    },
    put(key, entry, rule) {
      const newest = known(key)
      const mayBeOld = newest === undefined ? floors.isForgetful() : newest.version === unknownVersion
      if (mayBeOld) return drop(key)
      flights.void(key)
      if (newest && isOlder(entry.version, newest)) return
      floors.set(key, { version: entry.version, isAbsent: entry.value === undefined })
      keep(key, entry, rule, timing.nowMs())
    },
    drop,
    clear() {
      flights.voidAll()
      copies.clear()
      floors.clear()
    },
  }
}

type ValueOf<R> = R extends CacheRule<infer T> ? T | undefined : never

/** Copies belong to nobody: each reader gets its own. */
const own = <T>(value: T | undefined, rule: CacheRule<T>): T | undefined => (value === undefined ? undefined : rule.copy(value))

export function observeMemory(memory: Memory, { gauge }: CacheMetrics): void {
  gauge({ name: 'bingo_cache_memory_bytes', help: 'Estimated size of the copies in memory.' }, () => memory.bytes)
  gauge({ name: 'bingo_cache_memory_entries', help: 'Copies in memory.' }, () => memory.size)
}

/**
 * A cache in this process alone.
 * @param changedElsewhere whether another process has written to the database since it was last asked; then nothing is known
 */
export function memoryCache(options: MemoryOptions, changedElsewhere: () => boolean = () => false): Cache {
  const { metrics } = options
  const memory = createMemory(options)
  observeMemory(memory, metrics)

  return {
    fetch(key, load, rule) {
      if (changedElsewhere()) {
        metrics.changedElsewhere.add()
        memory.clear()
      }
      return memory.fetch(key, () => countedLoad(load, metrics), rule)
    },
    async write(changes) {
      metrics.changedHere.add(changes.length)
      for (const { key, entry, rule } of changes) {
        if (saysVersion(entry)) memory.put(key, entry, rule)
        else memory.drop(key)
      }
    },
    close: async () => memory.clear(),
  }
}
