import { asCaller, type Caller, currentCaller } from '@/core/caller'
import type { Database } from '@/core/database'
import { toAppError } from '@/core/error'
import { idempotencyErrors, type KeyedRequest, strangersKeyMin } from '@/core/idempotency'
import { actorOf, type Identity } from '@/core/identity'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { Cipher } from '@/core/seal'
import { pathOf, type TrackedRequest } from '../http/request'
import { problemResponse } from '../http/problem'
import { type Effect, holdEffects } from './effect'
import { claimRequest } from './rows'

export interface IdempotencyTools {
  db: Database
  /** Of the root key; made when the first key comes. */
  cipher: () => Cipher
  log: Log
  metrics: Metrics
}

type Handler = (request: Request, server?: unknown) => Promise<Response> | Response

/** Longer answers are not kept; whoever asks for one again learns that it has been carried out. */
const answerCharactersMax = 262_144
const keptHeaders = ['content-type', 'location', 'etag', 'retry-after', 'allow', 'www-authenticate'] as const
const keyPattern = /^("?)([\x21\x23-\x2b\x2d-\x5b\x5d-\x7e]{1,255})\1$/
/** When what is being worked on may be done. */
const retryAfterSeconds = 1

interface Answer {
  status: number
  headers: Record<string, string>
  body: string | null
}

interface Keyed extends KeyedRequest, TrackedRequest {
  identity?: Identity
}

/**
 * Answers requests with an `Idempotency-Key`. What stands for one is its caller, its route and its key; what is kept of it is
 * digests and, encrypted, its answer.
 *
 * Kept are the answers of handlers, but for 5xx and 429: after those the request may be tried again, unless something of it has
 * been committed. What is refused before the handler takes no key.
 */
export function idempotency({ db, cipher, log, metrics }: IdempotencyTools) {
  const effectOf = holdEffects(db)
  const outcomes = metrics.counter({
    name: 'bingo_idempotent_requests_total',
    help: 'Requests with an Idempotency-Key that reached their handler, by what became of them.',
    labels: ['outcome'],
  })
  const count = (outcome: string) => outcomes.with({ outcome }).add()

  async function claim(request: Keyed, key: string, route: string): Promise<Response | undefined> {
    const caller = currentCaller() as Caller
    const { digest, open } = cipher()
    const actor = request.identity && actorOf(request.identity)
    if (actor === undefined && key.length < strangersKeyMin) throw idempotencyErrors.KeyTooShort()
    const who = actor ?? 'anonymous'
    const id = digest(JSON.stringify([who, request.method, route, key]))
    const { url, headers } = request
    const fingerprint = digest(JSON.stringify([url.slice(url.indexOf('/', 8)), headers.get('if-match'), request.bodyText ?? '']))
    const found = await claimRequest(db, id, fingerprint)
    count(found.is)
    if (found.is === 'other') throw idempotencyErrors.KeyReused()
    if (found.is === 'running') throw idempotencyErrors.KeyInUse({ retryAfterSeconds })
    if (found.is === 'lost') throw idempotencyErrors.AnswerLost()
    if (found.is === 'done') {
      const text = open(found.answer, id)
      if (text === undefined) throw idempotencyErrors.AnswerLost()
      return replay(JSON.parse(text) as Answer)
    }
    caller.once = effectOf(found.claim)
    effects.set(caller, { effect: caller.once as Effect, id })
    return undefined
  }

  const effects = new WeakMap<Caller, { effect: Effect; id: string }>()

  /** @param routeOf a path without what is different for each of its objects */
  return (answer: Handler, routeOf: (path: string) => string | undefined) =>
    async (request: Keyed, header: string, server: unknown): Promise<Response> => {
      const caller: Caller = currentCaller() ?? {}
      const path = pathOf(request.url)
      request.claimKey = async () => {
        const key = keyPattern.exec(header)?.[2]
        if (key === undefined) throw idempotencyErrors.KeyMalformed()
        return claim(request, key, routeOf(path) ?? path)
      }
      return asCaller(caller, async () => {
        const response = await answer(request, server)
        const claimed = effects.get(caller)
        if (!claimed) return response
        const kept = await keptOf(response)
        try {
          const isNoted = await claimed.effect.finish(kept.answer && cipher().close(JSON.stringify(kept.answer), claimed.id))
          if (!isNoted) log.warn('the answer to a request with an Idempotency-Key could not be kept', { requestId: request.requestId })
          return kept.response
        } catch (thrown) {
          log.warn('what a request with an Idempotency-Key did was not committed', { requestId: request.requestId, err: thrown })
          return problemResponse(toAppError(thrown), path, request.requestId, {})
        }
      })
    }
}

/** @returns what is to be kept of it, if it is, and the response, which can be read once only */
async function keptOf(response: Response): Promise<{ answer: Answer | undefined; response: Response }> {
  const { status, headers } = response
  const type = headers.get('content-type')
  const isText = type === null || /^application\/(problem\+)?json/.test(type)
  if (status >= 500 || status === 429 || !isText) return { answer: undefined, response }
  const body = response.body === null ? null : await response.text()
  const again = new Response(body, { status, headers })
  if ((body?.length ?? 0) > answerCharactersMax) return { answer: undefined, response: again }
  const kept = Object.fromEntries(keptHeaders.flatMap(name => (headers.has(name) ? [[name, headers.get(name) as string]] : [])))
  return { answer: { status, headers: kept, body }, response: again }
}

const replay = ({ status, headers, body }: Answer) =>
  new Response(body, { status, headers: { ...headers, 'idempotency-replayed': 'true' } })
