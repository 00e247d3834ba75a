import type { Database, SqlRow, SqlValue } from '@/core/database'
import type { KnownAttempts } from './attempts'
import { type Lane, saveLanes, shiftRates } from './lanes'
import { states } from './rows'

/** What is known of a queue besides its tasks: one row, read once and written once in a transaction. */
export interface Summary extends Record<(typeof columns)[number], number> {
  queue: string
  /** When the next scheduled task may start: null when there is none, undefined when it has to be looked up. */
  nextDueMs: number | null | undefined
  /** How many were active when somebody was given less than he asked for, since no more may be: who makes it fewer wakes. */
  shortAt: number | undefined
  /** The limits of lanes under which was claimed last, and how far the lanes were looked at under them; see limits.ts. */
  limits: string | null
}

/**
 * `head` and `tail`: the next places before and behind those that wait. `kept`: done ones that are. `lanes`: how many lanes are known, 0 while
 * nobody uses any. The totals only grow; `died` is how many became dead letters. `clockMs` is when the row was last written.
 */
const columns = [
  'head',
  'tail',
  'waiting',
  'scheduled',
  'held',
  'active',
  'dead',
  'kept',
  'enqueued',
  'done',
  'failed',
  'crashed',
  'died',
  'cancelled',
  'isPaused',
  'lanes',
  'clockMs',
] as const

/** One transaction on the tables of the queue. Operations in it follow each other, none runs beside another. */
export interface Session {
  readonly tx: Database
  /** One instant for all that is done in it. */
  readonly nowMs: number
  of(queue: string): Promise<Summary>
  /** Those that were looked at, by queue and name. */
  readonly lanes: Map<string, Lane>
  readonly attempts: KnownAttempts
  /** There may be something to claim. */
  wake(queue: string): void
  cancelling(queue: string, id: string): void
  /** It is dead, or done and kept. */
  ended(queue: string, id: string): void
  /** Writes what has changed of the lanes and the summaries. */
  save(): Promise<void>
  /** What watchers are told once it is committed. */
  readonly news: { woken: ReadonlySet<string>; cancelling: readonly Named[]; ended: readonly Named[] }
}

interface Named {
  queue: string
  id: string
}

/** What this process remembers, so that it need not look. */
export interface Known {
  /** Queues of which somebody was given less than he asked for, since no more of them may be active. */
  short: Set<string>
  attempts: KnownAttempts
}

/** @param onLoad told of each summary as it was found, before it is used */
export function openSession(
  tx: Database,
  nowMs: number,
  onLoad: (queue: string, clockMs: number | undefined) => void,
  { short, attempts }: Known,
): Session {
  const summaries = new Map<string, { summary: Summary; before: string }>()
  const woken = new Set<string>()
  const cancelling: Named[] = []
  const ended: Named[] = []
  const lanes = new Map<string, Lane>()
  const session: Session = {
    tx,
    nowMs,
    lanes,
    attempts,
    news: { woken, cancelling, ended },
    async of(queue) {
      const known = summaries.get(queue)
      if (known) return known.summary
      const row = await tx.first('select * from "queueSummary" where "queue" = ?', [queue])
      const summary = summaryOf(queue, row)
      if (!row) Object.assign(summary, countedOf((await tx.first(counting, [queue])) ?? {}))
      const { clockMs } = summary
      onLoad(queue, row && clockMs)
      if (short.has(queue)) summary.shortAt = summary.active
      summaries.set(queue, { summary, before: JSON.stringify(valuesOf(summary)) })
      if (row && clockMs - nowMs > setBackMs) {
        await shiftTimes(tx, queue, nowMs - clockMs)
        // A change to be saved, or the next session would shift them again, on a queue to which nobody else writes.
        summary.clockMs = nowMs
      }
      return summary
    },
    wake: queue => void woken.add(queue),
    cancelling: (queue, id) => void cancelling.push({ queue, id }),
    ended: (queue, id) => void ended.push({ queue, id }),
    async save() {
      await saveLanes(session)
      for (const { summary, before } of summaries.values()) {
        if (summary.shortAt !== undefined) (summary.active < summary.shortAt ? woken : short).add(summary.queue)
        const values = valuesOf(summary)
        if (JSON.stringify(values) !== before) await tx.run(saving, [summary.queue, ...values.with(-1, nowMs)])
      }
    },
  }
  return session
}

/** From so much on the clock has been set back, and is not just read by another process a moment earlier. */
const setBackMs = 1000

/** Leases end by a clock that has been set back since: without this, those of lost workers would end that much later. So it is with rates. */
async function shiftTimes(tx: Database, queue: string, byMs: number): Promise<void> {
  await tx.run(`update "queueTask" set "at" = "at" + ? where "queue" = ? and "state" = ${states.active} and "state" > 0`, [byMs, queue])
  await shiftRates(tx, queue, byMs)
}

const names = ['limits', ...columns].map(name => `"${name}"`)
const saving = `insert into "queueSummary" ("queue", ${names.join(', ')}) values (?${', ?'.repeat(names.length)})
  on conflict ("queue") do update set ${names.map(name => `${name} = excluded.${name}`).join(', ')}`

const valuesOf = (summary: Summary): SqlValue[] => [summary.limits, ...columns.map(name => summary[name])]

export function summaryOf(queue: string, row: SqlRow | undefined): Summary {
  const counts = Object.fromEntries(columns.map(name => [name, Number(row?.[name] ?? 0)])) as Record<(typeof columns)[number], number>
  const limits = typeof row?.['limits'] === 'string' ? row['limits'] : null
  return { ...counts, queue, nextDueMs: undefined, shortAt: undefined, limits }
}

/** What the tasks themselves say of what a summary keeps: for a queue that has none yet, or whose row was lost. */
export const counting = `select w."firstLine", max(w."lastLine", l."lastTurn") as "lastLine", w."waitingThere", l."lanesThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.scheduled} and "state" > 0) as "scheduledThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.held} and "state" > 0) as "heldThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.active} and "state" > 0) as "activeThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.dead} and "state" > 0) as "deadThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.done} and "state" > 0) as "keptThere"
  from (select min("line") as "firstLine", coalesce(max("line"), 0) as "lastLine", count(*) as "waitingThere"
    from "queueTask" where "queue" = ?1 and "state" = ${states.waiting}) w,
  (select coalesce(max("turn"), 0) as "lastTurn", coalesce(sum("lane" > ' ~'), 0) as "lanesThere" from "queueLane" where "queue" = ?1) l`

export const countedOf = (row: SqlRow) => ({
  // With space between them: nobody has waited at 0 yet.
  head: Math.min(0, Number(row['firstLine'] ?? 1) - 1),
  tail: Math.max(0, Number(row['lastLine'] ?? 0)),
  waiting: Number(row['waitingThere'] ?? 0),
  scheduled: Number(row['scheduledThere'] ?? 0),
  held: Number(row['heldThere'] ?? 0),
  active: Number(row['activeThere'] ?? 0),
  dead: Number(row['deadThere'] ?? 0),
  kept: Number(row['keptThere'] ?? 0),
  lanes: Number(row['lanesThere'] ?? 0),
})

/** A place behind all that wait. */
export const atTail = (summary: Summary): number => ++summary.tail
/** A place before all that wait. */
export const atHead = (summary: Summary): number => summary.head--
