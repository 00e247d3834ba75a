import type { Database, SqlRow, SqlValue } from '@/core/database'
import { states } from './rows'

/** What is known of a queue besides its tasks: one row, read once and written once in a transaction. */
export interface Summary extends Record<(typeof columns)[number], number> {
  queue: string
  /** When the next scheduled task may start: null when there is none, undefined when it has to be looked up. */
  nextDueMs: number | null | undefined
}

/**
 * `head` and `tail`: the next places before and behind those that wait. `kept`: done ones that are. The totals only grow; `died` is how many
 * became dead letters.
 * `clockMs` is when the row was last written.
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
  'clockMs',
] as const

/** One transaction on the tables of the queue. Operations in it follow each other, none runs beside another. */
export interface Session {
  readonly tx: Database
  /** One instant for all that is done in it. */
  readonly nowMs: number
  of(queue: string): Promise<Summary>
  /** There may be something to claim. */
  wake(queue: string): void
  cancelling(queue: string, id: string): void
  /** It is dead, or done and kept. */
  ended(queue: string, id: string): void
  /** Writes what has changed of the summaries. */
  save(): Promise<void>
  /** What watchers are told once it is committed. */
  readonly news: { woken: ReadonlySet<string>; cancelling: readonly Named[]; ended: readonly Named[] }
}

interface Named {
  queue: string
  id: string
}

/** @param onLoad told of each summary as it was found, before it is used */
export function openSession(tx: Database, nowMs: number, onLoad: (queue: string, clockMs: number | undefined) => void): Session {
  const summaries = new Map<string, { summary: Summary; before: string }>()
  const woken = new Set<string>()
  const cancelling: Named[] = []
  const ended: Named[] = []
  return {
    tx,
    nowMs,
    news: { woken, cancelling, ended },
    async of(queue) {
      const known = summaries.get(queue)
      if (known) return known.summary
      const row = await tx.first('select * from "queueSummary" where "queue" = ?', [queue])
      const summary = summaryOf(queue, row)
      if (!row) Object.assign(summary, countedOf((await tx.first(counting, [queue])) ?? {}))
      const { clockMs } = summary
      onLoad(queue, row && clockMs)
      summaries.set(queue, { summary, before: JSON.stringify(valuesOf(summary)) })
      if (row && clockMs - nowMs > setBackMs) {
        await shiftLeases(tx, queue, nowMs - clockMs)
        // A change to be saved, or the next session would shift them again, on a queue to which nobody else writes.
        summary.clockMs = nowMs
      }
      return summary
    },
    wake: queue => void woken.add(queue),
    cancelling: (queue, id) => void cancelling.push({ queue, id }),
    ended: (queue, id) => void ended.push({ queue, id }),
    async save() {
      for (const { summary, before } of summaries.values()) {
        const values = valuesOf(summary)
        if (JSON.stringify(values) !== before) await tx.run(saving, [summary.queue, ...values.with(-1, nowMs)])
      }
    },
  }
}

/** From so much on the clock has been set back, and is not just read by another process a moment earlier. */
const setBackMs = 1000

/** Leases end by a clock that has been set back since: without this, those of lost workers would end that much later. */
const shiftLeases = (tx: Database, queue: string, byMs: number) =>
  tx.run(`update "queueTask" set "at" = "at" + ? where "queue" = ? and "state" = ${states.active} and "state" > 0`, [byMs, queue])

const names = columns.map(name => `"${name}"`)
const saving = `insert into "queueSummary" ("queue", ${names.join(', ')}) values (?${', ?'.repeat(names.length)})
  on conflict ("queue") do update set ${names.map(name => `${name} = excluded.${name}`).join(', ')}`

const valuesOf = (summary: Summary): SqlValue[] => columns.map(name => summary[name])

export function summaryOf(queue: string, row: SqlRow | undefined): Summary {
  const counts = Object.fromEntries(columns.map(name => [name, Number(row?.[name] ?? 0)])) as Record<(typeof columns)[number], number>
  return { ...counts, queue, nextDueMs: undefined }
}

const waitingLines = (end: 'min' | 'max') => `(select ${end}("n") from (select
  (select ${end}("line") from "queueTask" where "queue" = ?1 and "state" = 0 and "priority" = p.value) as "n" from json_each('[0,1,2,3,4,5,6,7,8,9]') p))`

/** What the tasks themselves say of what a summary keeps: for a queue that has none yet, or whose row was lost. */
export const counting = `select ${waitingLines('min')} as "firstLine", ${waitingLines('max')} as "lastLine",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.waiting}) as "waitingThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.scheduled} and "state" > 0) as "scheduledThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.held} and "state" > 0) as "heldThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.active} and "state" > 0) as "activeThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.dead} and "state" > 0) as "deadThere",
  (select count(*) from "queueTask" where "queue" = ?1 and "state" = ${states.done} and "state" > 0) as "keptThere"`

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
})

/** A place behind all that wait. */
export const atTail = (summary: Summary): number => ++summary.tail
/** A place before all that wait. */
export const atHead = (summary: Summary): number => summary.head--
