import { type AnyElysia, Elysia } from 'elysia'
import { type Access, accessName } from './access'
import type { Kind } from './error'

/** The routes of one noun, bound to no server. */
export type Controller = AnyElysia

/**
 * Starts a controller: an Elysia instance whose routes also take
 * - `access`: who may call it; a route without it fails the build
 * - `fails`: the kinds of error that its biz throws, for the documents; what any route can answer is added by itself
 * - `gives`: the media types that it answers with when it succeeds, where that is not JSON; it returns a `Response` then
 *
 * Paths are `''` and `'/:id'`, bodies say `parse: 'json'`.
 */
export const controller = (options: { prefix: `/${string}`; tags: string[] }) =>
  new Elysia(options).macro({
    access: (rules: readonly Access[]) => ({ detail: documented({ 'x-access': rules.map(accessName) }) }),
    gives: (mediaTypes: readonly string[]) => ({ detail: documented({ 'x-gives': [...mediaTypes] }) }),
    fails: (kinds: readonly Kind[]) => ({ detail: documented({ 'x-fails': [...kinds] }) }),
  })

/** Elysia's type of `detail` has no room for extensions, which OpenAPI allows under names that begin with `x-`. */
const documented = (extension: Record<`x-${string}`, unknown>): object => extension
