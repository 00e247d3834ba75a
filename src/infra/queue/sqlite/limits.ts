import type { SqlRow } from '@/core/database'
import type { ClaimLimits } from '../driver'
import { hold, type Lane, laneOfRow, letGo, saveLanes, untilOneEnds } from './lanes'
import { boundedTat, mayStartMs } from './rate'
import type { Session, Summary } from './session'

/**
 * What the limits of a claim mean for the lanes. That a lane is held is written with it, until when, so that no claim looks at it before; under
 * other limits that may be too long. So a queue knows the limits of its last claim, and after a change all its lanes are looked at, some by each claim.
 */

/** So many one claim looks at after a change. Those that stay as they are cost little, also when two versions of the limits claim in turns. */
const lookedAtMax = 200

export const limitOf = ({ name }: Lane, limits: ClaimLimits | undefined) => limits?.lanes[name.split('/', 1)[0] as string]

/** Until when a lane may not be claimed from; undefined when it may be. */
function heldUntilMs(lane: Lane, limits: ClaimLimits | undefined, nowMs: number): number | undefined {
  const { concurrency, rate } = limitOf(lane, limits) ?? {}
  if (concurrency !== undefined && lane.active >= concurrency) return untilOneEnds
  const fromMs = rate ? mayStartMs(lane.tat, rate, nowMs) : nowMs
  return fromMs > nowMs ? Math.ceil(fromMs) : undefined
}

/** Holds it back when it may not. */
export function mayGoOn(lane: Lane, limits: ClaimLimits | undefined, nowMs: number): boolean {
  const untilMs = heldUntilMs(lane, limits, nowMs)
  if (untilMs === undefined) return true
  const rate = limitOf(lane, limits)?.rate
  if (rate) lane.tat = boundedTat(lane.tat, rate, nowMs)
  hold(lane, untilMs)
  return false
}

/** Lets those go on that were held under limits which are no more. */
export async function applyLimits(session: Session, summary: Summary, limits: ClaimLimits | undefined): Promise<void> {
  const said = digestOf(limits)
  const [known, from] = summary.limits?.split(spaceBefore) ?? []
  if (known === said && from === undefined) return
  // Also those that are held since a moment ago.
  await saveLanes(session)
  const rows = await session.tx.all(`select * from "queueLane" where "queue" = +? and "lane" > +? order by "lane" limit ${lookedAtMax}`, [
    summary.queue,
    known === said && from !== undefined ? JSON.parse(from) : ' ~',
  ])
  for (const row of rows) look(session, summary, limits, row)
  const last = rows.length === lookedAtMax ? rows.at(-1)?.['lane'] : undefined
  summary.limits = last === undefined ? said : `${said} ${JSON.stringify(last)}`
}

/** Whether there are lanes yet at which nobody has looked since the limits are others. */
export const isLookDue = (summary: Summary): boolean => summary.lanes > 0 && summary.limits?.includes(' ') === true

function look(session: Session, summary: Summary, limits: ClaimLimits | undefined, row: SqlRow): void {
  // Of one in which nothing waits a time says when to forget it.
  if (row['heldUntil'] === null || (row['priority'] === null && row['heldUntil'] !== untilOneEnds)) return
  const lane = laneOfRow(session, summary, row)
  if (lane.heldUntil === null) return
  const untilMs = heldUntilMs(lane, limits, session.nowMs)
  if (untilMs === undefined) letGo(lane)
  else if (untilMs < lane.heldUntil) mayGoOn(lane, limits, session.nowMs)
}

/** A name may have spaces. */
const spaceBefore = / (?=")/
const digests = new WeakMap<ClaimLimits, string>()
const noLimits: ClaimLimits = { lanes: {} }

/** The same for the same limits of lanes, in whatever order; without a space. */
function digestOf(limits = noLimits): string {
  const known = digests.get(limits)
  if (known !== undefined) return known
  const rules = Object.entries(limits.lanes).map(([name, { concurrency, rate }]) => [name, concurrency, rate?.intervalMs, rate?.burst])
  const digest = Bun.hash(JSON.stringify(rules.toSorted())).toString(36)
  digests.set(limits, digest)
  return digest
}
