import type { Asking } from '@/core/asking'
import { asCaller } from '@/core/caller'
import type { Database } from '@/core/database'
import { actorOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { type User, userErrors } from './schema'
import type { UserStore } from './store'
import { shown, view } from './views'

/** A user now, and again each time that it has changed; undefined, and then the end, when it is deleted. */
export type UserWatch = ReturnType<typeof userWatch>

export interface WatchLimits {
  /** Of this process, 1–1,000: all that are watched are looked at by one query. */
  watchesMax: number
  /** Of one caller. */
  watchesOfOneMax: number
  /** So long after they were looked at they are looked at again. */
  everyMs: number
  /** Watches end when nothing could be looked at for so long: who watches is not to take what is old for what is. */
  blindMaxMs: number
}

const defaults: WatchLimits = { watchesMax: 1000, watchesOfOneMax: 100, everyMs: 1000, blindMaxMs: 10_000 }

interface Watch {
  readonly id: string
  readonly actor: string | undefined
  /** The version that was told last. */
  told: number
  /** What is to be told: only the last of several, however slowly it is read. */
  next: User | 'deleted' | undefined
  /** Why it ends otherwise. */
  failure: Error | undefined
  wake(): void
}

/** Looks, once a second for all who watch, and only while somebody does, at the users that are watched: on the primary, so that nothing goes back. */
export function userWatch(
  { db, users, stopping, log, metrics }: Pick<Ports, 'db' | 'stopping' | 'log' | 'metrics'> & { users: (db: Database) => UserStore },
  limits: Partial<WatchLimits> = {},
) {
  const { watchesMax, watchesOfOneMax, everyMs, blindMaxMs } = { ...defaults, ...limits }
  const watches = new Set<Watch>()
  let timer: Timer | undefined
  let seenMs = 0
  let hasBegun = false

  /**
   * Ends when `signal` aborts.
   * @throws UserNotFound, WatchesFull, TooManyWatches, WatchBroken
   */
  async function* watch(id: string, { identity }: Asking, signal: AbortSignal): AsyncGenerator<User | undefined> {
    begin()
    const mine = open(id, actorOf(identity))
    const leave = () => close(mine)
    signal.addEventListener('abort', leave, { once: true })
    try {
      if (signal.aborted) return
      const row = await users(db).get(id, { select: shown, from: 'primary' })
      if (!row) throw userErrors.UserNotFound()
      mine.told = row.version
      yield view(row)
      for (;;) {
        const next = await change(mine, signal)
        if (next === undefined) return
        if (next === 'deleted') return yield undefined
        mine.told = next.version
        yield next
      }
    } finally {
      signal.removeEventListener('abort', leave)
      close(mine)
    }
  }

  /** @returns undefined when nobody waits any more */
  async function change(mine: Watch, signal: AbortSignal): Promise<User | 'deleted' | undefined> {
    for (;;) {
      if (signal.aborted) return undefined
      if (mine.failure) throw mine.failure
      const { next } = mine
      mine.next = undefined
      if (next === 'deleted' || (next && next.version > mine.told)) return next
      const { promise, resolve } = Promise.withResolvers<void>()
      mine.wake = resolve
      await promise
    }
  }

  function open(id: string, actor: string | undefined): Watch {
    if (stopping.aborted) throw broken()
    if (watches.size >= watchesMax) throw userErrors.WatchesFull({ retryAfterSeconds: 5 })
    const own = [...watches].filter(watch => watch.actor === actor).length
    if (own >= watchesOfOneMax) throw userErrors.TooManyWatches()
    const mine: Watch = { id, actor, told: 0, next: undefined, failure: undefined, wake: () => {} }
    watches.add(mine)
    if (watches.size === 1) {
      seenMs = performance.now()
      plan()
    }
    return mine
  }

  function close(mine: Watch): void {
    watches.delete(mine)
    if (watches.size === 0) clearTimeout(timer)
    mine.wake()
  }

  /** Nobody's request: it goes on when the one that has begun it has ended. */
  function plan(): void {
    clearTimeout(timer)
    timer = setTimeout(() => void asCaller({}, look), everyMs)
  }

  async function look(): Promise<void> {
    const asked = [...watches]
    try {
      const rows = await users(db).getMany(
        asked.map(({ id }) => id),
        { select: shown, from: 'primary' },
      )
      const byId = new Map(rows.map(row => [row.id, view(row)]))
      seenMs = performance.now()
      for (const watch of asked) tell(watch, byId.get(watch.id))
    } catch (err) {
      const blindMs = Math.round(performance.now() - seenMs)
      log.warn('users that are watched cannot be looked at', { err, blindMs, watches: asked.length })
      if (blindMs >= blindMaxMs) endAll()
    }
    if (watches.size > 0) plan()
  }

  function tell(watch: Watch, user: User | undefined): void {
    if (user && user.version <= watch.told) return
    watch.next = user ?? 'deleted'
    watch.wake()
  }

  function endAll(): void {
    for (const watch of watches) {
      watch.failure = broken()
      watch.wake()
    }
  }

  const broken = () => userErrors.WatchBroken({ retryAfterSeconds: 1 })

  /** Wiring a module touches no port, so that is done with the first watch. */
  function begin(): void {
    if (hasBegun) return
    hasBegun = true
    stopping.addEventListener('abort', endAll, { once: true })
    metrics.gauge({ name: 'bingo_user_watches', help: 'Streams that tell of the changes of a user.' }, () => watches.size)
  }

  return watch
}
