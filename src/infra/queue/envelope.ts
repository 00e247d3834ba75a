import type { Backoff } from '@/core/queue/task'

/** What travels with a task and never changes. What a task's declaration says is not repeated here: a new version of it holds for what waits. */
export interface Envelope {
  task: string
  payload: unknown
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
}

type Packed = [task: string, enqueuedAtMs: number, payload: unknown, headers?: Record<string, string> | 0, said?: EnvelopeOptions]

/** As short as JSON can be, since a million of them may wait. @throws TypeError when the payload cannot be written as JSON */
export function packEnvelope({ task, payload, enqueuedAtMs, headers, said }: Envelope): string {
  const hasHeaders = Object.keys(headers).length > 0
  const packed: Packed = [task, enqueuedAtMs, payload]
  if (Object.keys(said).length > 0) packed.push(hasHeaders ? headers : 0, said)
  else if (hasHeaders) packed.push(headers)
  return JSON.stringify(packed)
}

/** @returns undefined when it was not written by `packEnvelope` */
export function readEnvelope(text: string): Envelope | undefined {
  try {
    const [task, enqueuedAtMs, payload, headers, said] = JSON.parse(text) as Packed
    if (typeof task !== 'string' || typeof enqueuedAtMs !== 'number') return undefined
    return { task, enqueuedAtMs, payload, headers: headers || {}, said: said ?? {} }
  } catch {
    return undefined
  }
}
