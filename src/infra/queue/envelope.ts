import type { Backoff } from '@/core/queue/task'

/**
 * What travels with a task and never changes. What a task's declaration says is not repeated here: a new version of it holds for what waits.
 *
 * That of a group has a line for each that was enqueued, as drivers add them; what is said besides the payloads is that of the first.
 */
export interface Envelope {
  task: string
  /** Of a group the list of them, in the order in which they came. */
  payload: unknown
  isGroup: boolean
  /** By the clock of the process that enqueued it; for people. */
  enqueuedAtMs: number
  headers: Readonly<Record<string, string>>
  said: EnvelopeOptions
}

/** What was said when the task was enqueued, and only that. */
export interface EnvelopeOptions {
  maxRetries?: number
  backoff?: Backoff
  timeoutMs?: number
  keepForMs?: number
  /** Milliseconds since 1970. */
  deadlineMs?: number
  /** What is known of them where the task is kept; here they are for who counts how long it has waited since. */
  delayMs?: number
  atMs?: number
  /** It was held for others when it was enqueued. */
  isHeld?: true
}

/** What one task, or one member of a group, is packed from. */
export interface EnvelopeParts extends Omit<Envelope, 'isGroup'> {
  /** Of a member of a group: its id, so that no two lines are the same. */
  memberId?: string
}

type Packed = [
  task: string,
  enqueuedAtMs: number,
  payload: unknown,
  headers?: Record<string, string> | 0,
  said?: EnvelopeOptions | 0,
  memberId?: string,
]

/**
 * From when it could have been started, by the clock of the process that enqueued it; undefined when that is not written down: of one that was
 * held until others had ended, and of a group, which was collected first.
 */
export const readyMsOf = ({ enqueuedAtMs, isGroup, said: { delayMs = 0, atMs = 0, isHeld } }: Envelope): number | undefined =>
  isGroup || isHeld ? undefined : Math.max(enqueuedAtMs + delayMs, atMs)

/** As short as JSON can be, since a million of them may wait. Has no line feed. @throws TypeError when the payload cannot be written as JSON */
export function packEnvelope({ task, payload, enqueuedAtMs, headers, said, memberId }: EnvelopeParts): string {
  const hasHeaders = Object.keys(headers).length > 0
  const packed: Packed = [task, enqueuedAtMs, payload]
  const isSaid = Object.keys(said).length > 0
  if (isSaid || memberId !== undefined) packed.push(hasHeaders ? headers : 0, isSaid ? said : 0)
  else if (hasHeaders) packed.push(headers)
  if (memberId !== undefined) packed.push(memberId)
  return JSON.stringify(packed)
}

/** @returns undefined when it was not written by `packEnvelope` */
export function readEnvelope(text: string): Envelope | undefined {
  if (text.includes('\n')) return readGroup(linesOf(text))
  const packed = unpacked(text)
  return packed && envelopeOf(packed, packed[5] === undefined ? undefined : [packed[2]])
}

/** What is wrong with one that `readEnvelope` cannot read. */
export function faultOfEnvelope(text: string): string {
  const lines = linesOf(text)
  if (lines.length === 1) return 'what is stored is no task'
  const packed = lines.map(unpacked)
  const at = packed.findIndex(each => each?.[0] !== packed[0]?.[0] || each === undefined)
  return `line ${at + 1} of the ${lines.length} of a group is ${packed[at] ? 'of another task' : 'no task'}`
}

/** A torn log of Redis may have left a line twice: their ids are in them, so it is the same line. */
const linesOf = (text: string) => [...new Set(text.split('\n'))]

function readGroup(lines: readonly string[]): Envelope | undefined {
  const payloads: unknown[] = []
  let first: Packed | undefined
  for (const line of lines) {
    const packed = unpacked(line)
    first ??= packed
    if (!packed || packed[0] !== first?.[0]) return undefined
    payloads.push(packed[2])
  }
  return first && envelopeOf(first, payloads)
}

function envelopeOf([task, enqueuedAtMs, payload, headers, said]: Packed, payloads: unknown[] | undefined): Envelope {
  return { task, enqueuedAtMs, payload: payloads ?? payload, isGroup: payloads !== undefined, headers: headers || {}, said: said || {} }
}

function unpacked(text: string): Packed | undefined {
  try {
    const packed = JSON.parse(text) as Packed
    return typeof packed[0] === 'string' && typeof packed[1] === 'number' ? packed : undefined
  } catch {
    return undefined
  }
}
