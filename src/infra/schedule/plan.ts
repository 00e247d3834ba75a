import { graceMs } from '@/core/schedule/schedule'
import type { ScheduleRow } from './rows'
import type { Decision } from './ticks'

/** What is to be done with the ticks of a schedule that are due, by its rule for overlaps. Pure, and written by `fire.ts` as a whole or not at all. */
export interface Plan {
  row: ScheduleRow
  /** What becomes of each tick, in their order. */
  ticks: PlannedTick[]
  missed: Decision['missed']
  /** What the row says from then on. */
  cursorMs: number
  nextAtMs: number | null
  bufferedMs: number | null
  /** The task that is cancelled before. */
  cancels: string | null
  /** When it was decided. */
  atMs: number
}

export interface PlannedTick {
  tickMs: number
  what: 'fired' | 'caughtUp' | 'skipped' | 'buffered' | 'missed'
  lateMs: number
  /** It was buffered before. */
  wasBuffered: boolean
}

/** Whether its task is enqueued. */
export const isEnqueued = ({ what }: Pick<PlannedTick, 'what'>): boolean => what === 'fired' || what === 'caughtUp'

/** Whether the end of the task that a buffered tick waits for has come is looked for so often. */
const bufferedEveryMs = 500
/** Ticks of one schedule that are enqueued at once, unless their payloads are large; more are when these are. */
const ticksMax = 500
/** Characters of payloads in one transaction. */
export const charsMax = 2_000_000

/** Of one tick. */
export const charsOf = ({ payload }: Pick<ScheduleRow, 'payload'>): number => JSON.stringify(payload ?? null).length

/** Whether its rule asks if the task of the tick before has ended. */
export const asksForEnd = (row: ScheduleRow, { ticks }: Pick<Decision, 'ticks'>): boolean =>
  row.lastTaskId !== null && (row.bufferedMs !== null || (ticks.length > 0 && row.overlap !== 'allow'))

/** @param isAlive whether the task of the tick that was fired last has not ended; false when nobody asked */
export function planOf(row: ScheduleRow, decision: Decision, isAlive: boolean, nowMs: number): Plan {
  const waiting: PlannedTick[] =
    row.bufferedMs === null ? [] : [{ tickMs: row.bufferedMs, what: 'fired', lateMs: nowMs - row.bufferedMs, wasBuffered: true }]
  const due = decision.ticks
    // Whatever the cursor says, what waits is not there twice.
    .filter(({ tickMs }) => tickMs !== row.bufferedMs)
    .map(
      ({ tickMs, isCaughtUp, dueMs }): PlannedTick => ({
        ...{ tickMs, what: isCaughtUp ? 'caughtUp' : 'fired', lateMs: Math.max(0, nowMs - dueMs), wasBuffered: false },
      }),
    )
  const all = [...waiting, ...due]
  const some = all.length > 1 ? all.slice(0, Math.max(1, Math.min(ticksMax, Math.floor(charsMax / charsOf(row))))) : all
  const isCut = some.length < all.length
  const ticks = byRule[row.overlap](some, isAlive)
  const buffered = ticks.at(-1)?.what === 'buffered' ? (ticks.at(-1)?.tickMs ?? null) : null
  return {
    row,
    // One that waits goes on waiting, and is in the history already.
    ticks: ticks.filter(({ what, wasBuffered }) => !(what === 'buffered' && wasBuffered)),
    missed: decision.missed,
    cursorMs: isCut ? Math.max(row.cursorMs, some.at(-1)?.tickMs ?? 0) : decision.cursorMs,
    nextAtMs: isCut ? nowMs : buffered === null ? decision.nextAtMs : Math.min(nowMs + bufferedEveryMs, decision.nextAtMs ?? Infinity),
    bufferedMs: buffered,
    cancels: row.overlap === 'cancelOther' && isAlive && ticks.length > 0 ? row.lastTaskId : null,
    atMs: nowMs,
  }
}

/** Nothing is decided; it is looked at again after so long. */
export const putOff = (row: ScheduleRow, nowMs: number, forMs: number): Plan => ({
  ...{ row, ticks: [], missed: undefined, cursorMs: row.cursorMs, nextAtMs: nowMs + forMs, bufferedMs: row.bufferedMs, cancels: null },
  atMs: nowMs,
})

/**
 * What can be done of a plan of which some ticks are decided already: those before the first of them are, or else the cursor is set behind it.
 * What comes after is decided anew, at once. @returns undefined when none of them is decided
 */
export function withoutDecided(plan: Plan, decided: ReadonlySet<number>): Plan | undefined {
  const { row, missed, atMs } = plan
  const all = [...(missed ? [missed.fromMs] : []), ...plan.ticks.map(({ tickMs }) => tickMs)]
  const firstMs = all.find(tickMs => decided.has(tickMs))
  if (firstMs === undefined) return undefined
  const ticks = plan.ticks.filter(({ tickMs }) => tickMs < firstMs)
  const isBefore = missed !== undefined && missed.fromMs < firstMs
  const doneMs = ticks.at(-1)?.tickMs ?? (isBefore ? missed.toMs : firstMs === row.bufferedMs ? row.cursorMs : firstMs)
  // What waits waits on when it is not among them.
  const isLet = row.bufferedMs === firstMs || ticks.some(({ wasBuffered }) => wasBuffered)
  return {
    ...{ row, ticks, missed: isBefore ? missed : undefined, cursorMs: Math.max(row.cursorMs, doneMs), nextAtMs: atMs },
    ...{ bufferedMs: isLet ? null : row.bufferedMs, cancels: null, atMs },
  }
}

/** None of its ticks can be enqueued: they are missed, since they would hold up those after them. */
export const asMissed = (plan: Plan): Plan => ({
  ...plan,
  ticks: plan.ticks.map(tick => ({ ...tick, what: 'missed' })),
  bufferedMs: null,
})

type Rule = (ticks: PlannedTick[], isAlive: boolean) => PlannedTick[]

const as = (what: PlannedTick['what']) => (tick: PlannedTick) => ({ ...tick, what })

/** Each tick meets the task of the one before it, which has only just been enqueued when both are due at once. */
const byRule: Record<ScheduleRow['overlap'], Rule> = {
  allow: ticks => ticks,
  skip: (ticks, isAlive) => (isAlive ? ticks.map(as('skipped')) : [...ticks.slice(0, 1), ...ticks.slice(1).map(as('skipped'))]),
  bufferOne(ticks, isAlive) {
    const [begun, rest] = isAlive ? [[], ticks] : [ticks.slice(0, 1), ticks.slice(1)]
    return [...begun, ...rest.slice(0, -1).map(as('skipped')), ...rest.slice(-1).map(as('buffered'))]
  },
  cancelOther: ticks => [...ticks.slice(0, -1).map(as('skipped')), ...ticks.slice(-1)],
}

/** What is not fired by then is missed: who waits for something else must not wait so long before it is tried again. */
export const putOffMs: number = Math.min(1000, graceMs / 10)
