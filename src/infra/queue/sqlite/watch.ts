import type { SqlRow } from '@/core/database'
import type { Log } from '@/core/log'
import type { OpenDatabase } from '../../database/driver'
import type { Session } from './session'

/** Who wants to know of tasks and cancellations, in one process: of what it commits at once, of other processes within `pollMs`. */
export interface Watchers {
  add(queue: string, listener: Listener): () => void
  /** Says what a transaction that is committed has brought. */
  tell(news: Session['news']): void
  /** Queues of which somebody in this process was given less than he asked for, since no more may be active. Others look when anybody writes. */
  readonly short: Set<string>
}

export interface Listener {
  wake(): void
  cancelled(id: string): void
}

/** SQLite says that another process has written when it is asked, which takes some microseconds; it does so only while somebody watches. */
const pollMs = 20
const cancelledMax = 1000

const known = new WeakMap<OpenDatabase, Watchers>()

/** Those of one database are the same for all who ask. */
export function watchersOf(db: OpenDatabase, log: Log): Watchers {
  const found = known.get(db) ?? createWatchers(db, log)
  known.set(db, found)
  return found
}

function createWatchers(db: OpenDatabase, log: Log): Watchers {
  const listeners = new Map<string, Set<Listener>>()
  /** Cancellations that were there at the last look, or were told since, so that the next does not tell them again. */
  let seen = new Set<string>()
  const short = new Set<string>()
  let timer: Timer | undefined
  let hasChanged = () => false

  function each(queue: string, say: (listener: Listener) => void): void {
    for (const listener of [...(listeners.get(queue) ?? [])]) {
      try {
        say(listener)
      } catch (err) {
        log.error('a watcher of the queue failed', { queue, err })
      }
    }
  }

  async function look(): Promise<void> {
    try {
      if (!hasChanged()) return
      for (const queue of [...listeners.keys()]) each(queue, listener => listener.wake())
      const rows = await db.all(`select "queue", "id" from "queueTask" where "isCancelled" = 1 limit ${cancelledMax}`)
      const before = seen
      seen = new Set(rows.map(keyOf))
      for (const row of rows) if (!before.has(keyOf(row))) each(String(row['queue']), listener => listener.cancelled(String(row['id'])))
    } catch {
      // Watchers look by themselves now and then, and those calls say what is wrong.
    }
  }

  function begin(): void {
    hasChanged = db.elsewhereReader?.() ?? (() => false)
    timer = setInterval(look, pollMs)
    timer.unref()
  }

  return {
    short,
    add(queue, listener) {
      const own = { ...listener }
      const all = listeners.get(queue) ?? new Set()
      listeners.set(queue, all.add(own))
      if (!timer) begin()
      return () => {
        all.delete(own)
        if (all.size === 0 && listeners.get(queue) === all) listeners.delete(queue)
        if (listeners.size > 0) return
        clearInterval(timer)
        timer = undefined
        seen = new Set()
      }
    },
    tell({ woken, cancelling }) {
      for (const queue of woken) {
        short.delete(queue)
        each(queue, listener => listener.wake())
      }
      for (const { queue, id } of cancelling) {
        if (seen.size >= cancelledMax) seen.clear()
        seen.add(keyOf({ queue, id }))
        each(queue, listener => listener.cancelled(id))
      }
    },
  }
}

const keyOf = (row: SqlRow) => `${row['queue']} ${row['id']}`
