import { roles } from '@roles'
import { tasksOf } from '@/app'
import { yearMs } from '@/core/clock'
import { taskStates } from '@/core/queue/admin'
import type { AnyTask } from '@/core/queue/task'
import { bizOf, portsNeeded } from '@/core/module'
import { auditedQueues, enqueuedByHand, manyEnqueuedByHand } from '@/core/queue/audited'
import { refuseIdleTasks } from '@/core/role'
import type { OpenQueue } from '@/infra/queue/open'
import { auditEvent } from '@/modules/audit-event'
import { type Arguments, type Flags, usage } from './arguments'
import { type Command, configOf } from './command'
import { commandLineActor } from './command-line'
import { withOpened } from './opened'
import { cancel, checkChange, confirmDelete, move, pause, remove, resume, retry } from './task-change'
import { isBulk } from './task-bulk'
import { enqueueFrom, enqueueOne } from './task-enqueue'
import { errors, fsck, list, show, stats } from './task-look'
import { count, isJsonOf, refuseUnknownQueue, type Run } from './task-run'

const flags: Flags = {
  queue: { value: 'QUEUE', summary: 'The queue; that of the task for enqueue, and all of them for the others, when it is not said.' },
  all: { summary: 'retry, cancel, delete, move: all tasks with which it can be done, instead of ID….' },
  state: { value: 'STATE', summary: `list, and instead of ID…: those that are ${taskStates.join(', ')}.` },
  task: { value: 'NAME', summary: 'Instead of ID…: those of this name.' },
  'older-than': {
    value: 'TIME',
    summary: 'Instead of ID…: dead letters that died, and others that were enqueued, 90s, 15m, 2h or 7d ago.',
  },
  error: { value: 'TEXT', summary: 'Instead of ID…: those whose last error contains this.' },
  to: { value: 'QUEUE', summary: 'move: the queue into which they go.' },
  'dry-run': { summary: 'With what stands instead of ID…: only say how many there are.' },
  limit: {
    value: 'COUNT',
    summary:
      'list: at most so many of each queue and state, 50 when it is not said; errors: look at so many dead letters, 10000; instead of ID…: do it with so many.',
  },
  payload: { value: 'JSON', summary: 'enqueue: what the task is to work on.' },
  from: {
    value: 'FILE',
    summary:
      'enqueue: a file, or - for standard input, with a payload on each line, or {"payload": …, "options": {"delayMs": …, "id": …}}, or what list --json writes.',
  },
  'delay-ms': { value: 'COUNT', summary: 'enqueue: not before so many milliseconds.' },
  id: {
    value: 'ID',
    summary:
      'enqueue: an id of your own; the same one is enqueued once only, until 24 hours after its task has ended, was cancelled or deleted.',
  },
  fix: { summary: 'fsck: mend what can be mended.' },
  yes: { summary: 'delete, and cancel of many: without asking.' },
}

interface Action {
  /** What stands after its name, as the usage says it. */
  takes: string
  flags: readonly string[]
  act(run: Run): Promise<number>
  least: number
  most: number
}

const which = ['all', 'state', 'task', 'older-than', 'error', 'limit', 'dry-run'] as const
const actions: Record<string, Action> = {
  enqueue: { takes: 'NAME', flags: ['queue', 'payload', 'from', 'delay-ms', 'id'], act: enqueue, least: 1, most: 1 },
  list: { takes: '', flags: ['queue', 'state', 'limit'], act: list, least: 0, most: 0 },
  show: { takes: 'ID', flags: ['queue'], act: show, least: 1, most: 1 },
  retry: { takes: 'ID…', flags: ['queue', ...which], act: retry, least: 0, most: 1000 },
  cancel: { takes: 'ID…', flags: ['queue', ...which, 'yes'], act: cancel, least: 0, most: 1000 },
  delete: { takes: 'ID…', flags: ['queue', ...which, 'yes'], act: remove, least: 0, most: 1000 },
  move: { takes: 'ID…', flags: ['queue', 'to', ...which], act: move, least: 0, most: 1000 },
  errors: { takes: '', flags: ['queue', 'limit'], act: errors, least: 0, most: 0 },
  stats: { takes: '', flags: ['queue'], act: stats, least: 0, most: 0 },
  pause: { takes: 'QUEUE…', flags: [], act: pause, least: 1, most: 100 },
  resume: { takes: 'QUEUE…', flags: [], act: resume, least: 1, most: 100 },
  fsck: { takes: '', flags: ['queue', 'fix'], act: fsck, least: 0, most: 0 },
}
const names = Object.keys(actions)

export const taskCommand: Command = {
  name: 'task',
  usage: `${names.join('|')} [--json]`,
  summary: 'Enqueues tasks, shows them, tries them again, ends, removes and moves them; pauses queues; compares what belongs together.',
  flags,
  examples: [
    [`bingo task enqueue email.send --payload '{"userId":"…","purpose":"welcome"}'`, 'one task'],
    ['bingo task enqueue email.send --from payloads.ndjson', 'one for each line'],
    ['bingo task list --state dead --json', 'dead letters, one JSON object a line'],
    ['bingo task errors', 'what dead letters died of, and how many'],
    ['bingo task retry ID', 'a dead letter waits again'],
    ['bingo task retry --task email.send --error timeout', 'all that died of it'],
    ['bingo task delete --state dead --older-than 30d --dry-run', 'how many it would be'],
    ['bingo task move --all --queue mail --to bulk', 'what waits in one queue waits in another'],
    ['bingo task pause mail', 'nothing of it is started, anywhere, until it is resumed'],
    ['bingo task fsck --fix', 'after a disaster: 0 when all is well by then'],
  ],
  async run(args) {
    refuseIdleTasks(roles)
    const [, name = '', ...rest] = args.words
    const action = Object.hasOwn(actions, name) ? actions[name] : undefined
    if (!action) throw usage(`bingo task takes ${names.slice(0, -1).join(', ')} or ${names.at(-1)}`)
    if (rest.length < action.least || rest.length > action.most)
      throw usage(action.takes ? `bingo task ${name} takes ${action.takes}` : `bingo task ${name} takes no more words`)
    if (rest.includes('')) throw usage('an id of a task is not empty')
    const odd = Object.keys(args.flags).find(flag => !action.flags.includes(flag))
    if (odd !== undefined)
      throw usage(
        `bingo task ${name} has no flag --${odd}${action.flags.length > 0 ? `; it has ${action.flags.map(flag => `--${flag}`).join(', ')}` : ''}`,
      )
    checkFlags(args)
    if (name === 'enqueue') checkEnqueue(args, rest)
    if (name === 'pause' || name === 'resume') for (const queue of rest) refuseUnknownQueue(queue)
    if (name === 'retry' || name === 'cancel' || name === 'delete' || name === 'move') checkChange(name, args, rest)
    if (name === 'delete' && !isBulk(args)) await confirmDelete(args, rest)
    const { config } = configOf(args)
    return withOpened(config, ['queue', ...portsNeeded([auditEvent])], ({ queue: opened, ports }) => {
      const queue = opened as OpenQueue
      const told = { audit: bizOf({ auditEvent }, ports).auditEvent, by: commandLineActor(), log: ports.log }
      return action.act({ args, config, rest, queue, told, admin: auditedQueues(queue.admin, told) })
    })
  },
}

/** What can be refused before anything is opened. @throws StartError with exit code 64 */
function checkEnqueue({ flags: { payload, from, id } }: Arguments, [name = '']: readonly string[]): AnyTask {
  const tasks = tasksOf(roles)
  const task = tasks.find(candidate => candidate.name === name)
  if (!task) throw usage(`there is no task ${JSON.stringify(name)}; tasks are ${tasks.map(each => each.name).join(', ')}`)
  if ((payload === undefined) === (from === undefined)) throw usage('bingo task enqueue takes either --payload=JSON or --from=FILE')
  if (from !== undefined && id !== undefined)
    throw usage('--id is of one task; with --from say it on each line: {"payload": …, "options": {"id": …}}')
  return task
}

async function enqueue({ args, config, rest, queue, told }: Run): Promise<number> {
  const task = checkEnqueue(args, rest)
  const { payload, from, id, queue: named } = args.flags
  const options = {
    ...(id !== undefined && { id }),
    ...(named !== undefined && { queue: named }),
    ...(args.flags['delay-ms'] !== undefined && { delayMs: count(args, 'delay-ms', 0, yearMs) }),
  }
  const isJson = isJsonOf(args)
  if (payload !== undefined) return enqueuedByHand(told, task.name, options, said => enqueueOne(queue.queue, task, payload, said, isJson))
  const many = { ...options, task: task.name, queue: named ?? task.defaults.queue, from: from as string }
  const more = { options, isJson, lineMaxBytes: 2 * config.queue.payloadMaxBytes }
  return manyEnqueuedByHand(told, many, () => enqueueFrom(queue.queue, task, many.from, more))
}

/** @throws StartError with exit code 64 */
function checkFlags(args: Arguments): void {
  const { queue, state, limit, task } = args.flags
  if (queue !== undefined) refuseUnknownQueue(queue)
  if (state !== undefined && !taskStates.some(each => each === state))
    throw usage(`there is no state ${JSON.stringify(state)}; states are ${taskStates.join(', ')}`)
  if (task === '') throw usage('--task is the name of a task')
  if (limit !== undefined) count(args, 'limit', 1)
  if (args.flags['delay-ms'] !== undefined) count(args, 'delay-ms', 0, yearMs)
}
