import type { SqlRow } from '@/core/database'
import type { Claim, ClaimLimits } from '../driver'
import { type Lane, laneOf, laneOfRow, nextTurn, saveLanes, settle, unlanedOf } from './lanes'
import { limitOf, mayGoOn } from './limits'
import { started } from './rate'
import { claimedColumns, states } from './rows'
import type { Session, Summary } from './session'

/**
 * Who is next where tasks are in lanes: of the best priority that may be started the lane whose last turn is longest ago. Those that are held
 * back are in no index that is read here, so that it does not matter how many they are.
 */
export interface Turns {
  /** The lane that is next; undefined when none may be claimed from. */
  next(): Promise<Lane | undefined>
  /** It has had its turn, and may have another. */
  again(lane: Lane): void
  /** Those that are about to be next, as far as they were looked up. */
  ahead(): readonly Lane[]
  /** So many were held back that others were not looked at. */
  isCutShort(): boolean
}

/** So many lanes are found held back in one claim, and marked so that none looks at them again; who has more asks again. */
const heldBackMax = 200
const aheadLanes = 8

export function turnsOf(session: Session, summary: Summary, limits: ClaimLimits | undefined, count: number): Turns {
  let page: Lane[] = []
  let isRead = false
  let isWhole = false
  let last: Place | undefined
  let heldBack = 0

  /** Those of the table, and at first, since most claims read once, what of them is not written yet. */
  async function read(): Promise<void> {
    if (isRead) await saveLanes(session)
    const changed = isRead ? [] : [...session.lanes.values()].filter(lane => lane.summary === summary)
    const size = count + aheadLanes + changed.length
    const rows = await session.tx.all(
      `select * from "queueLane" where "queue" = +? and "turn" is not null and "priority" is not null order by "priority", "turn" limit +?`,
      [summary.queue, size],
    )
    isRead = true
    isWhole = rows.length < size
    const bottom = rows.at(-1)
    last = bottom && { priority: Number(bottom['priority']), turn: Number(bottom['turn']) }
    const lanes = new Set([...rows.map(row => laneOfRow(session, summary, row)), ...changed])
    page = [...lanes]
      .filter(lane => lane.priority !== null && lane.turn !== null && isSeen(lane))
      .toSorted((a, b) => (isBefore(a, b) ? -1 : 1))
  }

  /** Behind what was read there may be others, which are before it. */
  const isSeen = (lane: Lane): boolean => isWhole || (last !== undefined && !isBefore(last, lane))

  return {
    async next() {
      for (;;) {
        if (page.length === 0 && !isWhole && heldBack < heldBackMax) await read()
        const lane = page[0]
        if (!lane) return undefined
        if (mayGoOn(lane, limits, session.nowMs)) return lane
        page.shift()
        heldBack++
      }
    },
    again(lane) {
      page = page.filter(each => each !== lane)
      if (lane.turn === null || !isSeen(lane)) return
      const place = page.findIndex(each => isBefore(lane, each))
      page.splice(place < 0 ? page.length : place, 0, lane)
    },
    ahead: () => page,
    isCutShort: () => page.length === 0 && !isWhole,
  }
}

/** Whether one that this transaction has looked at may be claimed from. */
export function isOneReady(session: Session, summary: Summary, limits: ClaimLimits | undefined): boolean {
  for (const lane of session.lanes.values())
    if (lane.summary === summary && lane.turn !== null && lane.priority !== null && mayGoOn(lane, limits, session.nowMs)) return true
  return false
}

type Place = Pick<Lane, 'priority' | 'turn'>
const isBefore = (one: Place, other: Place): boolean =>
  (one.priority ?? 0) < (other.priority ?? 0) || (one.priority === other.priority && (one.turn ?? 0) < (other.turn ?? 0))

/** What is known of a task until it is taken. */
type Next = readonly [seq: number, priority: number]

/** Tasks with and without lanes, up to so many, each as it is once it is started. @param start is told of each at once, by its row */
export async function takeInTurns(
  session: Session,
  summary: Summary,
  { nonce, limits }: Claim,
  room: number,
  start: (seq: number) => Promise<void>,
): Promise<SqlRow[]> {
  const { tx, nowMs } = session
  const { queue } = summary
  const turns = turnsOf(session, summary, limits, room)
  const unlaned: Next[] = (
    await tx.all(
      `select "seq", "priority" from "queueTask" where "queue" = +? and "lane" is null and "state" = ${states.waiting}
        order by "priority", "line" limit +?`,
      [queue, room],
    )
  ).map(row => [Number(row['seq']), Number(row['priority'])])
  const lines = new Map<Lane, { next: Next[]; isWhole: boolean }>()
  const taken = new Map<number, Lane | undefined>()

  async function take([seq]: Next, lane: Lane | undefined): Promise<void> {
    await start(seq)
    taken.set(seq, lane)
  }

  /** What is next in a lane, with one more, so that it is known whether there is. */
  async function lineOf(lane: Lane): Promise<Next[]> {
    const known = lines.get(lane)
    if (known && (known.isWhole || known.next.length > 1)) return known.next
    // Those whose turn comes soon are looked up with it.
    const others = turns.ahead().filter(each => each !== lane && !lines.has(each))
    const asked = [lane, ...others].slice(0, room - taken.size)
    const most = Math.ceil((room - taken.size) / Math.max(1, turns.ahead().length)) + 1
    const rows = await tx.all(nextInLanes, [JSON.stringify(asked.map(({ name }) => name)), queue, most])
    for (const [i, each] of asked.entries()) {
      const next = JSON.parse(String(rows[i]?.['next'] ?? '[]')) as Next[]
      lines.set(each, { next, isWhole: next.length < most })
    }
    return lines.get(lane)?.next ?? []
  }

  async function takeFrom(lane: Lane): Promise<void> {
    const line = await lineOf(lane)
    const next = line.shift()
    if (!next) {
      // It was counted wrongly.
      await settle(session, lane)
      return turns.again(lane)
    }
    await take(next, lane)
    const rate = limitOf(lane, limits)?.rate
    lane.active++
    if (rate) lane.tat = started(lane.tat, rate, nowMs, 1)
    lane.priority = line[0]?.[1] ?? null
    lane.turn = lane.priority === null ? null : nextTurn(summary)
    // Also of one in which nothing waits now, so that what comes later is not looked at in vain.
    mayGoOn(lane, limits, nowMs)
    turns.again(lane)
  }

  /** Those without a lane take turns with the lanes of their priority. @returns whether it is theirs */
  async function takeTurn([, priority]: Next, lane: Lane): Promise<boolean> {
    if (lane.priority !== priority) return priority < (lane.priority ?? 0)
    const own = await laneOf(session, summary, unlanedOf(priority))
    if ((own.turn ?? 0) > (lane.turn ?? 0)) return false
    own.turn = nextTurn(summary)
    return true
  }

  while (taken.size < room) {
    const lane = await turns.next()
    const next = unlaned[0]
    if (next && (!lane || (await takeTurn(next, lane)))) {
      unlaned.shift()
      await take(next, undefined)
    } else if (lane) {
      await takeFrom(lane)
    } else {
      break
    }
  }

  const rows = await tx.all(`select "seq", ${claimedColumns} from "queueTask" where "seq" in (select "value" from json_each(?))`, [
    JSON.stringify([...taken.keys()]),
  ])
  const found = new Map(rows.map(row => [Number(row['seq']), row]))
  return [...taken].flatMap(([seq, lane]): SqlRow[] => {
    const row = found.get(seq)
    if (row && lane) session.attempts.keep(queue, nonce, row, lane.name)
    return row ? [row] : []
  })
}

/** Of each lane of a list the first so many, as a list of `Next`. */
const nextInLanes = `select (select json_group_array(json_array("seq", "priority")) from
    (select "seq", "priority" from "queueTask" t where t."queue" = ?2 and t."lane" = j.value and t."state" = ${states.waiting}
      order by t."priority", t."line" limit +?3)) as "next"
  from json_each(?1) j`
