import { type AnyElysia, Elysia } from 'elysia'
import type { Tokens } from '@/core/tokens'

/** Half of what a new key is published for before it signs. */
const headers = { 'content-type': 'application/jwk-set+json', 'cache-control': 'public, max-age=300' }

/** `/.well-known/jwks.json`: the public keys of access tokens (RFC 7517 §5), for other services that are called with them. */
export const jwksRoutes = (tokens: Pick<Tokens, 'jwks'>): AnyElysia =>
  new Elysia().get('/.well-known/jwks.json', async () => new Response(JSON.stringify(await tokens.jwks()), { headers }))
