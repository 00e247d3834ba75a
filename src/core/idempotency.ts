import { dayMs } from './clock'
import { defineErrors } from './error'

/** Characters of the keys of callers whom nobody knows, who else would get in each other's way with `1` and `2`. */
export const strangersKeyMin = 16

/**
 * What a request that comes twice is told, when it says by the header `Idempotency-Key` that it must take effect once only
 * (draft-ietf-httpapi-idempotency-key-header-07). See docs/security.md for what is promised.
 */
export const idempotencyErrors = defineErrors({
  KeyMalformed: [
    'InvalidArgument',
    'Send Idempotency-Key as 1–255 visible ASCII characters without quote, comma and backslash, such as a UUID.',
  ],
  KeyTooShort: [
    'InvalidArgument',
    `Callers who have not logged in share their keys: send an Idempotency-Key of at least ${strangersKeyMin} random characters, such as a UUID.`,
  ],
  KeyNotTaken: ['InvalidArgument', 'This answers with a secret, which is not kept; send no Idempotency-Key.'],
  KeyReused: ['Unprocessable', 'The Idempotency-Key has been used for another request; use a new one for each.'],
  KeyInUse: ['Conflict', 'The request with this Idempotency-Key is being worked on; ask again.'],
  AnswerLost: ['Conflict', 'The request with this Idempotency-Key has taken effect, and its answer is not known any more.'],
  GivenUp: ['Aborted', 'The request took too long, and another attempt at it goes on.'],
})

/** So long a key stands for its request, from the first attempt on. */
export const keyTtlMs = dayMs

/** What a request does that must take effect once. Kept on its caller, so that whatever has an effect knows of it. */
export interface Once {
  /** Said before something is done that no transaction can undo: from then on it is not done again. */
  beforeOutside(): Promise<void>
  /** What it has written is not committed yet: copies of rows are older. */
  readonly isHolding: boolean
}

/** A request that came with a key, which its server has put there. */
export interface KeyedRequest extends Request {
  /** @returns what the request was answered with the first time, if it was; else it is this one that is to be carried out */
  claimKey?: () => Promise<Response | undefined>
  /** Its body as it was sent, once that is read. */
  bodyText?: string
}

/**
 * Before the handler of routes that change something. Elysia reads its source: a call behind `return` is waited for. It is no async
 * function, since that would make a promise for each request without a key, too.
 */
export function claimKey({ request }: { request: KeyedRequest }): Promise<Response | undefined> | undefined {
  if (request.claimKey === undefined) return undefined
  return request.claimKey()
}

/** The same of routes whose answers hold secrets. */
export function refuseKey({ request }: { request: KeyedRequest }): void {
  if (request.claimKey) throw idempotencyErrors.KeyNotTaken()
}
