import { roles } from '@roles'
import { tasksOf } from '@/app'
import { exitCodes, StartError } from '@/core/error'
import { type TaskState, taskStates } from '@/core/queue/admin'
import type { Arguments } from './arguments'
import { errorLines, findingLine, statsLines, taskBlock, taskTable } from './task-output'
import { count, explained, isAnswer, isJsonOf, queuesIn, type Run } from './task-run'

/** What `bingo task` shows. */

const pageSize = 500
const limitDefault = 50

export async function list({ args, admin }: Run): Promise<number> {
  const isJson = isJsonOf(args)
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

const statesIn = ({ flags: { state } }: Arguments): readonly TaskState[] =>
  state === undefined ? taskStates : taskStates.filter(each => each === state)

export async function show({ args, rest: [id = ''], admin }: Run): Promise<number> {
  const task = await admin.show(id, args.flags['queue']).catch(thrown => {
    throw isAnswer(thrown) ? new StartError(explained(id, thrown)) : thrown
  })
  console.log(isJsonOf(args) ? JSON.stringify(task) : taskBlock(task))
  return exitCodes.ok
}

export async function stats({ args, admin }: Run): Promise<number> {
  const all = []
  for (const queue of queuesIn(args, admin)) all.push(await admin.stats(queue))
  for (const line of isJsonOf(args) ? all.map(each => JSON.stringify(each)) : statsLines(all)) console.log(line)
  return exitCodes.ok
}

export async function errors({ args, admin }: Run): Promise<number> {
  const isJson = isJsonOf(args)
  const options = args.flags['limit'] === undefined ? {} : { scannedMax: count(args, 'limit', 1) }
  let isEmpty = true
  for (const queue of queuesIn(args, admin)) {
    const { groups, scanned, others, isPartial } = await admin.errors(queue, options)
    if (groups.length > 0 && !isEmpty && !isJson) console.log('')
    if (groups.length > 0) isEmpty = false
    for (const line of isJson ? groups.map(each => JSON.stringify({ queue, ...each })) : errorLines(queue, groups)) console.log(line)
    if (others > 0) console.error(`bingo: ${others} more dead letters of ${queue} are in none of these groups`)
    if (isPartial)
      console.error(`bingo: only the newest ${scanned} dead letters of ${queue} were looked at; --limit=${scanned * 10} looks at more`)
  }
  if (isEmpty) console.error('bingo: there are no dead letters')
  return exitCodes.ok
}

export async function fsck({ args, admin }: Run): Promise<number> {
  const fix = args.flags['fix'] !== undefined
  let found = 0
  let fixed = 0
  for (const queue of queuesIn(args, admin)) {
    for await (const finding of admin.fsck(queue, { fix })) {
      found++
      if (finding.fixed) fixed++
      console.log(isJsonOf(args) ? JSON.stringify(finding) : findingLine(finding))
    }
  }
  const left = found - fixed
  if (found === 0) console.error('bingo: all is well')
  else
    console.error(`bingo: ${found} found, ${fixed} mended${left > 0 && !fix ? "; 'bingo task fsck --fix' mends what can be mended" : ''}`)
  return left > 0 ? exitCodes.failed : exitCodes.ok
}
