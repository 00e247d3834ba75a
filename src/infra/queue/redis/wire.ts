import type { TaskError, TaskState } from '@/core/queue/admin'
import {
  type Claim,
  type Claimed,
  type Ended,
  type EnqueueReply,
  type ExchangeReply,
  type Finish,
  type FinishStatus,
  type Held,
  historyMs,
  keptError,
  type NewTask,
  type PeekedTask,
  type Snapshot,
  type StoredTask,
} from '../driver'
import { readSeen, readTotal } from '../snapshot'
import { wordsOfLimits } from './limits'

/** How calls and replies look to the scripts; `scripts/shared.ts` says how the keys do. */
type Word = string | number

export const metaKeyOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:m`
export const wakeKeyOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:w`
export const channelOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:c`
export const endsChannelOf = (prefix: string, queue: string): string => `${prefix}:{${queue}}:n`

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
export function checkTask(task: NewTask): void {
  const { id, priority, delayMs, unique, lane, follower, after, group } = task
  const isRight =
    isId(id) &&
    Number.isInteger(priority) &&
    priority >= 0 &&
    priority <= 9 &&
    isDuration(delayMs) &&
    (!unique ||
      (unique.key.length === uniqueKeyLength && Number.isInteger(unique.forMs) && unique.forMs > 0 && isDuration(unique.forMs))) &&
    (lane === undefined || isId(lane)) &&
    (!follower || isId(follower.id)) &&
    (!after || (Number.isInteger(after.count) && after.count > 0 && !unique)) &&
    (!group || isGroup(task, group))
  if (!isRight)
    throw new Error(`not a task for the queue: ${JSON.stringify({ id, priority, delayMs, unique, lane, follower, after, group })}`)
}

const isCount = (value: number) => Number.isInteger(value) && value > 0 && isDuration(value)
const isGroup = (
  { delayMs, unique, follower, after }: NewTask,
  { key, countMax, bytesMax, delayMs: pauseMs, delayMaxMs }: NonNullable<NewTask['group']>,
) =>
  key.length === uniqueKeyLength &&
  isId(key) &&
  [countMax, bytesMax, pauseMs, delayMaxMs].every(isCount) &&
  delayMaxMs >= pauseMs &&
  !(delayMs > 0 || unique || follower || after)

export function wordsOfTasks(tasks: readonly NewTask[]): Word[] {
  const words: Word[] = []
  for (const task of tasks) {
    const { id, isIdKept, priority, delayMs, unique, lane, follower, after, group } = task
    const flags =
      (isIdKept ? flagsOf.idKept : 0) +
      (unique ? flagsOf.unique : 0) +
      (lane === undefined ? 0 : flagsOf.lane) +
      (follower ? flagsOf.follower : 0)
    words.push(id, `${priority}${flags.toString(16)}${after ? 'h' : group ? 'g' : delayMs > 0 ? 'd' : ''}`, restOf(task))
    if (after) words.push(`${after.count} ${after.isDoneNeeded ? 1 : 0} ${delayMs}`)
    else if (group) words.push(`${group.key} ${group.countMax} ${group.bytesMax} ${group.delayMs} ${group.delayMaxMs}`)
    else if (delayMs > 0) words.push(delayMs)
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
    if (typeof word === 'string') return { id: word.slice(1), status: word[0] === '=' ? 'unique' : 'joined' }
    return { id, status: replies[word] ?? 'duplicate' }
  })
}

const replies = ['enqueued', 'duplicate', 'full'] as const

/** What an owner is known by. */
export const heldOf = ({ attempt, nonce }: Held): string => `${attempt}:${nonce}`

export function wordsOfFinishes(finishes: readonly Finish[]): Word[] {
  const words: Word[] = [finishes.length]
  for (const finish of finishes) {
    words.push(finish.id, heldOf(finish), letterOf(finish))
    if (isKept(finish)) words.push(keepForMsOf(finish), finish.result ?? '')
    if (finish.outcome === 'retry' || finish.outcome === 'snooze') {
      if (!isDuration(finish.delayMs)) throw new Error(`no time to wait for ${finish.id}: ${finish.delayMs}`)
      words.push(finish.delayMs)
    }
    if (finish.outcome === 'retry' || finish.outcome === 'dead') words.push(keptError(finish.error))
  }
  return words
}

const letters = { done: 'd', release: 'l', cancelled: 'c', snooze: 's', retry: 'r' } as const
function letterOf(finish: Finish): string {
  if (finish.outcome === 'dead') return finish.isFailure ? 'x' : 'y'
  return isKept(finish) ? 'k' : letters[finish.outcome]
}

type Done = Extract<Finish, { outcome: 'done' }>
/** Of most that are done nothing is said but that. */
const isKept = (finish: Finish): finish is Done => finish.outcome === 'done' && Boolean(finish.keepForMs || finish.result !== undefined)

function keepForMsOf({ id, keepForMs = 0 }: Done): number {
  if (!isDuration(keepForMs)) throw new Error(`no time to keep ${id}: ${keepForMs}`)
  return keepForMs
}

/**
 * @param rememberedMs how long the nonce gets the same tasks again
 * @param remembersNothingToo also when it gets none
 */
export const wordsOfClaim = (
  { worker, nonce, count, leaseMs, limits }: Claim,
  rememberedMs: number,
  remembersNothingToo: boolean,
  forgotten: string,
): Word[] => [worker, nonce, count, leaseMs, rememberedMs, remembersNothingToo ? 1 : 0, forgotten, ...wordsOfLimits(limits)]

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
  const flags = flagsIn(entry)
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

const flagsIn = (entry: string) => Number.parseInt(entry[1] as string, 16)

function uniqueOf(entry: string): NewTask['unique'] {
  if (entry === '' || !(flagsIn(entry) & flagsOf.unique)) return undefined
  const [from, to] = [headLength + uniqueKeyLength, headLength + uniqueKeyLength + uniqueForLength]
  return { key: entry.slice(headLength, from), forMs: Number.parseInt(entry.slice(from, to), 16) }
}

export function storedTask(reply: unknown): StoredTask {
  type Told = [string, TaskState, string, string, string, unknown, string[], string, string, number]
  const [id, state, at, entry, owner, pairs, errors, progress, result, endedCount] = reply as Told
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
  const unique = uniqueOf(entry)
  if (unique) task.unique = unique
  if (lane !== undefined) task.lane = lane
  if (worker) task.worker = worker
  if (at !== '') task.atMs = Number(at)
  if (progress !== '') task.progress = progress
  if (result !== '') task.result = result
  if (state === 'held') task.heldFor = Number(fields['n'] ?? 0) - endedCount
  return task
}

/** Of `<ms> <totals>|<what was seen>`. */
export function readSnapshot(text: string, nowMs: number): Snapshot[] {
  const [, at, counted = '', seen = ''] = /^(\d+) ([^|]*)\|(.*)$/.exec(text) ?? []
  const agoMs = nowMs - Number(at)
  return agoMs >= 0 && agoMs <= historyMs ? [{ agoMs, total: readTotal(counted), seen: readSeen(seen) }] : []
}

const outcomes: Record<string, Ended['outcome']> = { d: 'done', x: 'dead', c: 'cancelled' }

/** @param reply ids, and letters with results */
export function endedOf(reply: unknown): Ended[] {
  const words = reply as string[]
  const ended: Ended[] = []
  for (let i = 0; i + 1 < words.length; i += 2) {
    const [id, word] = [words[i] as string, words[i + 1] as string]
    ended.push({ id, outcome: outcomes[word[0] as string] ?? 'dead', ...(word.length > 1 && { result: word.slice(1) }) })
  }
  return ended.toSorted((a, b) => (a.id < b.id ? -1 : 1))
}

export function peekedTasks(reply: unknown): (PeekedTask | undefined)[] {
  return (reply as (0 | [outcome: '' | 'done' | 'dead', result: string, error: string, progress: string])[]).map(each => {
    if (each === 0) return undefined
    const [outcome, result, error, progress] = each
    return {
      ...(outcome !== '' && { outcome }),
      ...(result !== '' && { result }),
      ...(error !== '' && { error: errorOf(error).message }),
      ...(progress !== '' && { progress }),
    }
  })
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
