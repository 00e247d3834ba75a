import { afterAll, beforeAll, beforeEach, expect, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Tokens } from '@/core/tokens'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeLog } from '@/testing/fakes'
import { authDefaults, type SetClock, setClock, testRootKey, tokensOn } from '@/testing/tokens'
import { publishedMs, retiredMs, rereadMs, unknownRereadMs } from './key-ring'

onEachBacking('signing keys', open => {
  let backing: Backing
  let db: OpenDatabase
  let other: OpenDatabase
  let clock: SetClock
  const { keyRotationMs, accessTtlMs } = authDefaults
  const claims = { accountId: Bun.randomUUIDv7(), sessionId: Bun.randomUUIDv7(), audience: 'api' } as const

  beforeAll(async () => {
    backing = await open()
    db = await openAgain(backing)
    other = await openAgain(backing)
    await migrateUp(db, migrations)
  })
  afterAll(async () => {
    await Promise.all([db.close(), other.close()])
    await backing.dispose()
  })
  beforeEach(async () => {
    clock = setClock()
    await db.run('delete from "signingKey"')
  })

  const sign = async (tokens: Tokens) => (await tokens.sign(claims)).token
  const kidOf = (token: string): string => JSON.parse(Buffer.from(token.split('.')[0] ?? '', 'base64url').toString()).kid
  const kids = async (tokens: Tokens) => (await tokens.jwks()).keys.map(key => String(key['kid']))
  const rowCount = async () => Number((await db.first('select count(*) as "n" from "signingKey"'))?.['n'])
  /** Counts the statements that read, as a flood of tokens would cause them. */
  const counting = (on: Database) => {
    const counted = { reads: 0, db: on }
    counted.db = {
      ...on,
      all(...args) {
        counted.reads++
        return on.all(...args)
      },
    }
    return counted
  }

  test('processes that start at once make one key, and take the tokens of each other at once', async () => {
    const all = Array.from({ length: 12 }, (_, i) => tokensOn(i % 2 ? other : db, clock))
    const signed = await Promise.all(all.map(sign))
    expect([new Set(signed.map(kidOf)).size, await rowCount()]).toEqual([1, 1])
    for (const tokens of all) for (const token of signed) expect(await tokens.verify(token, 'api')).toBeDefined()
  })

  test('nothing of the private half can be read in the database', async () => {
    const tokens = tokensOn(db, clock)
    await sign(tokens)
    const row = await db.first('select * from "signingKey"')
    const published = JSON.stringify(await tokens.jwks())
    expect(published).not.toContain('"d"')
    expect(JSON.stringify(row)).not.toContain('"d"')
    // Ciphertext: nonce, tag and the 43 characters of the key.
    expect(Buffer.from(String(row?.['privateKey']), 'base64url')).toHaveLength(12 + 16 + 43)
  })

  test('the next key is published before it signs, and the one before is kept while tokens of it live', async () => {
    const [here, there] = [tokensOn(db, clock), tokensOn(other, clock)]
    const first = await sign(here)
    await here.rotate()
    expect(await rowCount()).toBe(1)

    clock.ms += keyRotationMs - publishedMs
    await Promise.all([here.rotate(), there.rotate()])
    expect(await rowCount()).toBe(2)
    const [oldKid = '', newKid = ''] = await kids(here)
    expect(await kids(there)).toEqual([oldKid, newKid])
    const before = await sign(there)
    expect([kidOf(before), oldKid]).toEqual([kidOf(first), kidOf(first)])

    clock.ms += publishedMs
    const after = await sign(here)
    expect([kidOf(after), kidOf(await sign(there))]).toEqual([newKid, newKid])
    for (const tokens of [here, there]) expect(await tokens.verify(after, 'api')).toBeDefined()
  })

  test('a token that was signed right before a rotation is good to its end, on every process', async () => {
    const [here, there] = [tokensOn(db, clock), tokensOn(other, clock)]
    await sign(here)
    clock.ms += keyRotationMs - publishedMs
    await here.rotate()
    clock.ms += publishedMs - 1
    const last = await sign(there)
    clock.ms += 1
    expect(kidOf(await sign(here))).not.toBe(kidOf(last))
    clock.ms += accessTtlMs - 2
    await Promise.all([here.rotate(), there.rotate()])
    for (const tokens of [here, there, tokensOn(db, clock)]) expect(await tokens.verify(last, 'api')).toBeDefined()
  })

  test('a retired key is gone from the table, from the JWKS, and from the processes that still had it', async () => {
    const long = { accessTtlMs: 10 * keyRotationMs }
    const [here, there] = [tokensOn(db, clock, long), tokensOn(other, clock, long)]
    const old = await sign(here)
    expect(await there.verify(old, 'api')).toBeDefined()
    clock.ms += keyRotationMs - publishedMs
    await here.rotate()
    clock.ms += publishedMs + retiredMs - 1
    await here.rotate()
    expect(await there.verify(old, 'api')).toBeDefined()
    clock.ms += 1
    await here.rotate()
    expect([await rowCount(), (await kids(here)).includes(kidOf(old))]).toEqual([1, false])
    expect(await here.verify(old, 'api')).toBeUndefined()
    clock.ms += rereadMs
    expect(await there.verify(old, 'api')).toBeUndefined()
  })

  test('a scheduler that was away for long makes one key, and gives everybody time to learn of it', async () => {
    const here = tokensOn(db, clock)
    const first = kidOf(await sign(here))
    clock.ms += 10 * keyRotationMs
    for (let i = 0; i < 3; i++) await here.rotate()
    expect(await rowCount()).toBe(2)
    expect(kidOf(await sign(here))).toBe(first)
    clock.ms += publishedMs
    expect(kidOf(await sign(here))).not.toBe(first)
  })

  test('a key that another process has just made is found, and unknown ones are looked for only now and then', async () => {
    const counted = counting(other)
    const [here, there] = [tokensOn(db, clock), tokensOn(counted.db, clock)]
    await sign(here)
    await sign(there)
    await db.run('delete from "signingKey"')
    const late = await sign(tokensOn(db, clock))
    expect(await there.verify(late, 'api')).toBeUndefined()
    clock.ms += unknownRereadMs
    counted.reads = 0
    expect(await there.verify(late, 'api')).toBeDefined()
    const strange = late.replace(/^[^.]+/, () =>
      Buffer.from(JSON.stringify({ alg: 'EdDSA', typ: 'at+jwt', kid: Bun.randomUUIDv7() })).toString('base64url'),
    )
    await Promise.all(Array.from({ length: 200 }, () => there.verify(strange, 'api')))
    expect(counted.reads).toBe(1)
  })

  test('a root key that was changed makes a new key and says what is not used any more', async () => {
    const log = fakeLog()
    const before = await sign(tokensOn(db, clock))
    const rootKey = testRootKey.map(byte => byte ^ 255)
    const changed = tokensOn(db, clock, { rootKey, log })
    expect(await changed.verify(await sign(changed), 'api')).toBeDefined()
    expect(await changed.verify(before, 'api')).toBeUndefined()
    expect(log.lines.filter(({ level }) => level === 'warn')).toMatchObject([{ fields: { kid: kidOf(before) } }])
    clock.ms += retiredMs + dayMs
    await changed.rotate()
    expect(await rowCount()).toBe(1)
  })

  test('a process whose clock is behind signs with the key that begins in a moment, and makes none', async () => {
    await sign(tokensOn(db, clock))
    const behind = setClock(clock.ms - 3000)
    const late = await sign(tokensOn(other, behind))
    expect([await rowCount(), await tokensOn(db, clock).verify(late, 'api')]).toEqual([1, expect.anything()])
  })

  test('while the database is away a process goes on with the keys that it has read, and then says so', async () => {
    let isAway = false
    const away = { ...db, all: (...args: Parameters<Database['all']>) => (isAway ? Promise.reject(new Error('away')) : db.all(...args)) }
    const tokens = tokensOn(away as Database, clock)
    const token = await sign(tokens)
    isAway = true
    clock.ms += rereadMs - 1
    expect(await tokens.verify(token, 'api')).toBeDefined()
    clock.ms += 1
    await expect(tokens.verify(token, 'api')).rejects.toThrow('away')
  })
})
