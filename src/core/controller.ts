import { type AnyElysia, Elysia, t } from 'elysia'
import { type Access, accessNames, isForEveryone } from './access'
import type { Kind } from './error'
import { guardOf } from './guard'
import { claimKey, refuseKey } from './idempotency'
import type { RateClass } from './rate-limit'

export { adminOf, identityOf, userIdOf, userOf } from './guard'

/** What an answer says besides its body: see core/etag.ts, core/download.ts and core/session-cookies.ts. */
export type SuccessHeader = 'ETag' | 'Location' | 'Content-Disposition' | 'Set-Cookie'

/** The routes of one noun, bound to no server. */
export type Controller = AnyElysia

/**
 * Starts a controller: an Elysia instance whose routes also take
 * - `access`: who may call it, which is enforced before its input is validated; a route without it fails the build
 * - `fails`: the kinds of error that its biz throws, for the documents; what any route can answer is added by itself
 * - `gives`: the media types that it answers with when it succeeds, where that is not JSON; it returns a `Response` then
 * - `sets`: the headers of its answer that clients go by, when it succeeds, for the documents
 * - `givesSecrets`: its answer holds what is shown once, so that it is not kept for an `Idempotency-Key`, which it refuses
 * - `limit`: what its requests count as, where the method does not say it: `credentials` for what tries credentials or sends codes,
 *   `none` for what comes from machines that sign it, and all from a few addresses
 *
 * Paths are `''` and `'/:id'`, bodies say `parse: 'json'`.
 */
export function controller(options: { prefix: '' | `/${string}`; tags: string[] }) {
  const made = new Elysia(options).macro({
    access: (rules: readonly Access[]) => ({
      detail: documented({ 'x-access': accessNames(rules) }),
      // A hook that lets everyone pass would cost every request a little.
      ...(isForEveryone(rules) ? {} : { transform: guardOf(rules) as never }),
    }),
    limit: (rateClass: RateClass | 'none') => ({ detail: documented({ 'x-limit': rateClass }) }),
    gives: (mediaTypes: readonly string[]) => ({ detail: documented({ 'x-gives': [...mediaTypes] }) }),
    fails: (kinds: readonly Kind[]) => ({ detail: documented({ 'x-fails': [...kinds] }) }),
    sets: (headers: readonly SuccessHeader[]) => ({ detail: documented({ 'x-sets': [...headers] }) }),
    givesSecrets: (is: true) => ({ detail: documented({ 'x-secrets': is }) }),
  })
  // Here, and not for all routes by a hook of the server: one that waits would cost those that only read.
  const adding = made as unknown as Record<'post' | 'patch', (path: string, handler: unknown, hook?: Hook) => unknown>
  for (const method of ['post', 'patch'] as const) {
    const add = adding[method].bind(made)
    adding[method] = (path, handler, hook) => add(path, handler, keyed(hook))
  }
  return made
}

/**
 * Which page of a list is asked for: the query of a route, or `pageQuery.properties` of one that takes more. By Elysia's `t`, which
 * reads the number from the text that a query is.
 */
export const pageQuery = t.Object(
  {
    pageSize: t.Optional(t.Integer({ description: 'How many; 20 by default, at most 100.' })),
    pageToken: t.Optional(t.String({ maxLength: 1024, description: 'nextPageToken of the page before.' })),
  },
  { additionalProperties: false },
)

/** The headers of a route that changes what has a version: see `expectedBy`. */
export const ifMatch = t.Object({
  'if-match': t.Optional(t.String({ maxLength: 1024, description: 'ETag that you have seen; 412 when it is another by now.' })),
})

interface Hook {
  givesSecrets?: true
  beforeHandle?: unknown
}
/** What changes something may be asked to do so once only. */
const keyed = (hook: Hook = {}): Hook => ({
  ...hook,
  beforeHandle: [hook.givesSecrets ? refuseKey : claimKey, ...[hook.beforeHandle ?? []].flat()],
})

/** Elysia's type of `detail` has no room for extensions, which OpenAPI allows under names that begin with `x-`. */
const documented = (extension: Record<`x-${string}`, unknown>): object => extension
