import { askedBy, type Asking } from '@/core/asking'
import type { Ports } from '@/core/ports'
import type { TaskState } from '@/core/queue/admin'
import { auditedIntake, auditedQueues, type QueueAuditLog } from '@/core/queue/audited'
import { refuseByHand } from '@/core/queue/by-hand'
import type { Bulk, BulkAction, BulkProgress } from '@/core/queue/bulk'
import type { Enqueued } from '@/core/queue/queue'
import type { Priority } from '@/core/queue/task'
import { parsePageSize } from '@/core/store'
import { bulkTasksMax, type BulkAsked, type BulkResult, type ChangedTask, type NewTask, type Task, type TaskPage } from './schema'

export type TaskBiz = ReturnType<typeof taskBiz>

/** A request works on many tasks for so long, and then says where another goes on. */
const bulkMaxMs = 2000
/** What a page of the port may have, the one that it keeps back included. */
const bulkPageMax = 101

interface ListAsked {
  queue: string
  state: TaskState
  pageSize?: number
  pageToken?: string
}

/** What administrators do with tasks. The port decides what may be; what is done is logged, and written down before it is. */
export function taskBiz({ queueAdmin, log, audit }: Pick<Ports, 'queueAdmin' | 'log'> & { audit: QueueAuditLog }) {
  const tools = (asking: Asking) => ({ audit, by: askedBy(asking), log })
  const acting = (asking: Asking) => auditedQueues(queueAdmin, tools(asking))

  async function list({ queue, state, pageSize, pageToken }: ListAsked): Promise<TaskPage> {
    // A page of the API has no more, as everywhere; the port would give 1000.
    const page = { pageSize: parsePageSize(pageSize), ...(pageToken && { pageToken }) }
    const { items, nextPageToken = '' } = await queueAdmin.list(queue, state, page)
    return { items, nextPageToken }
  }

  const get = (id: string, queue?: string): Promise<Task> => queueAdmin.show(id, queue)

  /** @throws TaskInvalid; TaskOfSystem, TaskPermission for what is done with other permissions than this */
  async function enqueue({ task, payload, priority, ...said }: NewTask, asking: Asking): Promise<Enqueued> {
    refuseByHand(asking.identity, task, queueAdmin.tasks)
    const options = { ...said, ...(priority !== undefined && { priority: priority as Priority }) }
    const enqueued = await auditedIntake(queueAdmin, tools(asking)).enqueue(task, payload, options)
    log.info('a task was enqueued by hand', { ...askedBy(asking), task, ...enqueued })
    return enqueued
  }

  async function retry(id: string, queue: string | undefined, asking: Asking): Promise<ChangedTask> {
    await acting(asking).retry(id, queue)
    return logged(id, 'retried', asking)
  }

  async function cancel(id: string, queue: string | undefined, asking: Asking): Promise<ChangedTask> {
    return logged(id, await acting(asking).cancel(id, queue), asking)
  }

  async function move(id: string, to: string, queue: string | undefined, asking: Asking): Promise<ChangedTask> {
    await acting(asking).move(id, to, queue)
    return logged(id, 'moved', asking)
  }

  async function remove(id: string, queue: string | undefined, asking: Asking): Promise<void> {
    await acting(asking).remove(id, queue)
    logged(id, 'deleted', asking)
  }

  function logged<R extends string>(id: string, result: R, asking: Asking): { id: string; result: R } {
    log.info(`a task was ${result === 'cancelling' ? 'told to end' : result}`, { ...askedBy(asking), id })
    return { id, result }
  }

  /** The same with all tasks of a queue that fit, as many as a request may: whoever asks goes on with what it says. */
  async function bulk(action: BulkAction, asked: BulkAsked, asking: Asking): Promise<BulkResult> {
    const { queue, filter, isDryRun = false, limit, pageToken = '', to = '' } = asked
    const which = action === 'move' ? { action, to } : { action }
    const said: Bulk = { ...which, filter, isDryRun, pageToken, ...(limit !== undefined && { limit }) }
    const { isOver: _, nextPageToken = '', ...counts } = await part(acting(asking).bulk(queue, said), isDryRun)
    const result = { ...counts, nextPageToken }
    if (!isDryRun) log.info('the same was done with many tasks', { ...askedBy(asking), action: `task.${action}`, queue, filter, ...counts })
    return result
  }

  /** Ends where another request can go on. */
  async function part(bulk: AsyncIterable<BulkProgress>, isDryRun: boolean): Promise<BulkProgress> {
    const endMs = performance.now() + bulkMaxMs
    let last: BulkProgress = { total: 0, seen: 0, matched: 0, done: 0, skipped: 0, isOver: true }
    for await (const progress of bulk) {
      last = progress
      const isEnough = performance.now() >= endMs || (!isDryRun && progress.matched + bulkPageMax > bulkTasksMax)
      if (isEnough && progress.nextPageToken !== undefined) break
    }
    return last
  }

  return { list, get, enqueue, retry, cancel, move, remove, bulk }
}
