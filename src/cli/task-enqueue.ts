import { statSync } from 'node:fs'
import { AppError, exitCodes, StartError } from '@/core/error'
import { type EnqueueItem, type EnqueueOptions, type Enqueued, PartlyEnqueued, type Queue, refusals, TaskRefused } from '@/core/queue/queue'
import { type TaskView, taskStates } from '@/core/queue/admin'
import type { AnyTask, Priority } from '@/core/queue/task'
import { usage } from './arguments'
import { progressBar } from './progress-bar'
import { printable } from '@/core/printable'

/** Tasks from the command line: one, or one for each line of a file. */
export interface FromOptions {
  /** For every line that does not say it itself. */
  options: EnqueueOptions
  isJson: boolean
  lineMaxBytes: number
}

const batchMax = 1000

/** @throws StartError with exit code 64 for what is refused, since all of it stands on the command line */
export async function enqueueOne(queue: Queue, task: AnyTask, text: string, options: EnqueueOptions, isJson: boolean): Promise<number> {
  const payload = parsed(text, '--payload', exitCodes.usage)
  const reply = await queue.enqueue(task, payload, options).catch(thrown => {
    throw thrown instanceof TaskRefused ? usage(`${refusals[thrown.code]} ${wordsOf(thrown)}`.trimEnd()) : thrown
  })
  say(reply, isJson)
  return exitCodes.ok
}

/** @throws StartError with the line that is at fault; those of the batches before it are enqueued by then, and it says so */
export async function enqueueFrom(
  queue: Queue,
  task: AnyTask,
  from: string,
  { options, isJson, lineMaxBytes }: FromOptions,
): Promise<number> {
  const { stream, totalBytes, name } = source(from)
  const bar = progressBar(totalBytes)
  const counts: Record<Enqueued['status'], number> = { enqueued: 0, joined: 0, duplicate: 0, unique: 0 }
  let batch: Line[] = []
  let readBytes = 0

  async function flush(): Promise<void> {
    const lines = batch
    batch = []
    if (lines.length === 0) return
    const replies = await queue
      .enqueueMany(
        task,
        lines.map(({ item }) => item),
      )
      .catch(thrown => {
        for (const reply of repliesOf(thrown)) if (reply) say(reply, isJson)
        throw explained(thrown, name, lines)
      })
    for (const reply of replies) {
      counts[reply.status]++
      say(reply, isJson)
    }
    bar.show(readBytes, `${counts.enqueued} enqueued`)
  }

  try {
    for await (const { text, number, bytes } of linesOf(stream, lineMaxBytes, name)) {
      readBytes += bytes
      if (text.trim() === '') continue
      batch.push({ number, item: itemOf(task, text, `${name}:${number}`, options) })
      if (batch.length === batchMax) await flush()
    }
    await flush()
  } finally {
    bar.end()
  }
  const { enqueued, joined, duplicate, unique } = counts
  const added = joined > 0 ? `, ${joined} joined groups` : ''
  console.error(`bingo: ${enqueued} enqueued${added}, ${duplicate} were there already, ${unique} not unique`)
  return exitCodes.ok
}

interface Line {
  number: number
  item: EnqueueItem<unknown>
}

const say = ({ id, status }: Enqueued, isJson: boolean) => console.log(isJson ? JSON.stringify({ id, status }) : `${id}  ${status}`)

function source(from: string): { stream: ReadableStream<Uint8Array>; totalBytes: number | undefined; name: string } {
  if (from === '-') return { stream: Bun.stdin.stream(), totalBytes: undefined, name: 'standard input' }
  const found = statSync(from, { throwIfNoEntry: false })
  if (!found || found.isDirectory()) throw usage(`--from: there is no file ${JSON.stringify(from)}; say - for standard input`)
  // Of a pipe nobody knows how long it is.
  return { stream: Bun.file(from).stream(), totalBytes: found.isFile() ? found.size : undefined, name: from }
}

/** Lines with their numbers, from 1. @throws StartError for one that is longer than any payload */
async function* linesOf(stream: ReadableStream<Uint8Array>, maxBytes: number, name: string) {
  const decoder = new TextDecoder('utf-8', { fatal: true })
  let parts: Uint8Array[] = []
  let size = 0
  let number = 1
  const line = () => {
    const bytes = Buffer.concat(parts)
    parts = []
    size = 0
    try {
      return { text: decoder.decode(bytes), number: number++, bytes: bytes.length + 1 }
    } catch {
      throw new StartError(`${name}:${number}: is not UTF-8; lines are JSON in UTF-8`)
    }
  }
  for await (const chunk of stream) {
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      parts.push(chunk.subarray(start, end))
      start = end + 1
      yield line()
    }
    parts.push(chunk.slice(start))
    size += chunk.length - start
    if (size > maxBytes)
      throw new StartError(
        `${name}:${number}: is longer than ${maxBytes} bytes; raise queue.payloadMaxBytes, or keep what is large elsewhere`,
      )
  }
  if (size > 0) yield line()
}

/** A payload, or an object with a payload and options beside it, or what `task list --json` writes of a task. */
function itemOf(task: AnyTask, text: string, place: string, shared: EnqueueOptions): EnqueueItem<unknown> {
  const value = parsed(text, place)
  if (typeof value !== 'object' || value === null) return { ...shared, payload: value }
  if (isExported(value)) return { ...exported(task, value, place), ...shared }
  if (!Object.hasOwn(value, 'payload')) return { ...shared, payload: value }
  const { payload, options = {}, ...more } = value as { payload: unknown; options?: unknown }
  const isObject = typeof options === 'object' && options !== null && !Array.isArray(options)
  // A task may have a field that is called so.
  if (task.check(value) === undefined) return { ...shared, payload: value }
  const stray = Object.keys(more)
  if (stray.length > 0 || !isObject || Object.hasOwn(options, 'payload') || Object.hasOwn(options, 'tx'))
    throw new StartError(
      `${place}: options go into "options": {"payload": …, "options": {"delayMs": …, "id": …}}${stray.map(name => `; ${printable(name)} stands beside it`).join('')}`,
    )
  return { ...shared, ...options, payload }
}

type Exported = Pick<TaskView, 'id' | 'queue' | 'priority' | 'task' | 'payload' | 'groupSize' | 'headers' | 'runAt' | 'lane'>

const isExported = (value: object): value is Exported => {
  const { id, queue, state, task } = value as Record<string, unknown>
  return [id, queue, task].every(text => typeof text === 'string') && taskStates.some(each => each === state)
}

/** The same task under its own id, so that it is not there twice however often its line is read. */
function exported(task: AnyTask, line: Exported, place: string): EnqueueItem<unknown> {
  const { id, queue, priority, payload, headers, runAt: at } = line
  if (line.groupSize !== undefined)
    throw new StartError(
      `${place}: is a group of ${line.groupSize} tasks, which cannot be enqueued as one; write a line for each of its payloads, or let 'bingo task retry' do it`,
    )
  if (line.task !== task.name) throw new StartError(`${place}: is of the task ${printable(String(line.task))}, not ${task.name}`)
  // Behind the name of its limit, which has no such mark. A task that is under none by now has nothing to share.
  const lane = String(line.lane ?? '')
  const slash = task.rules.limit ? lane.indexOf('/') : -1
  const key = slash === -1 ? {} : { key: lane.slice(slash + 1) }
  return { id, queue, payload, priority: priority as Priority, ...key, ...(headers && { headers }), ...(at !== undefined && { at }) }
}

function parsed(text: string, place: string, exitCode?: number): unknown {
  try {
    return JSON.parse(text)
  } catch (thrown) {
    throw new StartError(`${place}: is no JSON: ${printable((thrown as Error).message)}`, exitCode)
  }
}

/** With the number of the line in the place of that of the item, and what has become of the others. */
function explained(thrown: unknown, name: string, lines: readonly Line[]): unknown {
  const first = lines[0]?.number ?? 1
  const before = first > 1 ? `; the lines before ${first} are enqueued: ${goOn(name, first)}` : '; nothing is enqueued'
  if (thrown instanceof AppError && thrown.kind === 'Unavailable')
    console.error(`bingo: ${name}: gave up in the lines ${first}–${lines.at(-1)?.number}${farOf(thrown, name, lines) ?? before}`)
  if (!(thrown instanceof TaskRefused)) return thrown
  const at = /^\/(\d+)/.exec(thrown.problems[0]?.pointer ?? '')?.[1]
  return new StartError(`${name}:${lines[Number(at ?? 0)]?.number}: ${refusals[thrown.code]} ${wordsOf(thrown)}${before}`)
}

const goOn = (name: string, first: number) =>
  `go on with 'tail -n +${first} ${name === 'standard input' ? 'FILE' : JSON.stringify(name)} | bingo task enqueue … --from=-'`

/** What became of each of a batch, when the queue was full midway. */
const repliesOf = (thrown: unknown): PartlyEnqueued['replies'] =>
  thrown instanceof AppError && thrown.cause instanceof PartlyEnqueued ? thrown.cause.replies : []

const unlessIds = ', which enqueues those again unless their lines say an id'

/** Which of a batch are there, when it may be some; undefined when it is none. */
function farOf(thrown: AppError, name: string, lines: readonly Line[]): string | undefined {
  // No answer came.
  if (thrown.code !== 'Unavailable.QueueFull') return `, of which some may be enqueued: ${goOn(name, lines[0]?.number ?? 1)}${unlessIds}`
  const replies = repliesOf(thrown)
  const at = replies.indexOf(undefined)
  if (at === -1) return undefined
  const first = lines[at]?.number ?? 1
  const behind = replies.slice(at).filter(reply => reply !== undefined).length
  const far = `; ${at + behind} of them are enqueued`
  return behind === 0 ? `${far}: ${goOn(name, first)}` : `${far}, ${behind} behind line ${first}: ${goOn(name, first)}${unlessIds}`
}

/** What is at fault, without the place of the item. */
const wordsOf = ({ problems }: TaskRefused) =>
  problems
    .map(({ pointer, detail }) => [printable(pointer.replace(/^\/\d+\/(payload)?/, '')), printable(detail)].filter(Boolean).join(': '))
    .join('; ')
