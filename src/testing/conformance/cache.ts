import { afterAll, beforeAll, describe, expect, test } from 'bun:test'
import type { Cache, CacheEntry, CacheRule } from '@/core/cache'
import { randomWork } from './cache-random'
import { gate, type Row, row, rule, until } from './cache-fixture'

/** What a suite works on. */
export interface CacheSubject {
  /** A cache that works. Each is another process's, where copies are shared. */
  open(): Promise<Cache>
  /** Whether what one keeps is there for the others. */
  isShared: boolean
  close(): Promise<void>
}

/** What the Cache port promises, on whichever driver. */
/** The end of a copy's life is a short time, which a busy machine may sleep through. */
const inTime = { retry: 5, timeout: 15_000 }

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
  const newKey = () => `row:${crypto.randomUUID()}`

  /** Reads that count their loads; what is loaded is what `there` says when the load begins. */
  function reader(key: string, there: () => CacheEntry<Row>, kept: CacheRule<Row> = rule()) {
    const loads = { count: 0 }
    const read = (from = cache) =>
      from.fetch(
        key,
        async () => {
          loads.count++
          return there()
        },
        kept,
      )
    return { loads, read }
  }

  /** A load that holds what was there when it began until it is let go. */
  function slowLoad(entry: CacheEntry<Row>) {
    const began = gate()
    const goOn = gate()
    const load = async () => {
      began.open()
      await goOn.passed
      return entry
    }
    return { load, began: began.passed, end: goOn.open }
  }

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

  test('no copy is older than its rule allows, nor renewed much before', async () => {
    const key = newKey()
    const kept = rule({ ttlMs: 300 })
    const loadedAtMs: number[] = []
    const load = async () => {
      loadedAtMs.push(performance.now())
      // It is as old as its load is long.
      await Bun.sleep(100)
      return row(loadedAtMs.length)
    }
    await cache.fetch(key, load, kept)
    while (loadedAtMs.length < 4) {
      const readAtMs = performance.now()
      const version = (await cache.fetch(key, load, kept))?.version ?? 0
      expect(readAtMs - (loadedAtMs[version - 1] ?? 0)).toBeLessThan(300)
      await Bun.sleep(2)
    }
    for (let i = 1; i < 4; i++) expect((loadedAtMs[i] ?? 0) - (loadedAtMs[i - 1] ?? 0)).toBeGreaterThan(300 * 0.9 * 0.8 - 5)
  })

  test('a copy that is not read for longer than its time is loaded again', async () => {
    const { read, loads } = reader(newKey(), () => row(loads?.count ?? 1), rule({ ttlMs: 100 }))
    await read()
    await Bun.sleep(110)
    expect((await read())?.version).toBe(2)
  })

  test('that there is no row is believed for its own, shorter time', async () => {
    const { read, loads } = reader(newKey(), () => ({ version: 0, value: undefined }), rule({ absentTtlMs: 100 }))
    await read()
    await read()
    expect(loads.count).toBe(1)
    await Bun.sleep(110)
    await read()
    expect(loads.count).toBe(2)
  })

  test(
    'near its end a copy is still returned at once, while one load renews it',
    async () => {
      const key = newKey()
      const kept = rule({ ttlMs: 1000 })
      await cache.fetch(key, async () => row(1), kept)
      const renewal = slowLoad(row(2))
      let renewals = 0
      const renew = () => {
        renewals++
        return renewal.load()
      }
      await Bun.sleep(910 * 0.9)
      const reads = await Promise.all(Array.from({ length: 50 }, () => cache.fetch(key, renew, kept)))
      for (const value of reads) expect(value).toEqual(row(1).value)
      await renewal.began
      expect(renewals).toBe(1)
      renewal.end()
      await until(async () => (await cache.fetch(key, async () => row(3), kept))?.version === 2, 1000)
      expect(renewals).toBe(1)
    },
    inTime,
  )

  test(
    'a renewal that fails is nobody’s error',
    async () => {
      const key = newKey()
      const kept = rule({ ttlMs: 500 })
      await cache.fetch(key, async () => row(1), kept)
      await Bun.sleep(410)
      let failures = 0
      const failing = () => {
        failures++
        return Promise.reject(new Error('no database'))
      }
      expect(await cache.fetch(key, failing, kept)).toEqual(row(1).value)
      await until(() => failures === 1)
      await Bun.sleep(100)
      expect(await cache.fetch(key, async () => row(2), kept)).toEqual(row(2).value)
    },
    inTime,
  )

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

  if (isShared) describe('between processes', () => sharedSuite())

  function sharedSuite() {
    let other: Cache
    beforeAll(async () => {
      other = await subject.open()
    })
    afterAll(() => other.close())

    test('what one has loaded is there for the other', async () => {
      const { read, loads } = reader(newKey(), () => row(1))
      await read()
      expect([await read(other), loads.count]).toEqual([row(1).value, 1])
    })

    test('what one has written the other reads soon, and what it removed is gone', async () => {
      const key = newKey()
      const { read } = reader(key, () => row(9))
      await cache.write([{ key, entry: row(1), rule: rule() }])
      expect(await read(other)).toEqual(row(1).value)
      await cache.write([{ key, entry: row(2), rule: rule() }])
      await until(async () => (await read(other))?.version === 2, 1000)
      await other.write([{ key, entry: { version: 3, value: undefined }, rule: rule() }])
      await until(async () => (await read()) === undefined, 1000)
    })

    test('a thousand reads of one cold key in two processes are answered by one load', async () => {
      const key = newKey()
      const { load, end, began } = slowLoad(row(1))
      let loads = 0
      const counted = () => {
        loads++
        return load()
      }
      const reads = Array.from({ length: 1000 }, (_, i) => (i % 2 === 0 ? cache : other).fetch(key, counted, rule()))
      await began
      await Bun.sleep(100)
      end()
      for (const value of await Promise.all(reads)) expect(value).toEqual(row(1).value)
      expect(loads).toBe(1)
    })

    for (const entry of [row(2), undefined]) {
      test(`a slow reader in one does not put the old row over a write of the other ${entry ? 'with' : 'without'} the new row`, async () => {
        const key = newKey()
        const old = slowLoad(row(1))
        const early = cache.fetch(key, old.load, rule())
        await old.began
        await other.write([{ key, ...(entry ? { entry } : {}), rule: rule() }])
        old.end()
        await early
        const { read } = reader(key, () => row(2))
        await until(async () => (await read())?.version === 2, 1000)
        for (let i = 0; i < 3; i++) expect([(await read())?.version, (await read(other))?.version]).toEqual([2, 2])
      })
    }

    test('of two writes that come in the wrong order from two processes the later version stays in both', async () => {
      for (let i = 0; i < 20; i++) {
        const key = newKey()
        const { read } = reader(key, () => row(3))
        await Promise.all([other.write([{ key, entry: row(3), rule: rule() }]), cache.write([{ key, entry: row(2), rule: rule() }])])
        await until(async () => (await read())?.version === 3, 1000)
        expect([(await read())?.version, (await read(other))?.version]).toEqual([3, 3])
      }
    })

    test('ten thousand random reads and writes of two processes: none reads what is older than the last write it knows of', async () => {
      await randomWork([cache, other])
    }, 30_000)

    test('one whose load fails lets the other load', async () => {
      const key = newKey()
      const failing = cache.fetch(key, () => Promise.reject(new Error('no database')), rule())
      await expect(failing).rejects.toThrow('no database')
      await failing.catch(() => {})
      const beganMs = performance.now()
      expect(await other.fetch(key, async () => row(1), rule())).toEqual(row(1).value)
      expect(performance.now() - beganMs).toBeLessThan(500)
    })

    test('nobody waits for a loader for ever', async () => {
      const key = newKey()
      const stuck = slowLoad(row(1))
      const never = cache.fetch(key, stuck.load, rule())
      await stuck.began
      const beganMs = performance.now()
      expect(await other.fetch(key, async () => row(1), rule())).toEqual(row(1).value)
      expect(performance.now() - beganMs).toBeLessThan(1500)
      stuck.end()
      await never
    })
  }
}
