import { createHmac, generateKeyPairSync, sign as signBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import { exportJWK, generateKeyPair, type JWTHeaderParameters, SignJWT } from 'jose'
import type { Tokens } from '@/core/tokens'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { type Backing, openBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { setClock, signedByUs, tokensOn } from '@/testing/tokens'

/** What is tried on servers that take JWTs: RFC 8725, OWASP's cheat sheet, and what has worked somewhere. */

const clock = setClock()
const claims = { accountId: Bun.randomUUIDv7(), sessionId: Bun.randomUUIDv7(), audience: 'api' } as const
const nowSeconds = clock.ms / 1000
const payload = {
  ...{ iss: 'bingo', aud: 'api', sub: claims.accountId, sid: claims.sessionId },
  ...{ iat: nowSeconds, nbf: nowSeconds, exp: nowSeconds + 600, jti: Bun.randomUUIDv7() },
}
const ours = (kid: string) => ({ alg: 'EdDSA', typ: 'at+jwt', kid })

let backing: Backing
let db: OpenDatabase
let tokens: Tokens
let good: string
let kid: string
let x: string

beforeAll(async () => {
  backing = (await openBacking('sqlite')) as Backing
  db = await openAgain(backing)
  await migrateUp(db, migrations)
  tokens = tokensOn(db, clock)
  good = (await tokens.sign(claims)).token
  const [jwk] = (await tokens.jwks()).keys
  kid = String(jwk?.['kid'])
  x = String(jwk?.['x'])
})
afterAll(async () => {
  await db.close()
  await backing.dispose()
})

const encoded = (value: unknown) => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const verified = (token: string) => tokens.verify(token, 'api')

test('a token says whose it is, and until when it is good', async () => {
  expect(await verified(good)).toEqual({ ...claims, expiresAtMs: clock.ms + 600_000 })
  expect(JSON.parse(Buffer.from(good.split('.')[0] ?? '', 'base64url').toString())).toEqual(ours(kid))
})

test('what is forged below would be taken, were it not for what is wrong with it', async () => {
  expect(await verified(await signedByUs(db, ours, payload))).toEqual({ ...claims, expiresAtMs: clock.ms + 600_000 })
})

describe('a token that another has made is refused', () => {
  const body = encoded(payload)
  const withMac = (header: object, secret: string | Buffer) => {
    const text = `${encoded(header)}.${body}`
    return `${text}.${createHmac('sha256', secret).update(text).digest('base64url')}`
  }

  test('without a signature, however "none" is spelled', async () => {
    for (const alg of ['none', 'None', 'NONE', 'nOnE', '', null, undefined])
      for (const header of [{ alg, typ: 'at+jwt', kid }, { alg, typ: 'at+jwt' }, { alg }]) {
        expect(await verified(`${encoded(header)}.${body}.`)).toBeUndefined()
        expect(await verified(`${encoded(header)}.${body}`)).toBeUndefined()
        expect(await verified(`${encoded(header)}.${body}.${good.split('.')[2]}`)).toBeUndefined()
      }
  })
  test('with a MAC whose secret is our public key, in each form that it can be had in', async () => {
    const raw = Buffer.from(x, 'base64url')
    const spki = Buffer.concat([Buffer.from('302a300506032b6570032100', 'hex'), raw])
    const pem = `-----BEGIN PUBLIC KEY-----\n${spki.toString('base64')}\n-----END PUBLIC KEY-----\n`
    const jwk = JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x })
    for (const secret of [raw, x, spki, pem, pem.trim(), jwk, '', kid])
      for (const alg of ['HS256', 'EdDSA', 'Ed25519']) expect(await verified(withMac({ alg, typ: 'at+jwt', kid }, secret))).toBeUndefined()
  })
  test('with a key of their own, whatever the header says of where it is', async () => {
    const own = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
    const jwk = await exportJWK(own.publicKey)
    const url = 'https://attacker.example/jwks.json'
    for (const more of [
      {},
      { jwk },
      { jku: url },
      { x5u: url },
      { x5c: [x] },
      { jwk: { ...jwk, kid } },
      { kid: jwk.x },
      { kid: undefined },
    ]) {
      const header = { ...ours(kid), ...more } as JWTHeaderParameters
      expect(await verified(await new SignJWT(payload).setProtectedHeader(header).sign(own.privateKey))).toBeUndefined()
    }
  })
  test('with another algorithm, though its signature is right by the key that it brings', async () => {
    const rsa = generateKeyPairSync('rsa', { modulusLength: 2048 })
    const ec = generateKeyPairSync('ec', { namedCurve: 'P-256' })
    for (const [alg, key] of [['RS256', rsa.privateKey] as const, ['ES256', ec.privateKey] as const]) {
      const text = `${encoded({ alg, typ: 'at+jwt', kid, jwk: rsa.publicKey.export({ format: 'jwk' }) })}.${body}`
      const signature = signBytes('sha256', Buffer.from(text), { key, dsaEncoding: 'ieee-p1363' })
      expect(await verified(`${text}.${signature.toString('base64url')}`)).toBeUndefined()
    }
  })
  test('under the name of a key that is no key, or a path, or a statement', async () => {
    const own = await generateKeyPair('EdDSA', { crv: 'Ed25519' })
    const names = ['../../../../dev/null', '/etc/passwd', "' or 1=1 --", '__proto__', 'constructor', '', '*', `${kid} `, kid.toUpperCase()]
    for (const other of [...names, Bun.randomUUIDv7(), 7, null, [kid], { kid }]) {
      const header = { ...ours(kid), kid: other as string }
      expect(await verified(await new SignJWT(payload).setProtectedHeader(header).sign(own.privateKey))).toBeUndefined()
      const [, rest, signature] = good.split('.')
      expect(await verified(`${encoded(header)}.${rest}.${signature}`)).toBeUndefined()
    }
  })
})

describe('a token that we have signed is refused', () => {
  const changed = async (more: Record<string, unknown>) => verified(await signedByUs(db, ours, { ...payload, ...more }))
  const headed = async (more: Record<string, unknown>) => verified(await signedByUs(db, own => ({ ...ours(own), ...more }), payload))

  test('for another server, or several, or nobody', async () => {
    for (const aud of ['admin', 'bot', 'API', '', ['api'], ['api', 'admin'], undefined]) expect(await changed({ aud })).toBeUndefined()
    const admin = (await tokens.sign({ ...claims, audience: 'admin' })).token
    expect([await verified(admin), (await tokens.verify(admin, 'admin'))?.accountId]).toEqual([undefined, claims.accountId])
    expect(await tokens.verify(good, 'admin')).toBeUndefined()
  })
  test('from another issuer', async () => {
    for (const iss of ['other', 'bingo2', '', ['bingo'], undefined]) expect(await changed({ iss })).toBeUndefined()
    expect(await tokensOn(db, clock, { issuer: 'other' }).verify(good, 'api')).toBeUndefined()
  })
  test('as something else than an access token', async () => {
    for (const typ of ['JWT', 'jwt', 'rt+jwt', 'id+jwt', 'application/at+jwt', 'AT+JWT', '', undefined])
      expect(await headed({ typ })).toBeUndefined()
  })
  test('without an end, or after it, or before its beginning', async () => {
    for (const exp of [undefined, nowSeconds - 6, nowSeconds - 1_000_000, 'never', null, String(nowSeconds + 600)])
      expect(await changed({ exp })).toBeUndefined()
    for (const nbf of [undefined, nowSeconds + 6, nowSeconds + 1_000_000, 'now']) expect(await changed({ nbf })).toBeUndefined()
    expect(await changed({ iat: undefined })).toBeUndefined()
  })
  test('but clocks may differ a little', async () => {
    expect(await changed({ exp: nowSeconds - 4 })).toBeDefined()
    expect(await changed({ nbf: nowSeconds + 4 })).toBeDefined()
  })
  test('that says not who it is of, or of what session', async () => {
    for (const wrong of [undefined, '', 7, 'ada', "' or 1=1", null, [claims.accountId], claims.accountId.toUpperCase()]) {
      expect(await changed({ sub: wrong })).toBeUndefined()
      expect(await changed({ sid: wrong })).toBeUndefined()
    }
    expect(await changed({ jti: undefined })).toBeUndefined()
  })
  test('with a header that has more in it than ours', async () => {
    const url = 'https://attacker.example/'
    const extras = [{ jku: url }, { x5u: url }, { jwk: { kty: 'OKP', crv: 'Ed25519', x } }, { x5c: [x] }, { cty: 'JWT' }, { zip: 'DEF' }]
    for (const extra of [...extras, { 'urn:x': 1, crit: ['urn:x'] }, { b64: true, crit: ['b64'] }])
      expect(await headed(extra)).toBeUndefined()
  })
})

describe('a token that was changed is refused', () => {
  test('wherever a character is another, is missing, or is added', async () => {
    for (let i = 0; i < good.length; i++) {
      const other = good[i] === 'A' ? 'B' : 'A'
      for (const token of [
        good.slice(0, i) + other + good.slice(i + 1),
        good.slice(0, i) + good.slice(i + 1),
        `${good.slice(0, i)}A${good.slice(i)}`,
      ])
        expect([token, await verified(token)]).toEqual([token, undefined])
    }
  })
  test('cut anywhere', async () => {
    for (let i = 0; i < good.length; i++) expect(await verified(good.slice(0, i))).toBeUndefined()
  })
  test('when it is spelled in another way', async () => {
    const [head, body, signature = ''] = good.split('.')
    const last = signature.at(-1) ?? ''
    const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_'
    // The last character has bits that mean nothing: these spell the same bytes.
    const same = [1, 2, 3].map(bits => signature.slice(0, -1) + alphabet[alphabet.indexOf(last) ^ bits])
    expect(same.map(each => Buffer.from(each, 'base64url').toString('hex'))).toEqual(
      same.map(() => Buffer.from(signature, 'base64url').toString('hex')),
    )
    const others = [
      ...same.map(each => `${head}.${body}.${each}`),
      `${good}=`,
      `${good}==`,
      ` ${good}`,
      `${good}\n`,
      `${good}.`,
      `.${good}`,
    ]
    for (const token of others) expect(await verified(token)).toBeUndefined()
  })
  test('and so is what is no token at all, or too long for one', async () => {
    const nested = `${encoded(`{"alg":${'['.repeat(700)}${']'.repeat(700)}}`)}.a.a`
    for (const token of [
      '',
      '.',
      '..',
      '...',
      'eyJ',
      'null',
      `${'a'.repeat(100_000)}.b.c`,
      nested,
      '\u0000.\u0000.\u0000',
      'é.é.é',
      `${good}${'A'.repeat(5000)}`,
    ])
      expect(await verified(token)).toBeUndefined()
    for (const header of ['null', '7', '"x"', '[]', '{', '{"__proto__":{"alg":"EdDSA"}}'])
      expect(await verified(`${encoded(header)}.${encoded(payload)}.AAAA`)).toBeUndefined()
  })
})

test('who writes to the database has no key of ours by that: one that the root key did not wrap is not believed', async () => {
  const own = await generateKeyPair('EdDSA', { crv: 'Ed25519', extractable: true })
  const { x: ownX = '' } = await exportJWK(own.publicKey)
  const genuine = await db.first('select * from "signingKey"')
  const planted = Bun.randomUUIDv7()
  // With a private half that does open, but is of another key.
  await db.run(
    'insert into "signingKey" ("id", "number", "publicKey", "privateKey", "usableAtMs", "createdAtMs") values (?, 50, ?, ?, 0, 0)',
    [planted, ownX, String(genuine?.['privateKey'])],
  )
  const log = fakeLog()
  const fresh = tokensOn(db, clock, { log })
  const forged = await new SignJWT(payload).setProtectedHeader(ours(planted)).sign(own.privateKey)
  expect(await fresh.verify(forged, 'api')).toBeUndefined()
  expect((await fresh.jwks()).keys.map(key => key['kid'])).toEqual([kid])
  expect(log.lines).toMatchObject([{ level: 'warn', fields: { kid: planted } }])
  // Nor does it help to put another public half beside the key that is there.
  await db.run('delete from "signingKey" where "id" = ?', [planted])
  await db.run('update "signingKey" set "publicKey" = ? where "id" = ?', [ownX, kid])
  expect(
    await tokensOn(db, clock).verify(await new SignJWT(payload).setProtectedHeader(ours(kid)).sign(own.privateKey), 'api'),
  ).toBeUndefined()
})
