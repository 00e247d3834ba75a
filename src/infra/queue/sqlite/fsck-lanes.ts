import type { Database, SqlRow } from '@/core/database'
import type { Step } from './fsck'
import { laneOf, settle, untilOneEnds } from './lanes'
import { states } from './rows'
import type { Session } from './session'

/** How many lanes one step looks at. */
const pageLanes = 500
/** Counting so many takes some milliseconds; of more it is not known in which lanes they are. */
const countedMax = 50_000

/** Lanes that tasks wait in, from one jump in the index to the next, and those that are known. */
const names = `with recursive waiting("name") as (
    select (select min("lane") from "queueTask" where "queue" = ?1 and "state" = ${states.waiting} and "lane" > ?2)
    union all
    select (select min("lane") from "queueTask" where "queue" = ?1 and "state" = ${states.waiting} and "lane" > waiting."name")
      from waiting where waiting."name" is not null limit ${pageLanes + 1})
  select "name" from waiting where "name" is not null
  union select "lane" from (select "lane" from "queueLane" where "queue" = ?1 and "lane" > max(?2, ' ~') order by "lane" limit ${pageLanes})`

const looked = `select j.value as "name", l.*,
    (select "priority" from "queueTask" t where t."queue" = ?1 and t."lane" = j.value and t."state" = ${states.waiting} order by "priority" limit 1) as "best"
  from json_each(?2) j left join "queueLane" l on l."queue" = ?1 and l."lane" = j.value`

/** Compares what is kept of lanes with the tasks that are in them. */
export async function checkLanes(db: Database, queue: string, after: string, session: Session | undefined): Promise<Step> {
  // What this transaction has changed is compared, too.
  await session?.save()
  const running = await runningIn(db, queue)
  const known = (await db.all(names, [queue, after])).map(row => String(row['name']))
  const all = new Set([...known, ...[...(running?.keys() ?? [])].filter(name => name > after)])
  const page = [...all].toSorted((a, b) => (a < b ? -1 : 1)).slice(0, pageLanes)
  const findings: Step['findings'] = []
  for (const row of await db.all(looked, [queue, JSON.stringify(page)])) {
    const name = String(row['name'])
    const active = running ? (running.get(name) ?? 0) : Number(row['active'] ?? 0)
    const what = faultOf(row, active)
    if (what === undefined) continue
    if (session) await mend(session, queue, name, active)
    findings.push({ what: `lane ${name}: ${what}`, remedy: 'it is counted anew, and has a turn', fixed: session !== undefined })
  }
  return { findings, cursor: page.length === pageLanes ? `lanes ${page.at(-1)}` : 'counters' }
}

function faultOf(row: SqlRow, active: number): string | undefined {
  const counted = Number(row['active'] ?? 0)
  if (counted !== active) return `${counted} active tasks were counted, and ${active} are there`
  if ((row['priority'] ?? null) !== row['best']) return 'what is next in it is not what it is said to be'
  const isHeld = row['heldUntil'] !== null && !(row['heldUntil'] === untilOneEnds && active === 0)
  if (row['best'] !== null && row['turn'] === null && !isHeld) return 'tasks wait in it, and it has no turn'
  return row['best'] === null && typeof row['turn'] === 'number' ? 'no task waits in it, and it has a turn' : undefined
}

async function mend(session: Session, queue: string, name: string, active: number): Promise<void> {
  const lane = await laneOf(session, await session.of(queue), name)
  lane.active = active
  // Who claims next looks whether it may go on.
  lane.heldUntil = null
  await settle(session, lane)
  session.wake(queue)
}

/** How many run in each lane; undefined when they are too many. */
async function runningIn(db: Database, queue: string): Promise<Map<string, number> | undefined> {
  const rows = await db.all(
    `select "lane", count(*) as "n" from (select "lane" from "queueTask"
      where "queue" = ? and "state" = ${states.active} and "state" > 0 limit ${countedMax + 1}) group by "lane"`,
    [queue],
  )
  const total = rows.reduce((sum, row) => sum + Number(row['n']), 0)
  if (total > countedMax) return undefined
  return new Map(rows.flatMap(row => (row['lane'] === null ? [] : [[String(row['lane']), Number(row['n'])] as const])))
}
