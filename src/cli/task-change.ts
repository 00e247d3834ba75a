import { exitCodes } from '@/core/error'
import type { QueueAdmin } from '@/core/queue/admin'
import { changedByHand, type taskAudits } from '@/core/queue/audited'
import { type Arguments, usage } from './arguments'
import { bulk, checkBulk, isBulk } from './task-bulk'
import { printable } from '@/core/printable'
import { confirmed, explained, isAnswer, isJsonOf, refuseUnknownQueue, type Run } from './task-run'

/** What `bingo task` changes: tasks that are named, tasks that fit, and whole queues. */

export const retry = (run: Run): Promise<number> =>
  isBulk(run.args)
    ? bulk(run, 'retry')
    : onEach(run, 'task.retry', async (admin, id, queue) => {
        await admin.retry(id, queue)
        return 'retried'
      })

export const cancel = (run: Run): Promise<number> =>
  isBulk(run.args) ? bulk(run, 'cancel') : onEach(run, 'task.cancel', (admin, id, queue) => admin.cancel(id, queue))

export const remove = (run: Run): Promise<number> =>
  isBulk(run.args)
    ? bulk(run, 'delete')
    : onEach(run, 'task.delete', async (admin, id, queue) => {
        await admin.remove(id, queue)
        return 'deleted'
      })

export const move = (run: Run): Promise<number> =>
  isBulk(run.args)
    ? bulk(run, 'move')
    : onEach(run, 'task.move', async (admin, id, queue) => {
        await admin.move(id, run.args.flags['to'] ?? '', queue)
        return 'moved'
      })

/** What can be refused before anything is opened. @throws StartError with exit code 64 */
export function checkChange(name: 'retry' | 'cancel' | 'delete' | 'move', args: Arguments, ids: readonly string[]): void {
  const { to } = args.flags
  if (name === 'move' && to === undefined) throw usage('bingo task move needs --to=QUEUE')
  if (to !== undefined) refuseUnknownQueue(to)
  if (isBulk(args)) {
    checkBulk(name, args, ids)
    return
  }
  for (const flag of ['dry-run', 'limit'])
    if (args.flags[flag] !== undefined)
      throw usage(`--${flag} is of many tasks: say which, by --all, --state, --task, --older-than or --error`)
  if (ids.length === 0) throw usage(`bingo task ${name} takes ID…, or which tasks, by --all, --state, --task, --older-than or --error`)
}

/** @throws StartError like `confirmed` */
export async function confirmDelete({ flags: { yes } }: Arguments, ids: readonly string[]): Promise<void> {
  if (yes !== undefined) return
  await confirmed('delete', `Remove ${ids.length === 1 ? `the task ${printable(ids[0] ?? '')}` : `${ids.length} tasks`} for good?`)
}

type Work = (admin: QueueAdmin, id: string, queue?: string) => Promise<string>

/** One after the other; one that cannot be done does not keep the others from it. Of many, many are written down at once. */
async function onEach(run: Run, action: (typeof taskAudits)[number], work: Work): Promise<number> {
  const { args, rest, admin, queue: raw, told } = run
  const { queue, to } = args.flags
  if (rest.length === 1) return codeOf(await undoneOf(admin, args, rest, work))
  const undone: string[] = []
  await changedByHand(told, action, rest, { queue, to }, async ids => {
    const these = await undoneOf(raw.admin, args, ids, work)
    undone.push(...these)
    return these
  })
  return codeOf(undone)
}

const codeOf = (undone: readonly string[]): number => (undone.length > 0 ? exitCodes.failed : exitCodes.ok)

/** @returns those with which it could not be done */
async function undoneOf(admin: QueueAdmin, args: Arguments, ids: readonly string[], work: Work): Promise<string[]> {
  const undone: string[] = []
  for (const id of ids) {
    try {
      const result = await work(admin, id, args.flags['queue'])
      console.log(isJsonOf(args) ? JSON.stringify({ id, result }) : `${id}  ${result}`)
    } catch (thrown) {
      if (!isAnswer(thrown)) throw thrown
      console.error(`bingo: ${explained(id, thrown)}`)
      undone.push(id)
    }
  }
  return undone
}

export async function pause({ args, rest, admin }: Run): Promise<number> {
  for (const queue of rest) {
    await admin.pause(queue)
    console.log(isJsonOf(args) ? JSON.stringify({ queue, result: 'paused' }) : `${queue}  paused; what runs goes on`)
  }
  return exitCodes.ok
}

export async function resume({ args, rest, admin }: Run): Promise<number> {
  for (const queue of rest) {
    await admin.resume(queue)
    console.log(isJsonOf(args) ? JSON.stringify({ queue, result: 'resumed' }) : `${queue}  resumed`)
  }
  return exitCodes.ok
}
