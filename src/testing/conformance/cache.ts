import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Cache, CacheEntry } from '@/core/cache'
import { randomWork } from './cache-random'
import { newKey, type Row, readerOf, row, rule, slowLoad, until } from './cache-fixture'
import { lifeSuite } from './cache-life'
import { sharedSuite } from './cache-shared'

/** What a suite works on. */
export interface CacheSubject {
  /** A cache that works. Each is another process's, where copies are shared. */
  open(): Promise<Cache>
  /** Whether what one keeps is there for the others. */
  isShared: boolean
  close(): Promise<void>
}

/** What the Cache port promises, on whichever driver. */
export function cacheSuite(start: () => Promise<CacheSubject>, { isShared }: Pick<CacheSubject, 'isShared'>): void {
  let subject: CacheSubject
  let cache: Cache
  beforeAll(async () => {
    subject = await start()
    cache = await subject.open()
  }, 60_000)
  afterAll(async () => {
    await cache.close()
    await subject.close()
  })
  const reader = readerOf(() => cache)

  test('what was loaded once is not loaded again', async () => {
    const { read, loads } = reader(newKey(), () => row(1))
    expect(await read()).toEqual(row(1).value)
    expect(await read()).toEqual(row(1).value)
    expect(loads.count).toBe(1)
  })

  test('what is returned is the reader’s own: changing it changes no copy', async () => {
    const { read } = reader(newKey(), () => row(1))
    const [first, second] = await Promise.all([read(), read()])
    for (const value of [first, second, await read()]) {
      expect(value).toEqual(row(1).value)
      Object.assign(value ?? {}, { name: 'changed' })
    }
    expect(await read()).toEqual(row(1).value)
  })

  test('a failed load fails all who wait for it, and the next read loads again', async () => {
    const key = newKey()
    const failing = () => cache.fetch(key, () => Promise.reject(new Error('no database')), rule())
    const outcomes = await Promise.allSettled([failing(), failing(), failing()])
    for (const outcome of outcomes) expect(outcome).toMatchObject({ status: 'rejected', reason: { message: 'no database' } })
    const { read, loads } = reader(key, () => row(1))
    expect(await read()).toEqual(row(1).value)
    expect(loads.count).toBe(1)
  })

  test('that there is no row is known too, until one is written', async () => {
    const key = newKey()
    const { read, loads } = reader(key, () => ({ version: 0, value: undefined }))
    expect([await read(), await read(), loads.count]).toEqual([undefined, undefined, 1])
    await cache.write([{ key, entry: row(1), rule: rule() }])
    expect(await read()).toEqual(row(1).value)
  })

  test('that there is no row is forgotten when told so', async () => {
    const key = newKey()
    let there: CacheEntry<Row> = { version: 0, value: undefined }
    const { read } = reader(key, () => there)
    expect(await read()).toBeUndefined()
    there = row(1)
    await cache.write([{ key, rule: rule() }])
    expect(await read()).toEqual(row(1).value)
  })

  test('a thousand who read one cold key at the same time are answered by one load', async () => {
    const { load, end, began } = slowLoad(row(1))
    const key = newKey()
    let loads = 0
    const counted = () => {
      loads++
      return load()
    }
    const reads = Array.from({ length: 1000 }, () => cache.fetch(key, counted, rule()))
    await began
    end()
    for (const value of await Promise.all(reads)) expect(value).toEqual(row(1).value)
    expect(loads).toBe(1)
  })

  for (const says of ['what is there now', 'nothing but that it changed'] as const) {
    const entry = says === 'what is there now' ? row(2) : undefined

    for (const isReadBetween of [true, false]) {
      const when = isReadBetween ? 'that others have read already' : 'that nobody has read yet'
      test(`a slow reader of the old row does not put it over a write ${when}, which says ${says}`, async () => {
        const key = newKey()
        const old = slowLoad(row(1))
        const early = cache.fetch(key, old.load, rule())
        await old.began
        await cache.write([{ key, ...(entry ? { entry } : {}), rule: rule() }])
        const { read } = reader(key, () => row(2))
        // While the old load is still under way, and after it.
        if (isReadBetween) expect(await read()).toEqual(row(2).value)
        old.end()
        expect([row(1).value, row(2).value]).toContainEqual((await early) as Row)
        for (let i = 0; i < 3; i++) expect(await read()).toEqual(row(2).value)
      })
    }
  }

  test('a write that comes while many wait: those before it may have the old row, those after it never', async () => {
    const key = newKey()
    const old = slowLoad(row(1))
    const before = Array.from({ length: 10 }, () => cache.fetch(key, old.load, rule()))
    await old.began
    await cache.write([{ key, rule: rule() }])
    const { read, loads } = reader(key, () => row(2))
    const after = Array.from({ length: 10 }, () => read())
    old.end()
    for (const value of await Promise.all(after)) expect(value).toEqual(row(2).value)
    for (const value of await Promise.all(before)) expect([1, 2]).toContain(value?.version ?? 0)
    expect(loads.count).toBe(1)
  })

  test('of two writes that come in the wrong order the later version stays', async () => {
    const key = newKey()
    await cache.write([{ key, entry: row(3), rule: rule() }])
    await cache.write([{ key, entry: row(2), rule: rule() }])
    const { read } = reader(key, () => row(3))
    expect(await read()).toEqual(row(3).value)
  })

  test('a removed row does not come back: not by a slow reader, nor by a write that comes late', async () => {
    const key = newKey()
    const old = slowLoad(row(2))
    const early = cache.fetch(key, old.load, rule())
    await old.began
    await cache.write([{ key, entry: { version: 3, value: undefined }, rule: rule() }])
    old.end()
    await early
    await cache.write([{ key, entry: row(2), rule: rule() }])
    // Of the version that was removed.
    await cache.write([{ key, entry: row(3), rule: rule() }])
    const { read, loads } = reader(key, () => ({ version: 0, value: undefined }))
    expect(await read()).toBeUndefined()
    expect(loads.count).toBe(0)
  })

  test('what a stale replica says of a removed row is not kept, even when nothing is known of it any more', async () => {
    const key = newKey()
    const short = rule({ absentTtlMs: 100 })
    await cache.write([{ key, entry: { version: 3, value: undefined }, rule: short }])
    const { read, loads } = reader(key, () => row(2), short)
    await until(async () => (await read()) !== undefined)
    const before = loads.count
    await read()
    await read()
    expect(loads.count).toBe(before + 2)
  })

  test('a row that is put back after it was removed is there', async () => {
    const key = newKey()
    await cache.write([{ key, entry: { version: 3, value: undefined }, rule: rule() }])
    await cache.write([{ key, entry: row(4), rule: rule() }])
    const { read } = reader(key, () => row(4))
    expect(await read()).toEqual(row(4).value)
  })

  test('a write without a version is as good as one that says nothing', async () => {
    const key = newKey()
    await cache.write([{ key, entry: row(7), rule: rule() }])
    await cache.write([{ key, entry: { version: 0, value: undefined }, rule: rule() }])
    // Another row has the unique value now, and begins with its own version.
    const { read, loads } = reader(key, () => row(1))
    expect([await read(), await read(), loads.count]).toEqual([row(1).value, row(1).value, 1])
  })

  test('many keys are written at once', async () => {
    const keys = Array.from({ length: 250 }, newKey)
    await cache.write(keys.map((key, i) => ({ key, entry: row(i + 1), rule: rule() })))
    for (const [i, key] of keys.entries()) {
      const { read } = reader(key, () => row(i + 1))
      expect(await read()).toEqual(row(i + 1).value)
    }
    await cache.write(keys.map(key => ({ key, rule: rule() })))
    for (const key of keys) {
      const { read } = reader(key, () => row(999))
      expect(await read()).toEqual(row(999).value)
    }
  })

  test('keys may be long and say anything, and none is taken for another', async () => {
    const base = newKey()
    const odd = [
      '',
      ' ',
      '\n',
      ':lease',
      ':copy',
      '#',
      '\u00e9',
      'e\u0301',
      '\u{1f600}',
      'x'.repeat(199),
      'x'.repeat(5000),
      `${'x'.repeat(4999)}y`,
    ]
    await Promise.all(odd.map((tail, i) => reader(base + tail, () => row(i + 1)).read()))
    for (const [i, tail] of odd.entries()) {
      const { read, loads } = reader(base + tail, () => row(100))
      expect([await read(), loads.count]).toEqual([row(i + 1).value, 0])
    }
  })

  lifeSuite(() => cache)

  test('ten thousand random reads and writes: none reads what is older than the last write it knows of', async () => {
    await randomWork([cache])
  }, 30_000)

  test('a closed cache answers from what it is given', async () => {
    const closed = await subject.open()
    await closed.close()
    const { read } = reader(newKey(), () => row(1))
    expect(await read(closed)).toEqual(row(1).value)
    await closed.write([{ key: newKey(), entry: row(1), rule: rule() }])
  })

  if (isShared)
    describe('between processes', () =>
      sharedSuite(
        () => cache,
        () => subject.open(),
      ))
}
