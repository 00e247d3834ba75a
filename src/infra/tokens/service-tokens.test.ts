import { afterAll, beforeAll, expect, test } from 'bun:test'
import { looksLikeServiceToken, type Tokens } from '@/core/tokens'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { serviceIdentifier } from '@/modules/service-token/biz'
import { type Backing, openBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { setClock, signedByUs, tokensOn } from '@/testing/tokens'

const clock = setClock()
const claims = { service: 'bot', scopes: ['users:read', 'users:list'] }
const nowSeconds = clock.ms / 1000
const payload = {
  ...{ iss: 'bingo', aud: 'rpc', sub: 'service:bot', scope: 'users:read' },
  ...{ iat: nowSeconds, nbf: nowSeconds, exp: nowSeconds + 300, jti: Bun.randomUUIDv7() },
}
const ours = (kid: string) => ({ alg: 'EdDSA', typ: 'service+jwt', kid })

let backing: Backing
let db: OpenDatabase
let tokens: Tokens
let good: string

beforeAll(async () => {
  backing = (await openBacking('sqlite')) as Backing
  db = await openAgain(backing)
  await migrateUp(db, migrations)
  tokens = tokensOn(db, clock)
  good = (await tokens.signService(claims)).token
})
afterAll(async () => {
  await db.close()
  await backing.dispose()
})

test('a token of a service says who it is and what it may do, for five minutes, in any process that has the root key', async () => {
  expect(await tokens.verifyService(good)).toEqual({ ...claims, expiresAtMs: clock.ms + 300_000 })
  expect(await tokensOn(db, clock).verifyService(good)).toEqual({ ...claims, expiresAtMs: clock.ms + 300_000 })
  expect((await tokens.signService({ service: 'api+bot', scopes: [] })).expiresInSeconds).toBe(300)
  const none = await tokens.signService({ service: 'api+bot', scopes: [] })
  expect(await tokens.verifyService(none.token)).toMatchObject({ service: 'api+bot', scopes: [] })
  const later = tokensOn(db, setClock(clock.ms + 306_000))
  expect(await later.verifyService(good)).toBeUndefined()
})

test('what is forged below would be taken, were it not for what is wrong with it', async () => {
  expect(await tokens.verifyService(await signedByUs(db, ours, payload))).toMatchObject({ service: 'bot', scopes: ['users:read'] })
})

test('no token is taken for one of the other kind, whatever it says', async () => {
  const user = { accountId: Bun.randomUUIDv7(), sessionId: Bun.randomUUIDv7(), audience: 'api' } as const
  const access = (await tokens.sign(user)).token
  expect(await tokens.verifyService(access)).toBeUndefined()
  expect(await tokens.verify(good, 'api')).toBeUndefined()
  expect(await tokens.verify(good, 'admin')).toBeUndefined()
  const accessHeader = (kid: string) => ({ ...ours(kid), typ: 'at+jwt' })
  expect(await tokens.verifyService(await signedByUs(db, accessHeader, payload))).toBeUndefined()
  const both = { ...payload, aud: 'api', sub: user.accountId, sid: user.sessionId }
  expect(await tokens.verify(await signedByUs(db, ours, both), 'api')).toBeUndefined()
  expect(await tokens.verify(await signedByUs(db, accessHeader, both), 'api')).toBeDefined()
  expect([looksLikeServiceToken(good), looksLikeServiceToken(access)]).toEqual([true, false])
})

test('one that we have signed is refused for another server, from another issuer, of nobody, with other scopes, or without an end', async () => {
  const wrong: Record<string, unknown>[] = [
    ...['api', 'admin', 'RPC', '', ['rpc'], ['rpc', 'api'], undefined].map(aud => ({ aud })),
    ...['other', '', undefined].map(iss => ({ iss })),
    ...['bot', 'service:', 'user:bot', '', 7, null, undefined].map(sub => ({ sub })),
    ...['*', 'users:read users', 'users:read  users:list', ' users:read', 7, ['users:read'], null, undefined].map(scope => ({ scope })),
    ...[undefined, nowSeconds - 6, 'never', null].map(exp => ({ exp })),
    ...[undefined, nowSeconds + 6].map(nbf => ({ nbf })),
    ...[{ iat: undefined }, { jti: undefined }],
  ]
  for (const more of wrong) {
    const token = await signedByUs(db, ours, { ...payload, ...more })
    expect([more, await tokens.verifyService(token)]).toEqual([more, undefined])
  }
})

test('and when any character of it is another', async () => {
  for (let i = 0; i < good.length; i++) {
    const changed = good.slice(0, i) + (good[i] === 'A' ? 'B' : 'A') + good.slice(i + 1)
    expect([i, await tokens.verifyService(changed)]).toEqual([i, undefined])
  }
})

test('its server recognizes the service by it, and nobody by anything else', async () => {
  const identifier = serviceIdentifier(tokens)
  expect([good, 'bk_x', 'eyJ', `${good}x`].map(identifier.takes)).toEqual([true, false, false, true])
  expect(await identifier.identify(good)).toEqual({
    identity: { kind: 'service', id: 'bot', scopes: new Set(claims.scopes) },
    expiresAtMs: clock.ms + 300_000,
    subjects: ['service:bot'],
  })
  expect(await identifier.identify(`${good}x`)).toBeUndefined()
})
