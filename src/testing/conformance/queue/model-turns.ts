import type { Claim, ClaimLimits, RateLimit } from '@/infra/queue/driver'
import { inOrder, leaveLine, type ModelQueue, type ModelTask } from './model-state'

/**
 * What may be claimed, and what is. Which lane's turn it is drivers decide; so a claim of theirs can be handed to the model, which sees whether
 * they might do that, and does the same.
 */

const noLimits: ClaimLimits = { lanes: {} }
const queueItself = ''

/** The line in which a task waits: its lane, or those of its priority that have none. */
const lineOf = ({ priority, lane }: ModelTask): string => `${priority} ${lane ?? ''}`
const limitOf = (lane: string, { lanes }: ClaimLimits) => lanes[lane.split('/', 1)[0] as string] ?? {}
const activeIn = (queue: ModelQueue, lane: string): number => inOrder(queue, 'active').filter(task => task.lane === lane).length

/** From when a rate lets another start. A time that it never says, since it was slower, is from now on the latest that it does. */
function freeMs({ tats }: ModelQueue, name: string, rate: RateLimit | undefined, nowMs: number): number {
  const tat = tats.get(name)
  if (rate === undefined || tat === undefined) return 0
  // Time has whole ms: those of one may start together.
  const burst = Math.max(rate.burst, Math.ceil(1 / rate.intervalMs))
  const bounded = Math.min(tat, nowMs + burst * rate.intervalMs)
  tats.set(name, bounded)
  return bounded - (burst - 1) * rate.intervalMs
}

function use({ tats }: ModelQueue, name: string, rate: RateLimit | undefined, nowMs: number): void {
  if (rate) tats.set(name, Math.max(nowMs, tats.get(name) ?? nowMs) + rate.intervalMs)
}

/** The first of each line; those without a lane are one for each priority, and of a lane only the best priority counts. */
function firsts(queue: ModelQueue): ModelTask[] {
  const waiting = inOrder(queue, 'waiting')
  return waiting.filter((task, i) => {
    const earlier = waiting.slice(0, i)
    return !earlier.some(each => (task.lane === undefined ? lineOf(each) === lineOf(task) : each.lane === task.lane))
  })
}

const isFull = (queue: ModelQueue, { lane }: ModelTask, limits: ClaimLimits): boolean =>
  lane !== undefined && activeIn(queue, lane) >= (limitOf(lane, limits).concurrency ?? Number.POSITIVE_INFINITY)

/** From when the next of a line may start, as far as its rate goes. */
const lineFreeMs = (queue: ModelQueue, { lane }: ModelTask, limits: ClaimLimits, nowMs: number): number =>
  lane === undefined ? 0 : freeMs(queue, lane, limitOf(lane, limits).rate, nowMs)

/** Those that may be started next: of the best priority of which there is any, the first of each line. */
function startable(queue: ModelQueue, limits: ClaimLimits, nowMs: number): ModelTask[] {
  const all = firsts(queue).filter(task => !isFull(queue, task, limits) && lineFreeMs(queue, task, limits, nowMs) <= nowMs)
  return all.filter(({ priority }) => priority === all[0]?.priority)
}

/** @param given what a driver gave for this claim; the model takes the line whose turn is longest ago when absent */
export function takeTurns(queue: ModelQueue, claim: Claim, nowMs: number, given: readonly string[] | undefined): ModelTask[] {
  const { count, worker, nonce, leaseMs, limits = noLimits } = claim
  const taken: ModelTask[] = []
  /** How often each line had its turn since it could. */
  const turns = new Map<string, number>()
  while (taken.length < count && mayStartAny(queue, limits, nowMs)) {
    const candidates = startable(queue, limits, nowMs)
    if (candidates.length === 0) break
    const task = given === undefined ? longestAgo(queue, candidates) : candidates.find(({ id }) => id === given[taken.length])
    if (!task) throw new Error(`${given?.[taken.length] ?? 'nothing'} was claimed, of ${candidates.map(({ id }) => id).join(', ')}`)
    takeTurn(turns, candidates, task)
    queue.turns.set(lineOf(task), ++queue.turn)
    leaveLine(queue, task)
    Object.assign(task, { state: 'active', atMs: nowMs + leaseMs, attempt: task.attempt + 1, worker, nonce })
    use(queue, queueItself, limits.rate, nowMs)
    if (task.lane !== undefined) use(queue, task.lane, limitOf(task.lane, limits).rate, nowMs)
    taken.push(task)
  }
  if (given && given.length > taken.length) throw new Error(`${given.slice(taken.length).join(', ')} may not be claimed`)
  return taken
}

const longestAgo = ({ turns }: ModelQueue, candidates: readonly ModelTask[]): ModelTask | undefined =>
  candidates.toSorted((a, b) => (turns.get(lineOf(a)) ?? 0) - (turns.get(lineOf(b)) ?? 0))[0]

/** @throws Error when a line has one turn more than another that might have had it */
function takeTurn(turns: Map<string, number>, candidates: readonly ModelTask[], chosen: ModelTask): void {
  const lines = candidates.map(lineOf)
  const most = Math.max(0, ...lines.map(line => turns.get(line) ?? 0))
  for (const line of turns.keys()) if (!lines.includes(line)) turns.delete(line)
  for (const line of lines) if (!turns.has(line)) turns.set(line, turns.size === 0 ? 0 : most)
  const own = turns.get(lineOf(chosen)) ?? 0
  const passedOver = lines.filter(line => (turns.get(line) ?? 0) < own)
  if (passedOver.length > 0) throw new Error(`${chosen.id} was claimed once more before the lines ${passedOver.join(', ')}`)
  turns.set(lineOf(chosen), own + 1)
}

const isAtMost = (queue: ModelQueue, { concurrency }: ClaimLimits): boolean =>
  concurrency !== undefined && inOrder(queue, 'active').length >= concurrency

/** Whether the queue itself lets anything start. */
export const mayStartAny = (queue: ModelQueue, limits: ClaimLimits = noLimits, nowMs: number): boolean =>
  !queue.isPaused && !isAtMost(queue, limits) && freeMs(queue, queueItself, limits.rate, nowMs) <= nowMs

/** When a claim with these limits would get something, if nothing happens but that time passes; 0 when it would now. */
export function nextDue(queue: ModelQueue, limits: ClaimLimits = noLimits, nowMs: number): number | undefined {
  if (queue.isPaused || isAtMost(queue, limits)) return undefined
  const waits = firsts(queue).flatMap(task => (isFull(queue, task, limits) ? [] : [lineFreeMs(queue, task, limits, nowMs)]))
  const due = inOrder(queue, 'scheduled').map(({ atMs }) => atMs)
  if (waits.length + due.length === 0) return undefined
  const firstMs = Math.max(Math.min(...waits, ...due), freeMs(queue, queueItself, limits.rate, nowMs))
  return Math.max(0, Math.ceil(firstMs - nowMs))
}
