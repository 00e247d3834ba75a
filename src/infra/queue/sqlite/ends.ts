import type { Log } from '@/core/log'
import type { OpenDatabase } from '../../database/driver'
import type { EndListener } from '../driver'
import type { Session } from './session'

/** Who wants to know of tasks that end, in one process: of what it commits at once, of other processes within `pollMs`. */
export interface Ends {
  add(queue: string, listener: EndListener): () => void
  /** Says what a transaction that is committed has ended. */
  tell(ended: Session['news']['ended']): void
}

/** As for those who watch for work: it is done only while somebody waits. */
const pollMs = 20
/** In one look. */
const endedMax = 1000

const known = new WeakMap<OpenDatabase, Ends>()

/** Those of one database are the same for all who ask. */
export function endsOf(db: OpenDatabase, log: Log): Ends {
  const found = known.get(db) ?? createEnds(db, log)
  known.set(db, found)
  return found
}

interface Watched {
  listeners: Set<EndListener>
  /** The line of the last that was told; undefined until it is known where to begin. */
  line?: number
}

function createEnds(db: OpenDatabase, log: Log): Ends {
  const queues = new Map<string, Watched>()
  let timer: Timer | undefined
  let hasChanged = () => false
  let isLookDue = false
  let isLooking = false

  function each(queue: string, say: (listener: EndListener) => void): void {
    for (const listener of [...(queues.get(queue)?.listeners ?? [])]) {
      try {
        say(listener)
      } catch (err) {
        log.error('a watcher of the queue failed', { queue, err })
      }
    }
  }

  async function look(): Promise<void> {
    if (isLooking) return
    isLooking = true
    try {
      isLookDue = hasChanged() || isLookDue
      if (isLookDue) for (const [queue, watched] of queues) await lookIn(queue, watched)
      isLookDue = false
    } catch {
      // The next look looks again. Calls of those who wait say what is wrong.
    } finally {
      isLooking = false
    }
  }

  async function lookIn(queue: string, watched: Watched): Promise<void> {
    if (watched.line === undefined) {
      const row = await db.first('select "tail" from "queueSummary" where "queue" = ?', [queue])
      watched.line = Number(row?.['tail'] ?? 0)
      // What ended before nobody was told.
      return each(queue, listener => listener.missed())
    }
    for (;;) {
      const rows = await db.all(
        `select "id", "line" from "queueTask" where "queue" = +? and "state" in (3, 4) and "line" > +? order by "line" limit ${endedMax}`,
        [queue, watched.line],
      )
      for (const row of rows) each(queue, listener => listener.ended(String(row['id'])))
      watched.line = Number(rows.at(-1)?.['line'] ?? watched.line)
      if (rows.length < endedMax) return
    }
  }

  return {
    add(queue, listener) {
      const own = { ...listener }
      const watched = queues.get(queue) ?? { listeners: new Set() }
      if (!queues.has(queue)) {
        queues.set(queue, watched)
        isLookDue = true
      }
      watched.listeners.add(own)
      if (!timer) {
        hasChanged = db.elsewhereReader?.() ?? (() => false)
        timer = setInterval(look, pollMs)
        timer.unref()
      }
      return () => {
        watched.listeners.delete(own)
        if (watched.listeners.size === 0 && queues.get(queue) === watched) queues.delete(queue)
        if (queues.size > 0) return
        clearInterval(timer)
        timer = undefined
      }
    },
    tell(ended) {
      for (const { queue, id } of ended) each(queue, listener => listener.ended(id))
    },
  }
}
