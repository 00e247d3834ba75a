import { exitCodes } from '@/core/error'
import { type TaskState, taskStates } from '@/core/queue/admin'
import { type Bulk, type BulkAction, type BulkProgress, bulkStates, type TaskFilter } from '@/core/queue/bulk'
import { type Arguments, usage } from './arguments'
import { progressBar } from './progress-bar'
import { confirmed, count, duration, isJsonOf, queuesIn, refuseUnasked, type Run } from './task-run'

/** The same done with all tasks that fit. */

const filterFlags = ['all', 'state', 'task', 'older-than', 'error'] as const

/** Whether tasks are said by what they are rather than by their ids. */
export const isBulk = ({ flags }: Arguments): boolean => filterFlags.some(flag => flags[flag] !== undefined)

/** What can be refused before anything is opened. @throws StartError with exit code 64 */
export function checkBulk(action: BulkAction, args: Arguments, ids: readonly string[]): void {
  if (ids.length > 0) throw usage('say which tasks either by their ids or by --all, --state, --task, --older-than and --error')
  const may: readonly TaskState[] = bulkStates[action]
  const state = args.flags['state']
  if (state !== undefined && !may.some(each => each === state))
    throw usage(`${action} is for tasks that are ${may.join(', ')}, not ${state}`)
  if (args.flags['queue'] !== undefined && args.flags['queue'] === args.flags['to']) throw usage('--to is the queue in which they are')
  filterOf(args)
  if (args.flags['limit'] !== undefined) count(args, 'limit', 1)
  if (isAsked(action) && args.flags['yes'] === undefined && args.flags['dry-run'] === undefined) refuseUnasked(action)
}

const isAsked = (action: BulkAction): action is 'delete' | 'cancel' => action === 'delete' || action === 'cancel'

function filterOf(args: Arguments): TaskFilter {
  const { state, task, error } = args.flags
  return {
    ...(state !== undefined && { states: taskStates.filter(each => each === state) }),
    ...(task !== undefined && { task }),
    ...(args.flags['older-than'] !== undefined && { olderThanMs: duration(args, 'older-than') }),
    ...(error !== undefined && { error }),
  }
}

/** Queue by queue. @returns 1 when some of a move were left behind */
export async function bulk(run: Run, action: BulkAction): Promise<number> {
  const { args, admin } = run
  const { to = '' } = args.flags
  const queues = queuesIn(args, admin).filter(queue => action !== 'move' || queue !== to)
  const isDryRun = args.flags['dry-run'] !== undefined
  const limit = args.flags['limit'] === undefined ? undefined : count(args, 'limit', 1)

  /** The limit is of all queues together. */
  async function pass(dry: boolean, isTold: boolean): Promise<{ matched: number; skipped: number }> {
    const sum = { matched: 0, skipped: 0 }
    for (const queue of queues) {
      if (sum.matched === limit) break
      const bulk: Bulk = {
        ...(action === 'move' ? { action, to } : { action }),
        filter: filterOf(args),
        isDryRun: dry,
        ...(limit !== undefined && { limit: limit - sum.matched }),
      }
      const { matched, skipped } = await go(run, queue, bulk, isTold)
      sum.matched += matched
      sum.skipped += skipped
    }
    return sum
  }

  if (isAsked(action) && !isDryRun && args.flags['yes'] === undefined) {
    const { matched } = await pass(true, false)
    await confirmed(action, `${action === 'delete' ? 'Remove' : 'Cancel'} ${matched} tasks for good?`)
  }
  const { skipped } = await pass(isDryRun, true)
  return action === 'move' && skipped > 0 ? exitCodes.failed : exitCodes.ok
}

/** Lines for programs come at most so often, and at the end. */
const linesPauseMs = 50

async function go({ args, admin }: Run, queue: string, bulk: Bulk, isTold: boolean): Promise<BulkProgress> {
  const isJson = isJsonOf(args) && isTold
  let bar: ReturnType<typeof progressBar> | undefined
  let last: BulkProgress = { total: 0, seen: 0, matched: 0, done: 0, skipped: 0, isOver: true }
  let toldAtMs = performance.now()
  try {
    for await (const progress of admin.bulk(queue, bulk)) {
      last = progress
      bar ??= progressBar(progress.total)
      bar.show(progress.seen, `${queue}: ${wordsOf(bulk, progress)}`)
      if (!isJson || (!progress.isOver && performance.now() - toldAtMs < linesPauseMs)) continue
      toldAtMs = performance.now()
      console.log(JSON.stringify({ queue, action: bulk.action, isDryRun: bulk.isDryRun, ...progress }))
    }
  } finally {
    bar?.end()
  }
  if (isTold && !isJson) console.log(`${queue}  ${wordsOf(bulk, last)}`)
  return last
}

const past = { retry: 'retried', cancel: 'cancelled', delete: 'deleted', move: 'moved' } as const satisfies Record<BulkAction, string>

function wordsOf({ action, isDryRun }: Bulk, { seen, matched, done, skipped }: BulkProgress): string {
  if (isDryRun) return `${matched} of ${seen} would be ${past[action]}`
  const stayed = action === 'move' ? 'could not be, and are left' : 'were not, since they had changed'
  return `${done} of ${seen} ${past[action]}${skipped > 0 ? `; ${skipped} ${stayed}` : ''}`
}
