import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Log } from '@/core/log'
import { type EnqueueItem, type Queue, TaskRefused } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import { scheduleHeaders, tickTaskId } from '@/core/schedule/schedule'
import { asMissed, isEnqueued, type Plan, putOff, putOffMs } from './plan'
import type { ScheduleRow } from './rows'

/** Enqueues the tasks of ticks that are due, in the transaction that decides them. */
export interface Enqueuer {
  /** @returns the plans as they can be carried out: what is refused is missed, and what finds a full queue is put off */
  enqueue(tx: Database, plans: readonly Plan[]): Promise<Plan[]>
}

/** So that what has become of them is seen before they go. */
export const tickKeptMs = 60_000
/** The same is said once in so long. */
const saidEveryMs = 600_000
const saidMax = 1000

export function createEnqueuer(queue: Pick<Queue, 'enqueueMany'>, tasks: readonly AnyTask[], log: Log): Enqueuer {
  const byName = new Map(tasks.map(task => [task.name, task]))
  const saidAtMs = new Map<string, number>()

  async function enqueueOf(tx: Database, task: AnyTask | undefined, plans: readonly Plan[]): Promise<Plan[]> {
    if (!task) return plans.map(plan => missed(plan, `no module of this process declares the task ${plan.row.task}`))
    try {
      await queue.enqueueMany(
        task,
        plans.flatMap(plan => itemsOf(task, plan)),
        { tx },
      )
      return [...plans]
    } catch (thrown) {
      if (isFull(thrown)) return plans.map(({ row, atMs }) => full(row, atMs))
      if (!(thrown instanceof TaskRefused)) throw thrown
      const [plan] = plans
      if (plan && plans.length === 1) return [missed(plan, thrown.message)]
      // Nothing of them is enqueued: one is refused, and which one is found by asking for each.
      const each: Plan[] = []
      for (const one of plans) each.push(...(await enqueueOf(tx, task, [one])))
      return each
    }
  }

  const isSaid = (what: string): boolean => {
    const nowMs = performance.now()
    if (nowMs - (saidAtMs.get(what) ?? Number.NEGATIVE_INFINITY) < saidEveryMs) return true
    if (saidAtMs.size >= saidMax) saidAtMs.clear()
    saidAtMs.set(what, nowMs)
    return false
  }

  function missed(plan: Plan, reason: string): Plan {
    const { id, name } = plan.row
    if (!isSaid(id))
      log.error('the task of a schedule cannot be enqueued; its ticks are missed until that is mended', { schedule: name, id, reason })
    return asMissed(plan)
  }

  function full(row: ScheduleRow, atMs: number): Plan {
    if (!isSaid(row.task)) log.warn('the queue is full; ticks of schedules wait until it has room', { task: row.task })
    return putOff(row, atMs, putOffMs)
  }

  return {
    async enqueue(tx, plans) {
      const isEmpty = ({ ticks }: Plan) => !ticks.some(isEnqueued)
      const carried = plans.filter(isEmpty)
      const byTask = Map.groupBy(
        plans.filter(plan => !isEmpty(plan)),
        ({ row }) => row.task,
      )
      for (const [name, some] of byTask) carried.push(...(await enqueueOf(tx, byName.get(name), some)))
      return carried
    },
  }
}

const itemsOf = (task: AnyTask, { row, ticks }: Plan): EnqueueItem<unknown>[] =>
  ticks.filter(isEnqueued).map(({ tickMs }) => ({
    payload: row.payload,
    id: tickTaskId(row.id, tickMs),
    headers: { [scheduleHeaders.name]: row.name, [scheduleHeaders.tick]: toTimestamp(tickMs) },
    keepForMs: Math.max(task.defaults.keepForMs, tickKeptMs),
  }))

const isFull = (thrown: unknown): boolean => thrown instanceof AppError && thrown.code === 'Unavailable.QueueFull'
