import type { Database } from '@/core/database'
import type { FieldProblem } from '@/core/error'
import {
  type BatchOptions,
  type ChainOptions,
  type Enqueued,
  type EnqueuedBatch,
  type EnqueueOptions,
  type Step,
  TaskRefused,
} from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import { beforeMax, type NewTask } from './driver'
import { batchesOf, placed } from './pieces'

/**
 * Tasks that are enqueued together, since some wait for others. Who waits is enqueued before those that it waits for, so whoever dies in
 * the midst of it leaves tasks that are held, which operators see, and nothing that is done in part.
 */
export interface Relating {
  /** @throws TaskRefused when no role works it */
  queueOf(task: AnyTask, options: EnqueueOptions): string
  /** @throws TaskRefused with all that is wrong */
  prepare(step: Step, isHeld: boolean): NewTask
  /** Whether no more than so many may wait in it. */
  isBounded(queue: string): boolean
  /** @param isLetIn whether it has room for these, however full it is. @throws QueueFull */
  hand(queue: string, made: NewTask[], tx: Database | undefined, isLetIn: boolean): Promise<Enqueued[]>
}

const chainMax = 100
const batchMax = 10_000
/** What is added to it makes ids of it. */
const idPattern = /^[\x21-\x7a|~]{1,100}$/
/** As many digits as the greatest place has, so that ids are in the order of their tasks. */
const digits = 5

export async function enqueueChain(relating: Relating, steps: readonly Step[], options: ChainOptions = {}): Promise<Enqueued[]> {
  if (steps.length === 0) return []
  if (steps.length > chainMax)
    throw refused('', `is a chain of ${steps.length} tasks, and may have ${chainMax}: let its last task enqueue the next chain`)
  const { queue, tx, isIdKept, base } = shared(relating, steps, options)
  const ids = steps.map((_, i) => idOf(base, i))
  const tasks = steps.map((each, i): NewTask => {
    const next = ids[i + 1]
    return {
      ...prepared(relating, each, { queue, at: i, isHeld: i > 0 }),
      ...{ id: ids[i] as string, isIdKept },
      ...(i > 0 && { after: { count: 1, isDoneNeeded: true } }),
      ...(next !== undefined && { follower: { id: next, wantsResult: true } }),
    }
  })
  const replies = await handAll(relating, queue, tasks.toReversed(), tx)
  return replies.toReversed()
}

export async function enqueueBatch(
  relating: Relating,
  steps: readonly Step[],
  last: Step,
  options: BatchOptions = {},
): Promise<EnqueuedBatch> {
  if (steps.length > batchMax) throw new TaskRefused('TooMany')
  const { need = 'ended' } = options
  if (need !== 'ended' && need !== 'done') throw refused('need', "must be 'ended' or 'done'")
  const { queue, tx, isIdKept, base } = shared(relating, [...steps, last], options)
  const follower = { id: `${base}.last`, wantsResult: steps.length <= beforeMax }
  const isHeld = steps.length > 0
  const held: NewTask = {
    ...prepared(relating, last, { queue, at: steps.length, isHeld }),
    ...{ id: follower.id, isIdKept },
    ...(isHeld && { after: { count: steps.length, isDoneNeeded: need === 'done' } }),
  }
  const tasks = steps.map((each, at): NewTask => {
    return { ...prepared(relating, each, { queue, at, isHeld: false }), id: idOf(base, at), isIdKept, follower }
  })
  const [reply, ...replies] = await handAll(relating, queue, [held, ...tasks], tx)
  return { tasks: replies, last: reply as Enqueued }
}

const idOf = (base: string, place: number): string => `${base}.${String(place + 1).padStart(digits, '0')}`

/** What holds for all of them. */
function shared(relating: Relating, steps: readonly Step[], { tx, queue, id }: ChainOptions) {
  if (id !== undefined && !(typeof id === 'string' && idPattern.test(id)))
    throw refused('id', 'must be 1–100 printable ASCII characters without spaces and braces')
  const { task, options } = steps[0] as Step
  const own = relating.queueOf(task, queue === undefined ? options : { queue })
  const strays = steps.flatMap((each, at): FieldProblem[] => {
    const said = each.options.queue ?? (queue === undefined ? each.task.defaults.queue : queue)
    if (said === own) return []
    const detail = `is ${said}, and all are enqueued to ${own}, since who waits and who is waited for are in one queue: say it for all of them, { queue: '${own}' }`
    return [{ pointer: `/${at}/queue`, detail }]
  })
  if (strays.length > 0) throw new TaskRefused('OptionInvalid', strays)
  return { queue: own, tx, isIdKept: id !== undefined, base: id ?? Bun.randomUUIDv7('base64url') }
}

interface Place {
  queue: string
  at: number
  isHeld: boolean
}

/** The options of one that the others count on. */
const unfit = {
  id: 'is made from the id of all of them: say that',
  group: 'would make it a part of another task, for which nobody waits: leave it out',
  tx: 'is said for all of them',
  uniqueFor: 'would leave out one that is waited for: leave it out, and say `id` for all of them, which enqueues them once only',
  uniqueKey: 'would leave out one that is waited for: leave it out, and say `id` for all of them, which enqueues them once only',
}

function prepared(relating: Relating, { task, payload, options }: Step, { queue, at, isHeld }: Place): NewTask {
  try {
    const said = options as EnqueueOptions
    const problems = Object.entries(unfit).flatMap(([pointer, detail]) =>
      said[pointer as keyof typeof unfit] === undefined ? [] : [{ pointer, detail }],
    )
    if (isHeld && said.at !== undefined)
      problems.push({ pointer: 'at', detail: 'is no time for one that waits for others: say delayMs, from when they have ended' })
    if (problems.length > 0) throw new TaskRefused('OptionInvalid', problems)
    return relating.prepare({ task, payload, options: { ...options, queue } }, isHeld)
  } catch (thrown) {
    throw placed(thrown, at)
  }
}

/** In their order, though it takes several calls. Room is asked for once, for the first, which would wait for the others for ever. */
async function handAll(relating: Relating, queue: string, tasks: readonly NewTask[], tx: Database | undefined): Promise<Enqueued[]> {
  const { isBounded, hand } = relating
  const alone = isBounded(queue) ? tasks.slice(0, 1) : []
  const replies = alone.length > 0 ? await hand(queue, alone, tx, false) : []
  for (const { made } of batchesOf(tasks.slice(alone.length).map(task => [queue, task])))
    replies.push(...(await hand(queue, made, tx, true)))
  return replies
}

const refused = (pointer: string, detail: string) => new TaskRefused('OptionInvalid', [{ pointer, detail }])
