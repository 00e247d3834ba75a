import { createInvalidRequests } from './invalid-requests'

/**
 * How the library for Discord asks: with a cap on what is read, and with limits that are said exactly. Discord says how long to wait as
 * whole seconds in a header and exactly in the body; the library reads the header.
 */
export type DiscordFetch = (url: string, init: RequestInit) => Promise<Response>

export interface FetchTools {
  /** The whole bot must be quiet for so long. */
  onGlobalLimit(forMs: number): void
  nowMs?: () => number
}

/** Discord refuses to answer an address that has asked in vain too often, for much longer than this says. */
export class TooManyInvalid extends Error {
  readonly waitMs: number

  constructor(waitMs: number) {
    super('too many requests were refused')
    this.waitMs = waitMs
  }
}

const answerMaxBytes = 1024 * 1024
/** Where the answer does not say: of whatever stands before Discord. */
const waitUnsaidMs = 30_000
const waitMaxMs = 86_400_000

export function createDiscordFetch({ onGlobalLimit, nowMs = () => performance.now() }: FetchTools): DiscordFetch {
  const invalid = createInvalidRequests(nowMs)
  return async (url, { method, headers, body, signal }) => {
    const waitMs = invalid.waitMs()
    if (waitMs > 0) throw new TooManyInvalid(waitMs)
    // Nothing says where else a token may be sent.
    const answer = await fetch(url, { ...({ method, headers, body, signal } as RequestInit), redirect: 'error' })
    const bytes = await readAtMost(answer, answerMaxBytes)
    if (answer.status === 401 || answer.status === 403) invalid.note()
    if (answer.status !== 429) return rebuilt(answer, bytes)
    const limit = limitOf(answer, bytes)
    // Limits that all share are nobody's fault.
    if (limit.scope !== 'shared') invalid.note()
    if (limit.isGlobal) onGlobalLimit(limit.waitMs)
    return rebuilt(answer, bytes, headersOf(limit))
  }
}

interface Limit {
  waitMs: number
  isGlobal: boolean
  scope: string | null
}

function limitOf({ headers }: Response, bytes: Uint8Array): Limit {
  const said = jsonOf(bytes)
  const seconds = [said['retry_after'], Number(headers.get('retry-after') ?? Number.NaN)].find(each => Number.isFinite(each))
  const waitMs = seconds === undefined ? waitUnsaidMs : Math.min(waitMaxMs, Math.max(0, Number(seconds) * 1000))
  return { waitMs, isGlobal: said['global'] === true || headers.has('x-ratelimit-global'), scope: headers.get('x-ratelimit-scope') }
}

/** As the library reads them. A limit that is not the bot's is of the bucket, whatever is said to be left in it. */
function headersOf({ waitMs, isGlobal }: Limit): Record<string, string> {
  const seconds = String(waitMs / 1000)
  if (isGlobal) return { 'retry-after': seconds, 'x-ratelimit-global': 'true' }
  return { 'retry-after': seconds, 'x-ratelimit-remaining': '0', 'x-ratelimit-reset-after': seconds }
}

function jsonOf(bytes: Uint8Array): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(bytes))
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {}
  } catch {
    return {}
  }
}

function rebuilt({ status, statusText, headers }: Response, bytes: Uint8Array<ArrayBuffer>, more: Record<string, string> = {}): Response {
  const all = new Headers(headers)
  for (const name of ['content-encoding', 'content-length', 'transfer-encoding']) all.delete(name)
  for (const [name, value] of Object.entries(more)) all.set(name, value)
  return new Response(bytes.length > 0 ? bytes : null, { status, statusText, headers: all })
}

/** @throws Error for what is longer, without reading all of it */
async function readAtMost(answer: Response, maxBytes: number): Promise<Uint8Array<ArrayBuffer>> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of answer.body ?? []) {
    length += chunk.length
    if (length > maxBytes) throw new Error(`the answer is longer than ${maxBytes} bytes`)
    chunks.push(chunk)
  }
  return new Uint8Array(Buffer.concat(chunks))
}
