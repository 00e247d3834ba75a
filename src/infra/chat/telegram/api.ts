import { printable } from '@/core/printable'
import { type TSchema, Type, validatorOf } from '@/core/schema'
import { cappedFetch, OddAnswer } from './fetch'

/** The methods of the Bot API that are used, and all that knows the library. What is answered is checked against a schema. */
export interface TelegramApi {
  /**
   * @param payload as the Bot API has it, in its own names
   * @throws TelegramRefusal, TelegramSilence, or what `signal` was aborted with
   */
  call<M extends Method>(method: M, payload: object, signal: AbortSignal): Promise<Answered[M]>
}

export interface Answered {
  getMe: { id: number; username: string }
  /** Each has its number; what else they have nobody has checked. */
  getUpdates: { update_id: number }[]
  getWebhookInfo: { url: string; allowed_updates?: string[] }
  setWebhook: true
  deleteWebhook: true
  setMyCommands: true
  sendMessage: { message_id: number }
}
export type Method = keyof Answered

/** Telegram has answered that it does not do it. */
export class TelegramRefusal extends Error {
  override readonly name = 'TelegramRefusal'
  readonly code: number
  /** In its own words, cut, and nothing in it that a terminal would obey. */
  readonly description: string
  readonly retryAfterSeconds: number | undefined
  /** The id that the group has now. */
  readonly movedTo: string | undefined

  constructor(
    method: Method,
    code: number,
    description: string,
    more: { retryAfterSeconds?: number | undefined; movedTo?: string | undefined },
  ) {
    super(`${method}: ${code} ${description}`)
    this.code = code
    this.description = description
    this.retryAfterSeconds = more.retryAfterSeconds
    this.movedTo = more.movedTo
  }
}

/** No answer came, or none that makes sense. Whether it was done is not known, but for what `isUnasked`: that was not. */
export class TelegramSilence extends Error {
  override readonly name = 'TelegramSilence'
  readonly isTooLarge: boolean
  readonly isUnasked: boolean

  constructor(method: Method, why: string, { isTooLarge = false, isUnasked = false } = {}) {
    super(`${method}: ${why}`)
    this.isTooLarge = isTooLarge
    this.isUnasked = isUnasked
  }
}

/** Telegram holds this one open until there is something new, for at most as long. */
export const pollSeconds = 25
const callTimeoutMs = 15_000
const pollTimeoutMs = pollSeconds * 1000 + callTimeoutMs
const answerMaxBytes = 4 * 1024 * 1024
const descriptionMax = 200
const retryAfterMaxSeconds = 86_400
/** Asked for too often, without being told until when. */
const retryAfterDefaultSeconds = 5

const whole = Type.Integer({ minimum: Number.MIN_SAFE_INTEGER, maximum: Number.MAX_SAFE_INTEGER })
const done = Type.Literal(true)
const schemas: Record<Method, TSchema> = {
  getMe: Type.Object({ id: whole, username: Type.String({ minLength: 1, maxLength: 64 }) }),
  getUpdates: Type.Array(Type.Object({ update_id: whole }), { maxItems: 100 }),
  getWebhookInfo: Type.Object({ url: Type.String(), allowed_updates: Type.Optional(Type.Array(Type.String())) }),
  setWebhook: done,
  deleteWebhook: done,
  setMyCommands: done,
  sendMessage: Type.Object({ message_id: whole }),
}

/** The library is loaded with the first call. @param apiRoot without what tells one bot from another */
export function telegramApi(token: string, apiRoot: string): TelegramApi {
  let opening: Promise<Raw> | undefined
  const validators = new Map<Method, ReturnType<typeof validatorOf>>()
  const raw = () => {
    opening ??= openRaw(token, apiRoot)
    return opening
  }

  function checked<M extends Method>(method: M, answer: unknown): Answered[M] {
    const validator = validators.get(method) ?? validatorOf(schemas[method])
    validators.set(method, validator)
    if (validator(answer) !== undefined) throw new TelegramSilence(method, 'the answer is not of the kind that it should be')
    return answer as Answered[M]
  }

  return {
    async call(method, payload, signal) {
      signal.throwIfAborted()
      const limit = AbortSignal.timeout(method === 'getUpdates' ? pollTimeoutMs : callTimeoutMs)
      try {
        const { api } = await raw()
        return checked(method, await api[method](payload, AbortSignal.any([signal, limit])))
      } catch (thrown) {
        if (signal.aborted) throw signal.reason
        throw await understood(method, thrown, limit.aborted)
      }
    },
  }
}

interface Raw {
  api: Record<Method, (payload: object, signal: AbortSignal) => Promise<unknown>>
}

async function openRaw(token: string, apiRoot: string): Promise<Raw> {
  const { Api } = await import('grammy')
  const fetch = cappedFetch(answerMaxBytes) as never
  const api = new Api(token, { apiRoot: apiRoot.replace(/\/$/, ''), fetch, timeoutSeconds: (2 * pollTimeoutMs) / 1000 })
  const raw = api.raw as unknown as Raw['api']
  return { api: Object.fromEntries(Object.keys(schemas).map(name => [name, methodOf(raw, name as Method)])) as Raw['api'] }
}

/** They take a signal in the place of what they would be told. */
const bare: readonly Method[] = ['getMe', 'getWebhookInfo']
const methodOf = (raw: Raw['api'], name: Method): Raw['api'][Method] =>
  bare.includes(name)
    ? (_, signal) => (raw[name] as (signal: unknown) => Promise<unknown>)(signal)
    : (payload, signal) => raw[name](payload, signal)

/** Without what the library and the runtime keep in their errors: the URL has the token in it, and the payload what somebody said. */
async function understood(method: Method, thrown: unknown, isLate: boolean): Promise<unknown> {
  const { GrammyError, HttpError } = await import('grammy')
  if (thrown instanceof TelegramSilence) return thrown
  if (isLate) return new TelegramSilence(method, 'no answer in time')
  if (thrown instanceof GrammyError) return refusalOf(method, thrown)
  const cause = thrown instanceof HttpError ? thrown.error : thrown
  if (cause instanceof OddAnswer) return new TelegramSilence(method, cause.message, cause)
  const code = codeOf(cause)
  return new TelegramSilence(method, `it cannot be reached (${code})`, { isUnasked: unasked.test(code) })
}

/** Nobody was there, or it was not Telegram: of everything else the request may have arrived. */
const unasked =
  /^(ECONNREFUSED|ConnectionRefused|FailedToOpenSocket|ENOTFOUND|EAI_AGAIN|ENETUNREACH|EHOSTUNREACH)$|CERT|^UNABLE_TO_(GET|VERIFY)_/

const codeOf = (thrown: unknown): string => {
  const { code, name } = (thrown ?? {}) as { code?: unknown; name?: unknown }
  return printable(String(code ?? name ?? 'unknown').slice(0, 64))
}

interface Refused {
  error_code: number
  description: string
  parameters?: unknown
}

function refusalOf(method: Method, { error_code: code, description, parameters }: Refused): TelegramRefusal {
  const { retry_after: retryAfter, migrate_to_chat_id: movedTo } = (parameters ?? {}) as Record<string, unknown>
  const seconds = typeof retryAfter === 'number' && retryAfter >= 0 ? Math.min(retryAfter, retryAfterMaxSeconds) : undefined
  return new TelegramRefusal(method, code, printable(description.slice(0, descriptionMax).toWellFormed()), {
    retryAfterSeconds: code === 429 ? (seconds ?? retryAfterDefaultSeconds) : undefined,
    movedTo: Number.isSafeInteger(movedTo) ? String(movedTo) : undefined,
  })
}
