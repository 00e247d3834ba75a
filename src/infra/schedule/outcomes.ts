import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import { tickKeptMs } from './enqueue'
import { firstLookMs, idColumn, type TickRow, tickOf } from './history'
import { primary } from './rows'
import type { TickTaskState, TickTasks } from './tick-tasks'

/** Writes into the history how the tasks of ticks have ended. Any number of processes may look: each takes other ticks. */
export interface Outcomes {
  /** Looks at those that are to be looked at now. @returns how many have ended */
  look(): Promise<number>
}

const takeMax = 500
/** Who takes them looks, and writes what is seen, within so long; else they are looked at again. */
const takenForMs = 15_000
/** One that runs for long is looked at more seldom, and often enough to be seen before it goes. */
const lookEveryMaxMs = 20_000

type Looked = TickRow & { task: string; seenAtMs: number }

export function createOutcomes(db: Database, tickTasks: Pick<TickTasks, 'look'>, clock: Clock): Outcomes {
  const isSqlite = db.dialect.name === 'sqlite'
  const sql = isSqlite ? sqlite : server

  async function take(those: Those, nowMs: number): Promise<Looked[]> {
    const ms = those.ms(nowMs)
    // A cheap look, since most of the time there is nothing.
    if (!(await db.first(`select 1 from "scheduleTick" where ${those.where} limit 1`, ms, primary))) return []
    return db.tx(
      async tx => {
        const found = await tx.all(sql.take(those.where), ms)
        const looked = found.map(row => ({ ...tickOf(row), task: String(row['task']), seenAtMs: seenBy(nowMs, Number(row['seenAtMs'])) }))
        await write(
          tx,
          looked.map(tick => ({ ...tick, lookAtMs: nowMs + takenForMs })),
        )
        return looked
      },
      { isolation: 'read committed' },
    )
  }

  async function write(on: Database, ticks: readonly (Looked & { lookAtMs: number | null })[]): Promise<void> {
    if (ticks.length === 0) return
    const said = ticks.map(({ scheduleId, tickMs, what, outcome, lookAtMs, seenAtMs }) => ({
      ...{ scheduleId, tickMs, isManual: what === 'manual' ? 1 : 0, outcome, seenAtMs },
      ...(lookAtMs !== null && { lookAtMs }),
    }))
    await on.run(sql.write, [JSON.stringify(said)])
  }

  /** @returns how many have ended */
  async function lookAt(those: Those): Promise<number> {
    let ended = 0
    for (;;) {
      const nowMs = clock.nowMs()
      const taken = await take(those, nowMs)
      const states = await tickTasks.look(taken.map(({ taskId, task }) => ({ taskId: taskId ?? '', task })))
      const written = taken.flatMap(tick => {
        const state = states.get(tick.taskId ?? '')
        return state === undefined ? [] : [lookedAt(tick, state, nowMs)]
      })
      await write(db, written)
      ended += written.filter(({ lookAtMs }) => lookAtMs === null).length
      if (taken.length < takeMax) return ended
    }
  }

  return { look: async () => (await lookAt(due)) + (await lookAt(seenAhead)) }
}

function lookedAt(tick: Looked, state: TickTaskState, nowMs: number): Looked & { lookAtMs: number | null } {
  if (state === 'alive') {
    const everyMs = Math.min(Math.max((nowMs - tick.atMs) / 4, firstLookMs), lookEveryMaxMs)
    return { ...tick, seenAtMs: nowMs, lookAtMs: Math.round(nowMs + everyMs) }
  }
  // One that has ended by itself is kept for longer than that: somebody has taken it away, unless nobody has looked for too long.
  const gone = nowMs - tick.seenAtMs < tickKeptMs ? 'cancelled' : 'unknown'
  return { ...tick, outcome: state === 'gone' ? gone : state, lookAtMs: null }
}

const listed = ['scheduleId', 'tickMs', 'isManual', 'what', 'count', 'atMs', 'lateMs', 'taskId', 'outcome', 'seenAtMs']
  .map(column => `"scheduleTick"."${column}"`)
  .join(', ')
/** Rows of a subselect are not locked: who fires their schedules must not find them taken. */
const taken = (
  those: string,
) => `select ${listed}, (select "task" from "schedule" where "schedule"."id" = "scheduleTick"."scheduleId") as "task"
  from "scheduleTick" where ${those} order by "lookAtMs" limit ${takeMax}`
interface Those {
  where: string
  ms(nowMs: number): number[]
}
const due: Those = { where: '"lookAtMs" <= ?', ms: nowMs => [nowMs] }
/** Seen by a clock that was ahead: else they would be looked at when it is there again. What is new is left out at once, and is most of what there is. */
const seenAhead: Those = { where: '"lookAtMs" > ? and "seenAtMs" > ?', ms: nowMs => [nowMs + firstLookMs, nowMs] }

/** How long ago it was seen by a clock that was ahead nobody knows. */
const seenBy = (nowMs: number, seenAtMs: number): number => (seenAtMs > nowMs ? 0 : seenAtMs)

const sqlite = {
  take: taken,
  write: `update "scheduleTick" set ${['outcome', 'lookAtMs', 'seenAtMs'].map(column => `"${column}" = "said".value->>'${column}'`).join(', ')}
    from json_each(?) as "said" where "outcome" = 'pending' and
    ${['scheduleId', 'tickMs', 'isManual'].map(column => `"scheduleTick"."${column}" = "said".value->>'${column}'`).join(' and ')}`,
}

const server = {
  take: (those: string) => `${taken(those)} for update skip locked`,
  write: `update json_table(?, '$[*]' columns (${idColumn('id', '$.scheduleId')}, "tick" bigint path '$.tickMs', "hand" bigint path '$.isManual',
      "end" varchar(16) path '$.outcome', "look" bigint path '$.lookAtMs', "seen" bigint path '$.seenAtMs')) as "said"
    straight_join "scheduleTick" force index (primary)
    on "scheduleTick"."scheduleId" = "said"."id" and "scheduleTick"."tickMs" = "said"."tick" and "scheduleTick"."isManual" = "said"."hand"
    set "scheduleTick"."outcome" = "said"."end", "scheduleTick"."lookAtMs" = "said"."look", "scheduleTick"."seenAtMs" = "said"."seen"
    where "scheduleTick"."outcome" = 'pending'`,
}
