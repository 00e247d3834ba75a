import type { TaskError, TaskState } from '@/core/queue/admin'
import {
  type Claim,
  type Claimed,
  type EnqueueReply,
  type ExchangeReply,
  type Finish,
  type FinishStatus,
  type Held,
  keptError,
  type NewTask,
  type StoredTask,
} from '../driver'

/** How calls and replies look to the scripts; `scripts/shared.ts` says how the keys do. */
type Word = string | number

export const metaKeyOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:m`
export const wakeKeyOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:w`
export const channelOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:c`

/** Of priority, flags and time; what the flags name follows. */
const headLength = 13
const uniqueKeyLength = 22
/** Of a unique key: for how many ms, in hexadecimal digits. */
const uniqueForLength = 11
const flagsOf = { idKept: 1, unique: 2, lane: 4, follower: 8 } as const

/** Far more than anybody may ask for, and few enough digits for the head. */
const durationMsMax = 1e12
const isDuration = (ms: number) => Number.isFinite(ms) && ms >= 0 && ms <= durationMsMax
/** A lane has no other characters, and is no longer: its length is two hexadecimal digits. */
const isId = (id: string) => /^[\x21-\x7a|~]{1,128}$/.test(id)

/** Its callers see to that. But a script that finds such a thing has written half of what it writes. @throws Error */
export function checkTask({ id, priority, delayMs, unique, lane, follower }: NewTask): void {
  const isRight =
    isId(id) &&
    Number.isInteger(priority) &&
    priority >= 0 &&
    priority <= 9 &&
    isDuration(delayMs) &&
    (!unique ||
      (unique.key.length === uniqueKeyLength && Number.isInteger(unique.forMs) && unique.forMs > 0 && isDuration(unique.forMs))) &&
    (lane === undefined || isId(lane)) &&
    (!follower || isId(follower.id))
  if (!isRight) throw new Error(`not a task for the queue: ${JSON.stringify({ id, priority, delayMs, unique, lane, follower })}`)
}

export function wordsOfTasks(tasks: readonly NewTask[]): Word[] {
  const words: Word[] = []
  for (const task of tasks) {
    const { id, isIdKept, priority, delayMs, unique, lane, follower } = task
    const flags =
      (isIdKept ? flagsOf.idKept : 0) +
      (unique ? flagsOf.unique : 0) +
      (lane === undefined ? 0 : flagsOf.lane) +
      (follower ? flagsOf.follower : 0)
    words.push(id, `${priority}${flags.toString(16)}${delayMs > 0 ? 'd' : ''}`, restOf(task))
    if (delayMs > 0) words.push(delayMs)
  }
  return words
}

/** What follows the time in an entry. */
function restOf({ unique, lane, follower, envelope }: NewTask): string {
  let rest = envelope
  if (follower) rest = withLength(`${follower.wantsResult ? '+' : '-'}${follower.id}`) + rest
  if (lane !== undefined) rest = withLength(lane) + rest
  return unique ? uniqueHeadOf(unique) + rest : rest
}

const withLength = (text: string) => text.length.toString(16).padStart(2, '0') + text
const uniqueHeadOf = ({ key, forMs }: { key: string; forMs: number }) => key + forMs.toString(16).padStart(uniqueForLength, '0')

/** @param reply 0 for all, else a word for each */
export function enqueueReplies(tasks: readonly NewTask[], reply: unknown): EnqueueReply[] {
  if (!Array.isArray(reply)) return tasks.map(({ id }) => ({ id, status: 'enqueued' }))
  return tasks.map(({ id }, i) => {
    const word = reply[i] as number | string
    if (typeof word === 'string') return { id: word, status: 'unique' }
    return { id, status: word === 0 ? 'enqueued' : 'duplicate' }
  })
}

/** What an owner is known by. */
export const heldOf = ({ attempt, nonce }: Held): string => `${attempt}:${nonce}`

export function wordsOfFinishes(finishes: readonly Finish[]): Word[] {
  const words: Word[] = [finishes.length]
  for (const finish of finishes) {
    words.push(finish.id, heldOf(finish), letterOf(finish))
    if (finish.outcome === 'retry' || finish.outcome === 'snooze') {
      if (!isDuration(finish.delayMs)) throw new Error(`no time to wait for ${finish.id}: ${finish.delayMs}`)
      words.push(finish.delayMs)
    }
    if (finish.outcome === 'retry' || finish.outcome === 'dead') words.push(keptError(finish.error))
  }
  return words
}

const letters = { done: 'd', release: 'l', cancelled: 'c', snooze: 's', retry: 'r' } as const
const letterOf = (finish: Finish) => (finish.outcome === 'dead' ? (finish.isFailure ? 'x' : 'y') : letters[finish.outcome])

/**
 * @param rememberedMs how long the nonce gets the same tasks again
 * @param remembersNothingToo also when it gets none
 */
export const wordsOfClaim = (
  { worker, nonce, count, leaseMs }: Claim,
  rememberedMs: number,
  remembersNothingToo: boolean,
  forgotten: string,
): Word[] => [worker, nonce, count, leaseMs, rememberedMs, remembersNothingToo ? 1 : 0, forgotten]

const statuses: Record<string, FinishStatus> = { o: 'ok', s: 'stale', g: 'gone' }

/** Counters of a first attempt. */
const fresh = '1 0 0'

export function exchangeReply(reply: unknown): ExchangeReply {
  const [said, dueMs, words] = reply as [string, number, string[]]
  const claimed: Claimed[] = []
  for (let i = 0; i + 2 < words.length; i += 3) {
    const counters = words[i + 2] as string
    const [attempt, failures, crashes] = (counters === fresh ? [1, 0, 0] : counters.split(' ').map(Number)) as [number, number, number]
    claimed.push({ id: words[i] as string, attempt, failures, crashes, envelope: envelopeOf(words[i + 1] as string) })
  }
  const finished = Array.from(said, letter => statuses[letter] as FinishStatus)
  return dueMs < 0 ? { finished, claimed } : { finished, claimed, nextDueMs: dueMs }
}

const envelopeOf = (entry: string) => entry.slice(entry.charCodeAt(1) > 0x31 ? partsOf(entry).length : headLength)

/** What the flags of an entry say besides, and how long its head is with that. */
function partsOf(entry: string): { lane?: string; length: number } {
  const flags = Number.parseInt(entry[1] as string, 16)
  let at = headLength + (flags & flagsOf.unique ? uniqueKeyLength + uniqueForLength : 0)
  const next = () => {
    const from = at + 2
    at = from + Number.parseInt(entry.slice(at, from), 16)
    return entry.slice(from, at)
  }
  const lane = flags & flagsOf.lane ? next() : undefined
  if (flags & flagsOf.follower) next()
  return lane === undefined ? { length: at } : { lane, length: at }
}

export function storedTask(reply: unknown): StoredTask {
  const [id, state, at, entry, owner, pairs, errors] = reply as [string, TaskState, string, string, string, unknown, string[]]
  const [attempt, , worker] = /^(\d+):\S+ (\S+) (.*)$/.exec(owner)?.slice(1) ?? []
  const fields = fieldsOf(pairs)
  const task: StoredTask = {
    id,
    state,
    priority: entry === '' ? 0 : Number(entry[0]),
    envelope: entry === '' ? undefined : envelopeOf(entry),
    attempt: Number(attempt ?? fields['a'] ?? 0),
    failures: Number(fields['f'] ?? 0),
    crashes: Number(fields['x'] ?? 0),
    isCancelled: fields['c'] !== undefined,
    errors: errors.map(errorOf),
  }
  const { lane } = entry === '' ? {} : partsOf(entry)
  if (lane !== undefined) task.lane = lane
  if (worker) task.worker = worker
  if (at !== '') task.atMs = Number(at)
  return task
}

function fieldsOf(pairs: unknown): Record<string, string> {
  const list = pairs as string[]
  const fields: Record<string, string> = {}
  for (let i = 0; i + 1 < list.length; i += 2) fields[list[i] as string] = list[i + 1] as string
  return fields
}

function errorOf(text: string): TaskError {
  const [at = '', attempt = ''] = text.split(' ', 2)
  return { at: new Date(Number(at)).toISOString(), attempt: Number(attempt), message: text.slice(at.length + attempt.length + 2) }
}
