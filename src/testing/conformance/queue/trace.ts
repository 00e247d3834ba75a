import type { TaskState } from '@/core/queue/admin'
import type { Exchange, ExchangeReply, Finish, Held, Letter, NewTask, QueueDriver, ReapRule } from '@/infra/queue/driver'
import type { HowItEnded } from './fixture'
import { type Step, tooLong, type Which, type Who } from './steps'

/** A trace as it is played: which calls its steps mean, and what processes remember of them. */

export type Call = {
  /** Which process makes it; a worker is always of the same. */
  by: 0 | 1
} & (
  | { is: 'enqueue'; tasks: NewTask[]; backlogMax: number | undefined }
  | { is: 'exchange'; exchange: Exchange }
  | { is: 'beat'; leaseMs: number; held: Held[] }
  | { is: 'reap'; rule: ReapRule }
  | { is: 'report'; reports: (Held & { progress: string })[] }
  | { is: 'cancel' | 'retry' | 'remove'; ids: string[] }
  | { is: 'pause' | 'resume' }
  | { is: 'bury'; letters: Letter[] }
)

/** What processes remember while a trace is played. */
export interface Memory {
  /** Every attempt that was ever given, and whose worker lives, oldest first. */
  claimed: (Held & { worker: string })[]
  calls: Call[]
  steps: number
}
export const newMemory = (): Memory => ({ claimed: [], calls: [], steps: 0 })

const processOf = (worker: string): 0 | 1 => (worker.startsWith('one') ? 0 : 1)

/** The call that a step means; undefined when it is none, or there is nothing that it could be about. @param there what each state holds */
export function callOf(memory: Memory, step: Step, there: Record<TaskState, readonly { id: string }[]>): Call | undefined {
  memory.steps++
  const by = memory.steps % 2 === 0 ? 0 : 1
  switch (step.is) {
    case 'enqueue':
      return {
        is: 'enqueue',
        by,
        backlogMax: step.backlogMax,
        tasks: step.tasks.map(({ text, ...task }) => ({ ...task, envelope: `["test.do",0,"${task.id} ${text}"]` })),
      }
    case 'exchange': {
      const finish = step.finish.flatMap(({ who, how }): Finish[] => attemptOf(memory, who).map(held => ({ ...held, ...spelled(how) })))
      const said = finish.length > 0 ? { finish } : {}
      if (!step.claim) return { is: 'exchange', by, exchange: said }
      const claim = { ...step.claim, nonce: `nonce-${String(memory.steps).padStart(10, '0')}` }
      return { is: 'exchange', by: processOf(claim.worker), exchange: { ...said, claim } }
    }
    case 'beat':
      return { is: 'beat', by, leaseMs: step.leaseMs, held: step.who.flatMap(each => attemptOf(memory, each)) }
    case 'reap':
      return {
        is: 'reap',
        by,
        rule: { leaseMs: 1, crashesMax: step.crashesMax, ...(step.keepDeadMs !== undefined && { keepDeadMs: step.keepDeadMs }) },
      }
    case 'report':
      return {
        is: 'report',
        by,
        reports: step.reports.flatMap(({ who, progress }) => attemptOf(memory, who).map(held => ({ ...held, progress }))),
      }
    case 'cancel':
    case 'retry':
    case 'remove':
      return { is: step.is, by, ids: step.which.map(each => idOf(each, there[each.state])) }
    case 'bury':
      return { is: 'bury', by, letters: step.which.map(each => ({ id: idOf(each, there[each.state]), error: 'buried' })) }
    case 'pause':
    case 'resume':
      return { is: step.is, by }
    case 'resend':
      return resendable(memory, step.back)
    default:
      return undefined
  }
}

const spelled = (how: HowItEnded): HowItEnded => ('error' in how && how.error === tooLong ? { ...how, error: 'é'.repeat(1001) } : how)

const idOf = ({ nth, id }: Which, among: readonly { id: string }[]) => among[nth % Math.max(1, among.length)]?.id ?? id

function attemptOf({ claimed }: Memory, { back, lie }: Who): Held[] {
  const one = claimed.at(-1 - back)
  if (!one) return []
  const { id, attempt, nonce } = one
  if (lie === 'attempt') return [{ id, attempt: attempt + 1, nonce }]
  if (lie === 'nonce') return [{ id, attempt, nonce: 'x'.repeat(16) }]
  return [{ id: lie === 'id' ? 'nobody' : id, attempt, nonce }]
}

/** A process makes a call again while it waits for its answer, so of its claims only the last. */
function resendable({ calls }: Memory, back: number): Call | undefined {
  const call = calls.at(-1 - back)
  if (call?.is !== 'exchange' || !call.exchange.claim) return call
  const { worker, nonce } = call.exchange.claim
  const last = calls.findLast(each => each.is === 'exchange' && each.exchange.claim?.worker === worker)
  return last?.is === 'exchange' && last.exchange.claim?.nonce === nonce ? call : undefined
}

/** Keeps in mind what a call has brought. */
export function remember(memory: Memory, call: Call, reply: unknown): void {
  memory.calls.push(call)
  if (call.is !== 'exchange' || !call.exchange.claim) return
  const { worker, nonce } = call.exchange.claim
  for (const { id, attempt } of (reply as ExchangeReply).claimed) {
    const isKnown = memory.claimed.some(each => each.id === id && each.attempt === attempt && each.nonce === nonce)
    if (!isKnown) memory.claimed.push({ id, attempt, nonce, worker })
  }
}

/** A worker has died. */
export function forget(memory: Memory, worker: string): void {
  memory.claimed = memory.claimed.filter(each => each.worker !== worker)
}

/** A process has ended, and another begun. It repeats no calls of the one before. */
export function forgetCalls(memory: Memory, process: 0 | 1): void {
  memory.calls = memory.calls.filter(({ by }) => by !== process)
}

export function make(driver: QueueDriver, queue: string, call: Call): Promise<unknown> {
  switch (call.is) {
    case 'enqueue':
      return driver.enqueue(queue, call.tasks, { backlogMax: call.backlogMax })
    case 'exchange':
      return driver.exchange(queue, call.exchange)
    case 'beat':
      return driver.beat(queue, call.leaseMs, call.held)
    case 'reap':
      return driver.reap(queue, call.rule)
    case 'pause':
    case 'resume':
      return driver[call.is](queue)
    case 'bury':
      return driver.bury(queue, call.letters)
    case 'report':
      return driver.report(queue, call.reports)
    default:
      return driver[call.is](queue, call.ids)
  }
}
