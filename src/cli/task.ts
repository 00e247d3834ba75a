import { existsSync } from 'node:fs'
import { roles } from '@roles'
import { queuesOf, tasksOf } from '@/app'
import type { Config } from '@/core/config/settings'
import { yearMs } from '@/core/clock'
import { AppError, exitCodes, StartError } from '@/core/error'
import { refuseIdleTasks } from '@/core/role'
import { worksOf } from '@/core/works'
import type { AnyTask } from '@/core/queue/task'
import { type QueueAdmin, type TaskState, taskStates } from '@/core/queue/admin'
import { isEmbedded, sqlitePath } from '@/infra/database/open'
import { openPorts } from '@/infra/ports'
import type { OpenQueue } from '@/infra/queue/open'
import { type Arguments, type Flags, usage } from './arguments'
import { type Command, configOf } from './command'
import { refuseOldTables, toolsOf } from './migrate'
import { enqueueFrom, enqueueOne } from './task-enqueue'
import { findingLine, printable, statsLines, taskBlock, taskTable } from './task-output'

const flags: Flags = {
  queue: { value: 'QUEUE', summary: 'The queue; that of the task for enqueue, and all of them for the others, when it is not said.' },
  state: { value: 'STATE', summary: `list: ${taskStates.join(', ')}; all when it is not said.` },
  limit: { value: 'COUNT', summary: 'list: at most so many of each queue and state; 50 when it is not said.' },
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
  yes: { summary: 'delete: without asking.' },
}

type Action = (run: Run) => Promise<number>
interface Run {
  args: Arguments
  config: Config
  /** What stands after the action. */
  rest: readonly string[]
  queue: OpenQueue
  admin: QueueAdmin
}

const actions: Record<string, { takes: string; flags: readonly string[]; act: Action; least: number; most: number }> = {
  enqueue: { takes: 'NAME', flags: ['queue', 'payload', 'from', 'delay-ms', 'id'], act: enqueue, least: 1, most: 1 },
  list: { takes: '', flags: ['queue', 'state', 'limit'], act: list, least: 0, most: 0 },
  show: { takes: 'ID', flags: ['queue'], act: show, least: 1, most: 1 },
  retry: { takes: 'ID…', flags: ['queue'], act: retry, least: 1, most: 1000 },
  cancel: { takes: 'ID…', flags: ['queue'], act: cancel, least: 1, most: 1000 },
  delete: { takes: 'ID…', flags: ['queue', 'yes'], act: remove, least: 1, most: 1000 },
  stats: { takes: '', flags: ['queue'], act: stats, least: 0, most: 0 },
  fsck: { takes: '', flags: ['queue', 'fix'], act: fsck, least: 0, most: 0 },
}
const names = Object.keys(actions)

export const taskCommand: Command = {
  name: 'task',
  usage: `${names.join('|')} [--json]`,
  summary: 'Enqueues tasks, shows them, tries them again, ends and removes them; compares what belongs together.',
  flags,
  examples: [
    [`bingo task enqueue email.send --payload '{"userId":"…","purpose":"welcome"}'`, 'one task'],
    ['bingo task enqueue email.send --from payloads.ndjson', 'one for each line'],
    ['bingo task list --state dead --json', 'dead letters, one JSON object a line'],
    ['bingo task retry ID', 'a dead letter waits again'],
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
    if (name === 'delete') await confirmed(args, rest)
    const { config } = configOf(args)
    return withQueue(config, queue => action.act({ args, config, rest, queue, admin: queue.admin }))
  },
}

/** @throws StartError when there is no database yet, its tables are old, or the queue cannot be reached */
async function withQueue<T>(config: Config, work: (queue: OpenQueue) => Promise<T>): Promise<T> {
  if (isEmbedded(config) && !existsSync(sqlitePath(config)))
    throw new StartError(`there is no database yet; ${sqlitePath(config)} is made by the first start, or by 'bingo migrate up'`)
  const opened = await openPorts(config, new Set(['queue']), {
    ...toolsOf(config),
    tasks: tasksOf(roles),
    queues: queuesOf(roles),
    rules: worksOf(roles).queues,
  })
  try {
    if (opened.db) await refuseOldTables(opened.db)
    return await work(opened.queue as OpenQueue)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'Unavailable.QueueUnavailable') throw thrown
    const where = isEmbedded(config)
      ? `${sqlitePath(config)} can be written`
      : 'Redis is running, takes writes, and is the one that BINGO_REDIS_URL names'
    throw new StartError(`the queue cannot be reached, or takes no writes; see whether ${where}`, exitCodes.failed, { cause: thrown })
  } finally {
    await opened.close()
  }
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

async function enqueue({ args, config, rest, queue }: Run): Promise<number> {
  const task = checkEnqueue(args, rest)
  const { payload, from, id, queue: named } = args.flags
  const options = {
    ...(id !== undefined && { id }),
    ...(named !== undefined && { queue: named }),
    ...(args.flags['delay-ms'] !== undefined && { delayMs: count(args, 'delay-ms', 0) }),
  }
  const isJson = args.switches.has('json')
  if (payload !== undefined) return enqueueOne(queue.queue, task, payload, options, isJson)
  return enqueueFrom(queue.queue, task, from as string, { options, isJson, lineMaxBytes: 2 * config.queue.payloadMaxBytes })
}

const pageSize = 500
const limitDefault = 50

async function list({ args, admin }: Run): Promise<number> {
  const isJson = args.switches.has('json')
  const limit = args.flags['limit'] === undefined ? limitDefault : count(args, 'limit', 1)
  const table = taskTable(
    admin.queues,
    tasksOf(roles).map(({ name }) => name),
  )
  let isEmpty = true
  for (const queue of queuesIn(args, admin)) {
    for (const state of statesIn(args)) {
      let left = limit
      let pageToken: string | undefined
      do {
        const page = await admin.list(queue, state, { pageSize: Math.min(left, pageSize), ...(pageToken !== undefined && { pageToken }) })
        if (isEmpty && page.items.length > 0 && !isJson) console.log(table.head)
        if (page.items.length > 0) isEmpty = false
        for (const task of page.items) console.log(isJson ? JSON.stringify(task) : table.line(task))
        left -= page.items.length
        pageToken = page.nextPageToken
      } while (pageToken !== undefined && left > 0)
      if (pageToken !== undefined) console.error(`bingo: there are more ${state} tasks in ${queue}; --limit=${limit * 10} shows more`)
    }
  }
  if (isEmpty) console.error('bingo: there are none')
  return exitCodes.ok
}

async function show({ args, rest: [id = ''], admin }: Run): Promise<number> {
  const task = await admin.show(id, args.flags['queue']).catch(thrown => {
    throw isAnswer(thrown) ? new StartError(explained(id, thrown)) : thrown
  })
  console.log(args.switches.has('json') ? JSON.stringify(task) : taskBlock(task))
  return exitCodes.ok
}

function retry(run: Run): Promise<number> {
  return onEach(run, async (id, queue) => {
    await run.admin.retry(id, queue)
    return 'retried'
  })
}
function cancel(run: Run): Promise<number> {
  return onEach(run, (id, queue) => run.admin.cancel(id, queue))
}
function remove(run: Run): Promise<number> {
  return onEach(run, async (id, queue) => {
    await run.admin.remove(id, queue)
    return 'deleted'
  })
}

/** One after the other; one that cannot be done does not keep the others from it. */
async function onEach({ args, rest }: Run, work: (id: string, queue?: string) => Promise<string>): Promise<number> {
  let code: number = exitCodes.ok
  for (const id of rest) {
    try {
      const result = await work(id, args.flags['queue'])
      console.log(args.switches.has('json') ? JSON.stringify({ id, result }) : `${id}  ${result}`)
    } catch (thrown) {
      if (!isAnswer(thrown)) throw thrown
      console.error(`bingo: ${explained(id, thrown)}`)
      code = exitCodes.failed
    }
  }
  return code
}

const isAnswer = (thrown: unknown): thrown is AppError => thrown instanceof AppError && thrown.kind !== 'Unavailable'
const explained = (id: string, { code, message }: AppError) => `${printable(id)}: ${message} ${remedies[code] ?? ''}`.trimEnd()

const remedies: Readonly<Record<string, string>> = {
  'NotFound.TaskNotFound': "It is done, or was never there; 'bingo task list' shows what is.",
  'FailedPrecondition.TaskNotDead': "It is on its way by itself, or done; 'bingo task show' says where.",
  'FailedPrecondition.TaskActive': "'bingo task cancel' tells it to end.",
}

async function stats({ args, admin }: Run): Promise<number> {
  const all = []
  for (const queue of queuesIn(args, admin)) all.push(await admin.stats(queue))
  for (const line of args.switches.has('json') ? all.map(each => JSON.stringify(each)) : statsLines(all)) console.log(line)
  return exitCodes.ok
}

async function fsck({ args, admin }: Run): Promise<number> {
  const fix = args.flags['fix'] !== undefined
  let found = 0
  let fixed = 0
  for (const queue of queuesIn(args, admin)) {
    for await (const finding of admin.fsck(queue, { fix })) {
      found++
      if (finding.fixed) fixed++
      console.log(args.switches.has('json') ? JSON.stringify(finding) : findingLine(finding))
    }
  }
  const left = found - fixed
  if (found === 0) console.error('bingo: all is well')
  else
    console.error(`bingo: ${found} found, ${fixed} mended${left > 0 && !fix ? "; 'bingo task fsck --fix' mends what can be mended" : ''}`)
  return left > 0 ? exitCodes.failed : exitCodes.ok
}

const queuesIn = ({ flags: { queue } }: Arguments, admin: QueueAdmin): readonly string[] => (queue === undefined ? admin.queues : [queue])

const statesIn = ({ flags: { state } }: Arguments): readonly TaskState[] =>
  state === undefined ? taskStates : taskStates.filter(each => each === state)

/** @throws StartError with exit code 64 */
function checkFlags(args: Arguments): void {
  const { queue, state, limit } = args.flags
  const queues = queuesOf(roles)
  if (queue !== undefined && !queues.includes(queue))
    throw usage(`there is no queue ${JSON.stringify(queue)}; queues are ${queues.join(', ')}`)
  if (state !== undefined && !taskStates.some(each => each === state))
    throw usage(`there is no state ${JSON.stringify(state)}; states are ${taskStates.join(', ')}`)
  if (limit !== undefined) count(args, 'limit', 1)
  if (args.flags['delay-ms'] !== undefined) count(args, 'delay-ms', 0)
}

const countMax = yearMs

function count({ flags: given }: Arguments, flag: string, least: number): number {
  const text = given[flag] ?? ''
  const number = Number(text)
  if (!/^\d{1,15}$/.test(text) || number < least || number > countMax)
    throw usage(`--${flag} is a number from ${least} to ${countMax}, not ${JSON.stringify(text)}`)
  return number
}

/** What is removed does not come back. @throws StartError with exit code 64 where nobody can be asked */
async function confirmed({ flags: { yes } }: Arguments, ids: readonly string[]): Promise<void> {
  if (yes !== undefined) return
  if (!process.stdin.isTTY) throw usage('bingo task delete removes for good; say --yes')
  process.stderr.write(`Remove ${ids.length === 1 ? `the task ${printable(ids[0] ?? '')}` : `${ids.length} tasks`} for good? [y/N] `)
  for await (const line of console) {
    if (/^y(es)?$/i.test(line.trim())) return
    break
  }
  throw new StartError('nothing was removed')
}
