import { type Clock, systemClock, toTimestamp } from '@/core/clock'
import { defineErrors } from '@/core/error'
import { currentCaller } from '@/core/caller'
import type { Bulk } from '@/core/queue/bulk'
import { type FsckFinding, type QueueAdmin, type TaskState, type TaskView, taskStates } from '@/core/queue/admin'
import { queueErrors } from '@/core/queue/queue'
import type { Progress } from '@/core/queue/task'
import type { Seal } from '@/core/seal'
import type { QueueDriver, StoredTask } from './driver'
import { type Envelope, readEnvelope } from './envelope'
import { readJson } from './json'
import { type BulkPlace, bulkFaults, runBulk } from './operate/bulk'
import { errorsOf } from './operate/errors'
import { moveTasks } from './operate/move'
import { paceOf } from './operate/rates'
import { unknownQueue } from './queue'

/** Tasks that transactions have left where they cannot be handed over any more; an operator decides. */
export interface OutboxAdmin {
  /** Those that were given up, oldest first, at most so many. */
  givenUp(queue: string, count: number): Promise<{ id: string; reason: string }[]>
  /** Hands it over once more. @returns whether there was such a one */
  retry(id: string): Promise<boolean>
  /** One that was given up, or that is with nobody else yet. @returns whether there was such a one */
  remove(id: string): Promise<boolean>
}

/** What transactions have left and nobody has handed over yet. */
export interface OutboxView {
  /** How many of a queue, counted up to 100,000. */
  count(queue: string): Promise<number>
  show(id: string, queues: readonly string[]): Promise<{ queue: string; task: StoredTask } | undefined>
  /** Which of these tasks, at most 100, are there, and of which queues: an id may be taken in several. */
  held(ids: readonly string[]): Promise<ReadonlyMap<string, ReadonlySet<string>>>
}

export interface QueueAdminOptions {
  driver: QueueDriver
  outbox?: (OutboxAdmin & OutboxView) | undefined
  queues: readonly string[]
  /** Signs page tokens. */
  seal: Seal
  leaseMs: number
  clock?: Clock
}

const pageSizeMax = 1000
const pageSizeDefault = 50
/** Findings of the outbox that are told; more of one kind tell nothing more. */
const givenUpMax = 1000

const scannedDefault = 10_000
const scannedMost = 1_000_000

const pageErrors = defineErrors({
  PageSize: ['InvalidArgument', 'pageSize must be a whole number from 1; no page has more than 1000.'],
  PageToken: ['InvalidArgument', 'This page token does not belong to this list. Start again without one.'],
  State: ['InvalidArgument', `The state of tasks is one of ${taskStates.join(', ')}.`],
  Bulk: ['InvalidArgument', 'That cannot be done with many tasks.'],
  ScannedMax: ['InvalidArgument', 'scannedMax must be a whole number from 1 to 1,000,000.'],
})

/** What operators do, over any driver. An id is looked for in every queue, unless one is named: there are few, and operators are patient. */
export function createQueueAdmin({ driver, outbox, queues, seal, leaseMs, clock = systemClock }: QueueAdminOptions): QueueAdmin {
  function checked(queue: string): string {
    if (!queues.includes(queue)) throw queueErrors.UnknownQueue({ problems: [unknownQueue(queue, queues)] })
    return queue
  }

  const queuesNamed = (queue: string | undefined) => (queue === undefined ? queues : [checked(queue)])

  /** The first answer there is. */
  async function firstOf<T>(queue: string | undefined, ask: (queue: string) => Promise<T | undefined>): Promise<T | undefined> {
    for (const name of queuesNamed(queue)) {
      const answer = await ask(name)
      if (answer !== undefined) return answer
    }
    return undefined
  }
  async function inQueues<T>(queue: string | undefined, ask: (queue: string) => Promise<T | undefined>): Promise<T> {
    const answer = await firstOf(queue, ask)
    if (answer === undefined) throw queueErrors.TaskNotFound()
    return answer
  }
  const there = <T extends string>([answer]: readonly T[]): Exclude<T, 'absent'> | undefined =>
    answer === 'absent' ? undefined : (answer as Exclude<T, 'absent'>)

  /** Before what no transaction undoes: from then on a request that must take effect once only is not carried out again. */
  const outside = async () => (outbox ? currentCaller()?.once?.beforeOutside() : undefined)

  async function fsckStep(queue: string, fix: boolean, cursor?: string) {
    checked(queue)
    const left = cursor === undefined ? ((await outbox?.givenUp(queue, givenUpMax)) ?? []) : []
    const step = await driver.fsck(queue, { fix, leaseMs, ...(cursor !== undefined && { cursor }) })
    const found: FsckFinding[] = step.findings.map(finding => ({ queue, ...finding }))
    return { findings: [...left.map(({ id, reason }) => leftInOutbox(queue, id, reason)), ...found], cursor: step.cursor }
  }

  return {
    queues,

    async list(queue, state, { pageSize = pageSizeDefault, pageToken } = {}) {
      checked(queue)
      if (!taskStates.includes(state)) throw pageErrors.State()
      if (!Number.isInteger(pageSize) || pageSize < 1) throw pageErrors.PageSize()
      const purpose = `tasks of ${queue} ${state}`
      const cursor = pageToken === undefined ? undefined : seal.open(pageToken, purpose)
      if (pageToken !== undefined && cursor === undefined) throw pageErrors.PageToken()
      const page = await driver.list(queue, state, Math.min(pageSize, pageSizeMax), cursor)
      const items = page.tasks.map(task => viewOf(queue, task))
      return page.cursor === undefined ? { items } : { items, nextPageToken: seal.close(page.cursor, purpose) }
    },

    async show(id, queue) {
      const found = await firstOf(queue, async name => {
        const task = await driver.show(name, id)
        return task && viewOf(name, task)
      })
      if (found) return found
      // Last, since one that is handed over now is in both.
      const kept = await outbox?.show(id, queuesNamed(queue))
      if (!kept) throw queueErrors.TaskNotFound()
      return { ...viewOf(kept.queue, kept.task), isInOutbox: true }
    },

    async retry(id, queue) {
      await outside()
      if (await outbox?.retry(id)) return
      const answer = await inQueues(queue, async name => there(await driver.retry(name, [id])))
      if (answer === 'alive') throw queueErrors.TaskNotDead()
    },

    async move(id, to, queue) {
      checked(to)
      await outside()
      const hasMoved = await firstOf(queue, async name => {
        const task = name === to ? undefined : await driver.show(name, id)
        return task && (await moveTasks({ driver, clock }, name, to, [task])) === 1
      })
      if (hasMoved === false) throw queueErrors.TaskNotMoved()
      // Where it is to go it may be already, when this was said before.
      if (hasMoved === undefined && !(await driver.show(to, id))) throw queueErrors.TaskNotFound()
    },

    async cancel(id, queue) {
      await outside()
      if (await outbox?.remove(id)) return 'cancelled'
      const answer = await inQueues(queue, async name => there(await driver.cancel(name, [id])))
      // It has ended already, which is all that was asked for; a repeated call must not fail.
      return answer === 'dead' || answer === 'done' ? 'cancelled' : answer
    },

    async remove(id, queue) {
      await outside()
      if (await outbox?.remove(id)) return
      const answer = await inQueues(queue, async name => there(await driver.remove(name, [id])))
      if (answer === 'active') throw queueErrors.TaskActive()
    },

    async *bulk(queue, bulk) {
      checked(queue)
      if (bulk.action === 'move') checked(bulk.to)
      const problems = bulkFaults(queue, bulk)
      if (problems.length > 0) throw pageErrors.Bulk({ problems })
      const { pageToken } = bulk
      const purpose = bulkPurpose(queue, bulk)
      const opened = pageToken ? seal.open(pageToken, purpose) : undefined
      if (pageToken && opened === undefined) throw pageErrors.PageToken()
      const from = opened === undefined ? undefined : (JSON.parse(opened) as BulkPlace)
      if (!bulk.isDryRun) await outside()
      for await (const { next, ...progress } of runBulk({ driver, clock }, queue, bulk, from))
        yield next && pageToken !== undefined ? { ...progress, nextPageToken: seal.close(JSON.stringify(next), purpose) } : progress
    },

    async errors(queue, { scannedMax = scannedDefault } = {}) {
      if (!Number.isInteger(scannedMax) || scannedMax < 1 || scannedMax > scannedMost) throw pageErrors.ScannedMax()
      return errorsOf(driver, checked(queue), scannedMax)
    },

    async stats(queue) {
      const [stats, history, kept] = await Promise.all([driver.stats(checked(queue)), driver.history(queue), outbox?.count(queue)])
      return { queue, ...stats, ...paceOf(stats.total, history), ...(kept !== undefined && { outbox: kept }) }
    },

    async pause(queue) {
      await outside()
      await driver.pause(checked(queue))
    },
    async resume(queue) {
      await outside()
      await driver.resume(checked(queue))
    },

    async *fsck(queue, { fix }) {
      let cursor: string | undefined
      do {
        const step = await fsckStep(queue, fix, cursor)
        yield* step.findings
        cursor = step.cursor
      } while (cursor !== undefined)
    },

    async fsckStep(queue, { fix, pageToken }) {
      const purpose = `fsck of ${queue} ${fix}`
      const from = pageToken === undefined ? undefined : seal.open(pageToken, purpose)
      if (pageToken !== undefined && from === undefined) throw pageErrors.PageToken()
      if (fix) await outside()
      const { findings, cursor } = await fsckStep(queue, fix, from)
      return cursor === undefined ? { findings } : { findings, nextPageToken: seal.close(cursor, purpose) }
    },
  }
}

/** A walk goes on with what it has begun with. */
const bulkPurpose = (
  queue: string,
  { action, filter: { states, task, olderThanMs, error } = {}, isDryRun = false, ...rest }: Bulk,
): string => `bulk of ${JSON.stringify([queue, action, 'to' in rest ? rest.to : '', states, task, olderThanMs, error, isDryRun])}`

const leftInOutbox = (queue: string, id: string, reason: string): FsckFinding => ({
  queue,
  id,
  what: `was left in the outbox: ${reason}`,
  remedy: `look whether it was done; then 'bingo task delete ${id}', or 'bingo task retry ${id}' to have it done, for the second time perhaps`,
  fixed: false,
})

const timeOf: Partial<Record<TaskState, 'runAt' | 'leaseUntil' | 'deadAt' | 'keptUntil'>> = {
  ...{ scheduled: 'runAt', active: 'leaseUntil', dead: 'deadAt', done: 'keptUntil' },
}

function viewOf(queue: string, task: StoredTask): TaskView {
  const { id, state, envelope, atMs, isCancelled, worker, progress, result, unique, ...counts } = task
  const read = envelope === undefined ? undefined : readEnvelope(envelope)
  const time = timeOf[state]
  return {
    id,
    queue,
    state,
    ...(read && { task: read.task, ...payloadOf(read), headers: read.headers, enqueuedAt: toTimestamp(read.enqueuedAtMs) }),
    ...(time && atMs !== undefined && { [time]: toTimestamp(atMs) }),
    ...(worker !== undefined && { worker }),
    ...(isCancelled && { isCancelled }),
    ...(progress !== undefined && { progress: readJson(progress) as Progress }),
    ...(result !== undefined && { result: readJson(result) }),
    ...counts,
  }
}

/** So many of a group are shown; a page may have a thousand groups of a thousand. */
const payloadsShownMax = 100

function payloadOf({ payload, isGroup }: Envelope): Pick<TaskView, 'payload' | 'groupSize'> {
  if (!isGroup) return { payload }
  const payloads = payload as unknown[]
  return { payload: payloads.slice(0, payloadsShownMax), groupSize: payloads.length }
}
