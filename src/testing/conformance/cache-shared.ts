import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { Cache } from '@/core/cache'
import { randomWork } from './cache-random'
import { newKey, readerOf, row, rule, slowLoad, until } from './cache-fixture'

/** What the Cache port promises where copies are shared: `opened` is one process's, and `openOther` opens another's. */
export function sharedSuite(opened: () => Cache, openOther: () => Promise<Cache>): void {
  let cache: Cache
  let other: Cache
  beforeAll(async () => {
    cache = opened()
    other = await openOther()
  })
  afterAll(() => other.close())
  const reader = readerOf(opened)

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
