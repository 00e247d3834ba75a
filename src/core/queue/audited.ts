import { type Actor, type AuditEntry, type AuditLog, entryOn } from '../audit'
import { toAppError } from '../error'
import type { Log } from '../log'
import type { QueueAdmin, TaskIntake, TaskOptions, TaskView } from './admin'
import type { BulkProgress } from './bulk'

/** What is written into the audit log. */
export const queueAudits = ['queue.mend', 'queue.pause', 'queue.resume'] as const
export const taskAudits = ['task.cancel', 'task.delete', 'task.enqueue', 'task.move', 'task.retry'] as const
type TaskAction = (typeof taskAudits)[number]
type Entry = AuditEntry<(typeof queueAudits)[number] | TaskAction>
/** What writes these. */
export type QueueAuditLog = Pick<AuditLog<Entry['action']>, 'note'>

/**
 * What somebody does with queues and tasks, written down. They are kept elsewhere than the audit log, so what is about to be done is written down
 * before it is: when it cannot be, it is not done. When it fails, that it has is written down too. Of many tasks it is written down as well how
 * many it were, since nobody knows that before. What tasks are about is not: it may be personal.
 */
export function auditedQueues(queues: QueueAdmin, told: Told): QueueAdmin {
  const { audit, by } = told
  const { changed, noteAfter } = noting(told)
  let isMending = false

  /** With the task as it was seen: what is not there leaves nothing to be written down. */
  async function one<R>(
    action: TaskAction,
    id: string,
    queue: string | undefined,
    work: (seen: TaskView) => Promise<R>,
    after?: object,
  ): Promise<R> {
    const seen = await queues.show(id, queue)
    const before = { task: seen.task, queue: seen.queue, state: seen.state }
    return changed({ ...entryOn(action, id), before, ...(after && { after }) }, () => work(seen))
  }

  return {
    ...queues,
    retry: (id, queue) => one('task.retry', id, queue, seen => queues.retry(id, seen.queue)),
    cancel: (id, queue) => one('task.cancel', id, queue, seen => queues.cancel(id, seen.queue)),
    remove: (id, queue) => one('task.delete', id, queue, seen => queues.remove(id, seen.queue)),
    move: (id, to, queue) => one('task.move', id, queue, seen => queues.move(id, to, seen.queue), { queue: to }),
    pause: queue => changed(entryOn('queue.pause', queue), () => queues.pause(queue)),
    resume: queue => changed(entryOn('queue.resume', queue), () => queues.resume(queue)),

    async *bulk(queue, bulk) {
      if (bulk.isDryRun) return yield* queues.bulk(queue, bulk)
      const { action, filter = {}, limit } = bulk
      const said = { filter, ...(bulk.action === 'move' && { to: bulk.to }), ...(limit !== undefined && { limit }) }
      const entry: Entry = { action: `task.${action}`, object: `queue:${queue}`, after: said }
      await audit.note(by, entry)
      let last: BulkProgress | undefined
      let end: Entry = entry
      try {
        for await (last of queues.bulk(queue, bulk)) yield last
      } catch (thrown) {
        end = failed(entry, thrown)
        throw thrown
      } finally {
        // Also when it is read no further.
        const { seen = 0, matched = 0, done = 0, skipped = 0, isOver = false } = last ?? {}
        if (matched > 0 || end !== entry) await noteAfter({ ...end, after: { ...said, seen, matched, done, skipped, isOver } })
      }
    },

    async *fsck(queue, options) {
      if (!options.fix) return yield* queues.fsck(queue, options)
      await audit.note(by, entryOn('queue.mend', queue))
      try {
        yield* queues.fsck(queue, options)
      } catch (thrown) {
        await noteAfter(failed(entryOn('queue.mend', queue), thrown))
        throw thrown
      }
    },
    async fsckStep(queue, options) {
      if (!options.fix) return queues.fsckStep(queue, options)
      // The first step of each request, also one with a token: nothing says that whoever sends it has begun here, and not by looking alone.
      const entry = entryOn('queue.mend', queue)
      const isFirst = !isMending
      isMending = true
      if (isFirst) await audit.note(by, { ...entry, after: { goesOn: options.pageToken !== undefined } })
      try {
        return await queues.fsckStep(queue, options)
      } catch (thrown) {
        await noteAfter(failed(entry, thrown))
        throw thrown
      }
    },
  }
}

/** What somebody enqueues by hand, written down as what `auditedQueues` does. */
export function auditedIntake(intake: TaskIntake, told: Told): TaskIntake {
  return {
    ...intake,
    enqueue: (task, payload, options = {}) => enqueuedByHand(told, task, options, named => intake.enqueue(task, payload, named)),
  }
}

/** One task. @param work takes the options with an id, which is known before the task is there, so that what is written down says which */
export function enqueuedByHand<T>(
  told: Told,
  task: string,
  options: TaskOptions,
  work: (options: TaskOptions & { id: string }) => Promise<T>,
): Promise<T> {
  const named = { ...options, id: options.id ?? Bun.randomUUIDv7('base64url') }
  return noting(told).changed({ ...entryOn('task.enqueue', named.id), after: { task, ...named } }, () => work(named))
}

/** Those of a file, which are written down as one, since nobody knows before how many it are. */
export const manyEnqueuedByHand = <T>(
  told: Told,
  { queue, ...said }: TaskOptions & { task: string; queue: string; from: string },
  work: () => Promise<T>,
): Promise<T> => noting(told).changed({ action: 'task.enqueue', object: `queue:${queue}`, after: { ...said, queue } }, work)

/** So many tasks that somebody names are written down together, with their ids. */
export const idsNotedMax = 100

/**
 * What somebody does with tasks that they name, one after the other, written down in lines of `idsNotedMax` ids: before it is done,
 * and again with those with which it could not be.
 * @param said what is beside the ids: the queue they are in, and the one they go to
 * @param work with these ids; gives those with which it could not be done
 */
export async function changedByHand(
  told: Told,
  action: TaskAction,
  ids: readonly string[],
  said: { queue?: string | undefined; to?: string | undefined },
  work: (ids: readonly string[]) => Promise<readonly string[]>,
): Promise<void> {
  const { changed, noteAfter } = noting(told)
  const entryOf = (some: readonly string[]): Entry => ({
    action,
    ...(said.queue !== undefined && { object: `queue:${said.queue}` }),
    after: { count: some.length, ...(said.to !== undefined && { to: said.to }), ids: some },
  })
  for (let i = 0; i < ids.length; i += idsNotedMax) {
    const some = ids.slice(i, i + idsNotedMax)
    const undone = await changed(entryOf(some), () => work(some))
    if (undone.length > 0) await noteAfter({ ...entryOf(undone), outcome: 'failed' })
  }
}

export interface Told {
  audit: QueueAuditLog
  by: Actor
  log: Pick<Log, 'error'>
}

/** For what is kept elsewhere than the audit log, whatever it is. */
function noting({ audit, by, log }: Told) {
  /** @throws what `work` does, once it is written down, and Unavailable when nothing can be, before anything is done */
  async function changed<T>(entry: Entry, work: () => Promise<T>): Promise<T> {
    await audit.note(by, entry)
    try {
      return await work()
    } catch (thrown) {
      await noteAfter(failed(entry, thrown))
      throw thrown
    }
  }

  /** What has happened has happened, whether it can be written down or not. */
  const noteAfter = (entry: Entry): Promise<void> =>
    audit.note(by, entry).catch(err => log.error('what became of a change could not be noted', { ...by, ...entry, err }))

  return { changed, noteAfter }
}

const failed = (entry: Entry, thrown: unknown): Entry => ({ ...entry, outcome: 'failed', reason: toAppError(thrown).code })
