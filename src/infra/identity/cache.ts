import type { Clock } from '@/core/clock'
import type { Identified, Identifier, Identity, Subject } from '@/core/identity'
import { type Epoch, type Rememberer, revocationErrors } from './epoch'

/** Tells who has sent a credential: from memory where it can. One for each server, since a credential is good at one of them. */
export interface Recognizer {
  /** From memory alone. */
  remembered(credential: string): Identity | undefined
  /**
   * Asks whoever takes such a credential. Callers with the same share one question.
   * @returns undefined when it is not valid
   * @throws Unavailable when it cannot be told
   */
  recognize(credential: string): Promise<Identity | undefined>
}

/** What the recognizers of a process remember. */
export interface Memory extends Rememberer {
  recognizer(identifiers: readonly Identifier[], epoch: Pick<Epoch, 'isFresh' | 'refresh'>): Recognizer
}

/** Of each server: one that has not been used for long makes room. */
const entriesMax = 10_000
const usedEveryMs = 60_000
/** Then they are asked for anew: should a change ever be missed, it is missed for no longer. */
const rememberedMaxMs = 600_000
/** What changes while it is asked is asked again so often. */
const attemptsMax = 5

interface Entry {
  readonly credential: string
  readonly identified: Identified
  readonly expiresAtMs: number
  usedAtMs: number
  /** Since it last had to make room. */
  isUsed: boolean
}

/** A question that is under way. */
interface Flight {
  /** What has changed since it began; `all` when anything may have. */
  changed: Set<Subject> | 'all'
}

export function createMemory(clock: Clock): Memory {
  const books = new Set<Rememberer>()
  return {
    forget(subjects) {
      for (const book of books) book.forget(subjects)
    },
    forgetAll() {
      for (const book of books) book.forgetAll()
    },
    recognizer(identifiers, epoch) {
      const { book, ...recognizer } = createBook(identifiers, epoch, clock)
      books.add(book)
      return recognizer
    },
  }
}

function createBook(
  identifiers: readonly Identifier[],
  epoch: Pick<Epoch, 'isFresh' | 'refresh'>,
  clock: Clock,
): Recognizer & { book: Rememberer } {
  // A map keeps the order of insertion. What is used is not inserted again at once, which would cost each request a microsecond, but
  // when it would have to make room: a second chance (Corbató, A Paging Experiment with the Multics System, 1968).
  const entries = new Map<string, Entry>()
  const bySubject = new Map<Subject, Set<Entry>>()
  const flights = new Set<Flight>()
  const landings = new Map<string, Promise<Identity | undefined>>()

  function remove(entry: Entry): void {
    if (entries.get(entry.credential) !== entry) return
    entries.delete(entry.credential)
    for (const subject of entry.identified.subjects) {
      const holders = bySubject.get(subject)
      holders?.delete(entry)
      if (holders?.size === 0) bySubject.delete(subject)
    }
  }

  function keep(credential: string, identified: Identified, nowMs: number): Entry {
    const expiresAtMs = Math.min(identified.expiresAtMs, nowMs + rememberedMaxMs)
    const entry = { credential, identified, expiresAtMs, usedAtMs: Number.NEGATIVE_INFINITY, isUsed: false }
    const former = entries.get(credential)
    if (former) remove(former)
    entries.set(credential, entry)
    for (const subject of identified.subjects) {
      const holders = bySubject.get(subject)
      if (holders) holders.add(entry)
      else bySubject.set(subject, new Set([entry]))
    }
    for (const oldest of entries.values()) {
      if (entries.size <= entriesMax) break
      if (!oldest.isUsed) {
        remove(oldest)
        continue
      }
      oldest.isUsed = false
      entries.delete(oldest.credential)
      entries.set(oldest.credential, oldest)
    }
    return entry
  }

  function used(entry: Entry, nowMs: number): Identity {
    if (nowMs - entry.usedAtMs >= usedEveryMs) {
      entry.usedAtMs = nowMs
      entry.identified.used?.()
    }
    return entry.identified.identity
  }

  /** Whether what has changed meanwhile is something that this depends on. */
  const isOutdated = ({ changed }: Flight, { subjects }: Identified) =>
    changed === 'all' || subjects.some(subject => (changed as Set<Subject>).has(subject))

  async function ask(credential: string): Promise<Identity | undefined> {
    const identifier = identifiers.find(each => each.takes(credential))
    if (!identifier) return undefined
    for (let attempt = 1; attempt <= attemptsMax; attempt++) {
      const flight: Flight = { changed: new Set() }
      flights.add(flight)
      try {
        const identified = await identifier.identify(credential)
        if (!identified) return undefined
        // What was committed before the question, and until long before now, is known then.
        if (!epoch.isFresh()) await epoch.refresh()
        const nowMs = clock.nowMs()
        if (identified.expiresAtMs <= nowMs) return undefined
        if (!isOutdated(flight, identified)) return used(keep(credential, identified, nowMs), nowMs)
      } finally {
        flights.delete(flight)
      }
    }
    throw revocationErrors.Unknown({ retryAfterSeconds: 1 })
  }

  function remembered(credential: string): Identity | undefined {
    const entry = entries.get(credential)
    if (!entry || !epoch.isFresh()) return undefined
    const nowMs = clock.nowMs()
    if (entry.expiresAtMs <= nowMs) {
      remove(entry)
      return undefined
    }
    entry.isUsed = true
    return used(entry, nowMs)
  }

  return {
    remembered,
    async recognize(credential) {
      if (entries.has(credential) && !epoch.isFresh()) {
        await epoch.refresh()
        const identity = remembered(credential)
        if (identity) return identity
      }
      const underWay = landings.get(credential)
      if (underWay) return underWay
      const landing = ask(credential).finally(() => landings.delete(credential))
      landings.set(credential, landing)
      return landing
    },
    book: {
      forget(subjects) {
        for (const subject of subjects) for (const entry of bySubject.get(subject) ?? []) remove(entry)
        for (const flight of flights) if (flight.changed !== 'all') for (const subject of subjects) flight.changed.add(subject)
      },
      forgetAll() {
        entries.clear()
        bySubject.clear()
        for (const flight of flights) flight.changed = 'all'
      },
    },
  }
}
