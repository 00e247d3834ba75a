/** How Telegram is asked: no redirect is followed, and no more is read of an answer than it may have. */

/** What the library makes of a call. Its signal is of a kind that `fetch` does not know. */
export interface Request {
  method?: string
  headers?: Record<string, string>
  body?: unknown
  signal?: Pick<EventTarget, 'addEventListener' | 'removeEventListener'> & { readonly aborted: boolean }
}

/** All that the library asks of an answer. */
export interface Answer {
  json(): Promise<unknown>
}

/** An answer that is none of the Bot API's. */
export class OddAnswer extends Error {
  override readonly name = 'OddAnswer'
  readonly isTooLarge: boolean

  constructor(message: string, { isTooLarge = false } = {}) {
    super(message)
    this.isTooLarge = isTooLarge
  }
}

/** @param bytesMax of an answer, unpacked */
export const cappedFetch =
  (bytesMax: number) =>
  async (url: unknown, { method, headers, body, signal }: Request = {}): Promise<Answer> => {
    const own = new AbortController()
    const abort = () => own.abort()
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort)
    try {
      const response = await fetch(String(url), {
        ...(method && { method }),
        ...(headers && { headers }),
        body: body as string,
        redirect: 'error',
        signal: own.signal,
      })
      const text = await textOf(response, bytesMax)
      const answer = parsed(text, response.status)
      return { json: async () => answer }
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

async function textOf(response: Response, bytesMax: number): Promise<string> {
  const chunks: Uint8Array[] = []
  let bytes = 0
  for await (const chunk of response.body ?? []) {
    bytes += chunk.byteLength
    // Leaving the loop ends the connection.
    if (bytes > bytesMax) throw new OddAnswer(`an answer has more than ${bytesMax} bytes`, { isTooLarge: true })
    chunks.push(chunk)
  }
  return Buffer.concat(chunks).toString()
}

/** Every answer of the Bot API is `{ ok: true, result }` or `{ ok: false, error_code, description }`; what stands before it may say anything. */
function parsed(text: string, status: number): unknown {
  const odd = new OddAnswer(`status ${status}, and no answer of the Bot API`)
  let answer: unknown
  try {
    answer = JSON.parse(text)
  } catch {
    throw odd
  }
  if (typeof answer !== 'object' || answer === null) throw odd
  const { ok, error_code: code, description } = answer as Record<string, unknown>
  if (ok === true && 'result' in answer) return answer
  if (ok === false && Number.isInteger(code) && typeof description === 'string') return answer
  throw odd
}
