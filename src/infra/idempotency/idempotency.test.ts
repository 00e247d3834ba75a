import { afterAll, beforeAll, expect, test } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import { keyTtlMs } from '@/core/idempotency'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { openConfiguredDatabase } from '@/infra/ports'
import { migrations } from '@/migrations'
import { type Backing, onEachBacking } from '@/testing/backings'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { type Answer, type Problem, send } from '@/testing/http-client'
import { type Death, keyedApp, knownUser } from '@/testing/keyed-server'
import { leaseMs, removeExpired } from './rows'

interface Made extends Record<string, unknown> {
  id: string
  seen: number
}

onEachBacking('requests with an Idempotency-Key', open => {
  let backing: Backing
  let db: OpenDatabase
  let app: ReturnType<typeof keyedApp>
  let origins: string[] = []
  const children = new Set<Bun.Subprocess>()

  /** With the clock that the other processes have. */
  function openReal() {
    const { config } = loadConfig({ env: backing.options.env ?? {}, flags: {}, readFile: () => '' })
    return openConfiguredDatabase(config, { log: fakeLog(), metrics: fakeMetrics() })
  }

  async function startChild(): Promise<{ origin: string; child: Bun.Subprocess<'ignore', 'pipe', 'inherit'> }> {
    const child = Bun.spawn([process.execPath, 'src/testing/keyed-server.ts'], {
      env: { ...process.env, ...backing.options.env },
      stdin: 'ignore',
      stdout: 'pipe',
      stderr: 'inherit',
    })
    children.add(child)
    for await (const chunk of child.stdout) return { origin: new TextDecoder().decode(chunk).trim(), child }
    throw new Error('the server did not start')
  }

  beforeAll(async () => {
    backing = await open()
    db = await openReal()
    await migrateUp(db, migrations)
    await db.run('create table "effect" ("id" varchar(36) not null primary key, "name" varchar(100) not null)')
    // Its own database: the one of the test shall see what is committed, and be no part of it.
    app = keyedApp(await openReal())
    origins = (await Promise.all([startChild(), startChild()])).map(({ origin }) => origin)
  }, 60_000)
  afterAll(async () => {
    for (const child of children) child.kill('SIGKILL')
    await db.close()
    await backing.dispose()
  })

  const effects = async (name: string) => Number((await db.first('select count(*) as "n" from "effect" where "name" = ?', [name]))?.['n'])
  const rowOf = async () => (await db.all('select * from "idempotentRequest" order by "expiresAtMs" desc limit 1'))[0]
  const elapse = (ms: number) =>
    db.run('update "idempotentRequest" set "leaseUntilMs" = "leaseUntilMs" - ?, "expiresAtMs" = "expiresAtMs" - ?', [ms, ms])

  /** To the app in this process. */
  async function ask<T = Made>(body: object, key: string | undefined, path = '', own: Record<string, string> = {}): Promise<Answer<T>> {
    const headers = { 'content-type': 'application/json', ...(key !== undefined && { 'idempotency-key': key }), ...own }
    const response = await app.app.handle(
      new Request(`http://localhost/api/v1/effects${path}`, { method: 'POST', headers, body: JSON.stringify(body) }),
    )
    const text = await response.text()
    return { status: response.status, headers: response.headers, body: JSON.parse(text) as T }
  }
  const newKey = () => crypto.randomUUID()

  test('the second gets the answer of the first, with its status, its place and its tag, and is told that it does', async () => {
    const key = newKey()
    const first = await ask({ name: key }, key)
    const second = await ask({ name: key }, `"${key}"`)
    expect([first.status, second.status, second.body]).toEqual([201, 201, first.body])
    for (const name of ['location', 'etag', 'content-type', 'x-content-type-options', 'cache-control'])
      expect(second.headers.get(name)).toBe(first.headers.get(name))
    expect([first.headers.get('idempotency-replayed'), second.headers.get('idempotency-replayed')]).toEqual([null, 'true'])
    expect(await effects(key)).toBe(1)
  })

  test('without a key, each takes effect', async () => {
    const name = newKey()
    await ask({ name }, undefined)
    await ask({ name }, undefined)
    expect(await effects(name)).toBe(2)
  })

  test('another body, query or object with the same key is refused, and has no effect', async () => {
    const key = newKey()
    await ask({ name: key }, key)
    for (const [body, path] of [
      [{ name: `${key}2` }, ''],
      [{ name: key }, '?a=1'],
    ] as const) {
      const { status, body: problem } = await ask<Problem>(body, key, path)
      expect([status, problem.code]).toEqual([422, 'Unprocessable.KeyReused'])
    }
    expect([await effects(key), await effects(`${key}2`)]).toEqual([1, 0])
  })

  test('on another route the same key is another', async () => {
    const key = newKey()
    expect((await ask({ name: key }, key)).status).toBe(201)
    expect((await ask({ name: key }, key, '/twice')).status).toBe(200)
    expect(await effects(key)).toBe(3)
  })

  test('while the first is being worked on, the second is told when to ask again', async () => {
    const key = newKey()
    const first = ask({ name: key, waitMs: 300 }, key)
    while ((await rowOf())?.['state'] !== 'running') await Bun.sleep(5)
    const second = await ask<Problem>({ name: key, waitMs: 300 }, key)
    expect([second.status, second.body.code, second.headers.get('retry-after')]).toEqual([409, 'Conflict.KeyInUse', '1'])
    expect([(await first).status, await effects(key)]).toEqual([201, 1])
  })

  test('a refusal of the handler is kept, too', async () => {
    const key = newKey()
    const answers = [await ask<Problem>({ name: key, fails: 'refused' }, key), await ask<Problem>({ name: key, fails: 'refused' }, key)]
    expect(answers.map(({ status }) => status)).toEqual([409, 409])
    expect(answers[1]?.body).toEqual(answers[0]?.body as Problem)
    expect(answers[1]?.headers.get('idempotency-replayed')).toBe('true')
  })

  test('5xx and 429 are not kept when nothing was written, and what is refused before the handler takes no key', async () => {
    for (const fails of ['first', 'limited']) {
      const key = newKey()
      const body = { name: key, fails }
      const statuses = [(await ask(body, key)).status, (await ask(body, key)).status]
      expect([fails, ...statuses]).toEqual(fails === 'first' ? [fails, 503, 503] : [fails, 429, 429])
      expect(await db.first('select 1 as "n" from "idempotentRequest" where "state" = ?', ['running'])).toBeUndefined()
    }
    const key = newKey()
    expect((await ask({ wrong: true }, key)).status).toBe(422)
    expect((await ask({ name: key }, key)).status).toBe(201)
  })

  test('after a 5xx that came when something was written, it is not done again', async () => {
    const key = newKey()
    expect((await ask({ name: key, fails: 'last' }, key)).status).toBe(503)
    expect((await ask<Problem>({ name: key, fails: 'last' }, key)).body.code).toBe('Conflict.KeyInUse')
    await elapse(leaseMs)
    expect((await ask<Problem>({ name: key, fails: 'last' }, key)).body.code).toBe('Conflict.AnswerLost')
    expect(await effects(key)).toBe(1)
  })

  test('a handler sees what it has written, though it is held', async () => {
    const key = newKey()
    expect((await ask({ name: key }, key, '/twice')).body.seen).toBe(1)
    expect((await ask({ name: key }, key, '/twice')).body.seen).toBe(1)
    expect(await effects(key)).toBe(2)
  })

  test('what is given up in favor of another attempt has no effect', async () => {
    const key = newKey()
    const slow = ask<Problem>({ name: key, waitMs: 500 }, key)
    while ((await rowOf())?.['state'] !== 'running') await Bun.sleep(5)
    await elapse(leaseMs)
    const quick = await ask({ name: key, waitMs: 500 }, key)
    const { status, body } = await slow
    expect([quick.status, status, body.code]).toEqual([201, 409, 'Aborted.GivenUp'])
    expect(await effects(key)).toBe(1)
    expect((await ask({ name: key, waitMs: 500 }, key)).body).toEqual(quick.body)
  })

  test('an answer that is too long is not kept, and the request not carried out again', async () => {
    const key = newKey()
    expect((await ask({ name: key, length: 300_000 }, key)).status).toBe(201)
    expect((await ask({ name: key, length: 300_000 }, key)).status).toBe(409)
    expect(await effects(key)).toBe(1)
  })

  test('answers are kept encrypted, and neither key nor body in the clear', async () => {
    const key = newKey()
    const { body } = await ask({ name: 'a name that is secret' }, key)
    const row = JSON.stringify(await rowOf())
    for (const part of [key, 'a name that is secret', body.id]) expect(row).not.toContain(part)
    await db.run(
      `update "idempotentRequest" set "answer" = (select "answer" from (select "answer" from "idempotentRequest" where "state" = 'done' and "id" <> ? limit 1) as "other") where "id" = ?`,
      [String((await rowOf())?.['id']), String((await rowOf())?.['id'])],
    )
    const moved = await ask<Problem>({ name: 'a name that is secret' }, key)
    expect([moved.status, moved.body.code]).toEqual([409, 'Conflict.AnswerLost'])
  })

  test('a key stands for its request for 24 hours, and is removed after that', async () => {
    const key = newKey()
    const first = await ask({ name: key }, key)
    await elapse(keyTtlMs - 60_000)
    expect((await ask({ name: key }, key)).body).toEqual(first.body)
    await elapse(60_000)
    expect((await ask({ name: key }, key)).body).not.toEqual(first.body)
    expect(await effects(key)).toBe(2)
    await elapse(keyTtlMs)
    while ((await removeExpired(db, 5)) > 0);
    expect(await rowOf()).toBeUndefined()
  })

  test('keys that are none are refused, and all keys where answers are secret', async () => {
    for (const key of ['', 'a b', 'a,b', '"', '"a', 'x'.repeat(256), 'naïve'.normalize('NFC')]) {
      const { status, body } = await ask<Problem>({ name: 'none' }, key)
      expect([key, status, body.code]).toEqual([key, 400, 'InvalidArgument.KeyMalformed'])
    }
    const { status, body } = await ask<Problem>({ name: 'none' }, newKey(), '/secret')
    expect([status, body.code]).toEqual([400, 'InvalidArgument.KeyNotTaken'])
    expect((await ask({ name: 'none' }, undefined, '/secret')).status).toBe(200)
    expect(await effects('none')).toBe(0)
  })

  test('callers whom nobody knows share their keys, so a short one is refused; those of others are their own', async () => {
    for (const key of ['1', 'x'.repeat(15), `"${'x'.repeat(15)}"`]) {
      const { status, body } = await ask<Problem>({ name: 'short' }, key)
      expect([key, status, body.code]).toEqual([key, 400, 'InvalidArgument.KeyTooShort'])
    }
    expect(await effects('short')).toBe(0)
    expect((await ask({ name: 'long' }, newKey().slice(0, 16))).status).toBe(201)
    for (const user of ['1', '2']) {
      const send = () => ask({ name: `of ${user}` }, '1', '', { authorization: `Bearer ${knownUser}${user}` })
      expect([(await send()).status, (await send()).headers.get('idempotency-replayed')]).toEqual([201, 'true'])
      expect(await effects(`of ${user}`)).toBe(1)
    }
  })

  test('of 100 at the same time on two processes one takes effect, and all learn of it', async () => {
    const key = newKey()
    const body = { name: key, waitMs: 20 }
    const answers = await Promise.all(
      Array.from({ length: 100 }, (_, i) => send<Made>('POST', `${origins[i % 2]}/api/v1/effects`, body, { 'idempotency-key': key })),
    )
    const made = answers.filter(({ status }) => status === 201)
    expect(new Set(made.map(({ body: { id } }) => id)).size).toBe(1)
    expect(made.filter(({ headers }) => !headers.has('idempotency-replayed'))).toHaveLength(1)
    expect([...new Set(answers.map(({ status }) => status))].filter(status => status !== 201 && status !== 409)).toEqual([])
    expect(await effects(key)).toBe(1)
    const later = await Promise.all(origins.map(origin => send<Made>('POST', `${origin}/api/v1/effects`, body, { 'idempotency-key': key })))
    expect(later.map(({ body: { id } }) => id)).toEqual([made[0]?.body.id as string, made[0]?.body.id as string])
  }, 30_000)

  /** Until another attempt is carried out, answered as the first would have been, or told that there is nothing to be told. */
  async function afterDeath(body: object, key: string, path: string): Promise<string> {
    await elapse(leaseMs)
    const { status, headers, body: answer } = await ask<Problem & Made>(body, key, path)
    return headers.has('idempotency-replayed') ? 'answered' : status < 300 ? 'carried out' : (answer.code ?? String(status))
  }

  const outcomes: [Death, string, number, string][] = [
    ['before', '', 1, 'carried out'],
    ['inside', '', 1, 'carried out'],
    ['held', '', 1, 'carried out'],
    ['committed', '', 1, 'answered'],
    ['between', '/twice', 1, 'Conflict.AnswerLost'],
    ['outside', '/outside', 0, 'Conflict.AnswerLost'],
  ]
  for (const [diesAt, path, count, becomes] of outcomes)
    test(`a process that dies ${diesAt} leaves ${count} in the database: the next attempt is ${becomes}`, async () => {
      const key = newKey()
      const { origin, child } = await startChild()
      await send('POST', `${origin}/api/v1/effects${path}`, { name: key, diesAt }, { 'idempotency-key': key }).catch(() => {})
      await child.exited
      // This process outlives the second attempt.
      const die = process.kill
      process.kill = () => true
      try {
        expect(await afterDeath({ name: key, diesAt }, key, path)).toBe(becomes)
      } finally {
        process.kill = die
      }
      expect(await effects(key)).toBe(count)
    }, 30_000)
})
