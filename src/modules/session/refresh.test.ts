import { expect, test } from 'bun:test'
import { dayMs } from '@/core/clock'
import { onEachBacking } from '@/testing/backings'
import { failure } from '@/testing/conformance/fixture'
import { device, sessionDefaults, useSessions } from '@/testing/sessions'
import { testRootKey } from '@/testing/tokens'

const invalid = 'Unauthenticated.RefreshTokenInvalid'
const yes = async () => true

onEachBacking('refreshing', open => {
  const scene = useSessions(open)
  const account = Bun.randomUUIDv7()
  const here = () => scene.on(scene.db)
  const there = () => scene.on(scene.other)
  const start = () => here().open('api', account, device)
  const refresh = (token: string, on = here()) => on.refresh('api', token, device, yes)
  const generation = async () => Number((await scene.db.first('select "generation" from "session"'))?.['generation'])

  test('gives both tokens anew, of the same session and account', async () => {
    const first = await start()
    scene.clock.ms += 1000
    const second = await refresh(first.tokens.refreshToken, there())
    expect(second).toMatchObject({ accountId: account, sessionId: first.sessionId })
    expect([second.tokens.refreshToken, second.tokens.accessToken]).not.toEqual([first.tokens.refreshToken, first.tokens.accessToken])
    expect(second.tokens.expiresInSeconds).toBe(600)
    expect(await here().verify('api', second.tokens.accessToken)).toEqual({
      ...{ accountId: account, sessionId: first.sessionId },
      expiresAtMs: scene.clock.ms + 600_000,
      provenAtMs: scene.clock.ms - 1000,
    })
    // What was signed before is good until it ends: a request under way does not fail for it.
    expect(await here().verify('api', first.tokens.accessToken)).toBeDefined()
  })

  test('a hundred times at once with one token gives one new refresh token, and the session goes on', async () => {
    const { tokens, sessionId } = await start()
    const processes = [here(), there(), here(), there()]
    const all = await Promise.all(Array.from({ length: 100 }, (_, i) => refresh(tokens.refreshToken, processes[i % 4])))
    expect(new Set(all.map(one => one.tokens.refreshToken)).size).toBe(1)
    expect(new Set(all.map(one => one.sessionId))).toEqual(new Set([sessionId]))
    expect([await generation(), await scene.rowCount(), scene.forgotten]).toEqual([2, 1, []])
    for (const one of all.slice(0, 5)) expect(await there().verify('api', one.tokens.accessToken)).toBeDefined()
    const next = await refresh(all[0]?.tokens.refreshToken ?? '')
    expect([await generation(), next.tokens.refreshToken === all[0]?.tokens.refreshToken]).toEqual([3, false])
  }, 30_000)

  test('again within the grace gives the same next token, on another process too', async () => {
    const { tokens } = await start()
    const next = await refresh(tokens.refreshToken)
    scene.clock.ms += sessionDefaults.graceMs
    const again = await refresh(tokens.refreshToken, there())
    expect([again.tokens.refreshToken, await generation()]).toEqual([next.tokens.refreshToken, 2])
  })

  test('again after the grace ends the session for whoever has a token of it, and says so', async () => {
    const { tokens, sessionId } = await start()
    const next = await refresh(tokens.refreshToken)
    scene.clock.ms += sessionDefaults.graceMs + 1
    expect(await failure(refresh(tokens.refreshToken, there()))).toBe(invalid)
    expect([await scene.rowCount(), scene.forgotten]).toEqual([0, [`session:${sessionId}`]])
    for (const on of [here(), there()]) {
      expect(await failure(refresh(next.tokens.refreshToken, on))).toBe(invalid)
      for (const { accessToken } of [tokens, next.tokens]) expect(await on.verify('api', accessToken)).toBeUndefined()
    }
    const warning = { level: 'warn', message: 'a refresh token was used again, so its session has ended' }
    expect(scene.log.lines).toEqual([{ ...warning, fields: { realm: 'api', account } }])
  })

  test('with the one before the last ends the session, however soon', async () => {
    const { tokens } = await start()
    const second = await refresh(tokens.refreshToken)
    const third = await refresh(second.tokens.refreshToken)
    expect(await failure(refresh(tokens.refreshToken))).toBe(invalid)
    expect(await failure(refresh(third.tokens.refreshToken))).toBe(invalid)
    expect(await scene.rowCount()).toBe(0)
  })

  test('other sessions of the account go on when one ends so', async () => {
    const [stolen, other] = [await start(), await start()]
    await refresh(stolen.tokens.refreshToken)
    scene.clock.ms += sessionDefaults.graceMs + 1
    expect(await failure(refresh(stolen.tokens.refreshToken))).toBe(invalid)
    expect((await refresh(other.tokens.refreshToken)).sessionId).toBe(other.sessionId)
  })

  test('with a token that is changed anywhere is refused, and changes nothing', async () => {
    const { tokens } = await start()
    const token = tokens.refreshToken
    const bytes = Buffer.from(token.slice(3), 'base64url')
    for (let i = 0; i < bytes.length; i++) {
      const changed = Buffer.from(bytes)
      changed[i] = (changed[i] ?? 0) ^ 1
      expect(await failure(refresh(`br_${changed.toString('base64url')}`))).toBe(invalid)
    }
    for (const odd of [
      '',
      'br_',
      'br_x',
      token.slice(0, -1),
      `${token}A`,
      `${token}=`,
      token.slice(3),
      `bk_${token.slice(3)}`,
      ` ${token}`,
    ])
      expect(await failure(refresh(odd))).toBe(invalid)
    expect([await generation(), scene.forgotten, scene.log.lines]).toEqual([1, [], []])
    expect(await refresh(token)).toBeDefined()
  })

  test('with what else there is of a session is refused', async () => {
    const { tokens, sessionId } = await start()
    expect(await failure(refresh(tokens.accessToken))).toBe(invalid)
    expect(await failure(refresh(sessionId))).toBe(invalid)
    expect(await here().verify('api', tokens.refreshToken)).toBeUndefined()
  })

  test('needs what is in the database and the root key: with one of them alone nobody makes a token', async () => {
    const { tokens, sessionId } = await start()
    const key = testRootKey.map(byte => byte ^ 255)
    expect(await failure(scene.on(scene.db, {}, key).refresh('api', tokens.refreshToken, device, yes))).toBe(invalid)
    // As if the seed were not known: another gives another token.
    await scene.db.run('update "session" set "seed" = ? where "id" = ?', [new Uint8Array(32), sessionId])
    expect(await failure(refresh(tokens.refreshToken))).toBe(invalid)
    expect(await generation()).toBe(1)
  })

  test('at the other server is refused, and the token is good at its own after that', async () => {
    const { tokens } = await start()
    expect(await failure(here().refresh('admin', tokens.refreshToken, device, yes))).toBe(invalid)
    expect(await here().verify('admin', tokens.accessToken)).toBeUndefined()
    expect(await generation()).toBe(1)
    // Though the row said so: the realm is part of what is signed.
    await scene.db.run(`update "session" set "realm" = 'admin'`)
    expect(await failure(here().refresh('admin', tokens.refreshToken, device, yes))).toBe(invalid)
    expect(await failure(refresh(tokens.refreshToken))).toBe(invalid)
  })

  test('of an account that may not be used is refused, and changes nothing', async () => {
    const { tokens } = await start()
    const asked: string[] = []
    const no = async (id: string) => {
      asked.push(id)
      return false
    }
    expect(await failure(here().refresh('api', tokens.refreshToken, device, no))).toBe(invalid)
    expect([await generation(), asked]).toEqual([1, [account]])
  })

  test('keeps a session alive, but never beyond its end', async () => {
    const { idleTtlMs, ttlMs } = sessionDefaults
    const { tokens } = await start()
    const endMs = scene.clock.ms + ttlMs
    let newest = tokens
    while (scene.clock.ms + idleTtlMs - 1 < endMs) {
      scene.clock.ms += idleTtlMs - 1
      newest = (await refresh(newest.refreshToken)).tokens
    }
    scene.clock.ms = endMs - 1
    newest = (await refresh(newest.refreshToken)).tokens
    expect((await here().verify('api', newest.accessToken))?.expiresAtMs).toBe(endMs)
    scene.clock.ms = endMs
    expect(await failure(refresh(newest.refreshToken))).toBe(invalid)
    expect(await here().verify('api', newest.accessToken)).toBeUndefined()
  })

  test('a session that nobody refreshes ends by itself', async () => {
    const { tokens } = await start()
    scene.clock.ms += sessionDefaults.idleTtlMs
    expect(await failure(refresh(tokens.refreshToken))).toBe(invalid)
    expect([await here().removeEnded(100), await scene.rowCount()]).toEqual([0, 1])
    scene.clock.ms += 1
    await start()
    expect([await here().removeEnded(100), await here().removeEnded(100), await scene.rowCount()]).toEqual([1, 0, 1])
  })

  test('while the session is ended gives nobody a token that is good', async () => {
    for (let round = 0; round < 5; round++) {
      const { tokens, sessionId } = await start()
      const refreshing = Array.from({ length: 10 }, (_, i) => refresh(tokens.refreshToken, i % 2 ? here() : there()).catch(() => undefined))
      const ending = there().end('api', account, sessionId)
      const given = (await Promise.all(refreshing)).flatMap(one => (one ? [one.tokens] : []))
      await ending
      for (const { accessToken, refreshToken } of [tokens, ...given]) {
        expect(await here().verify('api', accessToken)).toBeUndefined()
        expect(await failure(refresh(refreshToken))).toBe(invalid)
      }
    }
    expect(await scene.rowCount()).toBe(0)
  }, 30_000)

  test('leaves nothing behind that a token could be read from', async () => {
    const { tokens } = await start()
    const next = await refresh(tokens.refreshToken)
    scene.clock.ms += dayMs
    await failure(refresh(tokens.refreshToken))
    await start()
    const rows = JSON.stringify([await scene.db.all('select * from "session"'), scene.log.lines, scene.forgotten])
    for (const token of [tokens.refreshToken, next.tokens.refreshToken, tokens.accessToken]) {
      expect(rows).not.toContain(token)
      expect(rows).not.toContain(token.slice(-20))
    }
  })
})
