import { expect, test } from 'bun:test'
import type { Cache } from '@/core/cache'
import { newKey, readerOf, row, rule, slowLoad, until } from './cache-fixture'

/** The end of a copy's life is a short time, which a busy machine may sleep through. */
const inTime = { retry: 5, timeout: 15_000 }

/** What the Cache port promises of the time of a copy: when it ends, and when it is renewed. */
export function lifeSuite(opened: () => Cache): void {
  const reader = readerOf(opened)

  test(
    'no copy is older than its rule allows, nor renewed much before',
    async () => {
      const key = newKey()
      const kept = rule({ ttlMs: 300 })
      const loadedAtMs: number[] = []
      const load = async () => {
        loadedAtMs.push(performance.now())
        // It is as old as its load is long.
        await Bun.sleep(100)
        return row(loadedAtMs.length)
      }
      await opened().fetch(key, load, kept)
      while (loadedAtMs.length < 4) {
        const readAtMs = performance.now()
        const version = (await opened().fetch(key, load, kept))?.version ?? 0
        expect(readAtMs - (loadedAtMs[version - 1] ?? 0)).toBeLessThan(300)
        await Bun.sleep(2)
      }
      for (let i = 1; i < 4; i++) expect((loadedAtMs[i] ?? 0) - (loadedAtMs[i - 1] ?? 0)).toBeGreaterThan(300 * 0.9 * 0.8 - 5)
    },
    inTime,
  )

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
      await opened().fetch(key, async () => row(1), kept)
      const renewal = slowLoad(row(2))
      let renewals = 0
      const renew = () => {
        renewals++
        return renewal.load()
      }
      await Bun.sleep(910 * 0.9)
      const reads = await Promise.all(Array.from({ length: 50 }, () => opened().fetch(key, renew, kept)))
      for (const value of reads) expect(value).toEqual(row(1).value)
      await renewal.began
      expect(renewals).toBe(1)
      renewal.end()
      await until(async () => (await opened().fetch(key, async () => row(3), kept))?.version === 2, 1000)
      expect(renewals).toBe(1)
    },
    inTime,
  )

  test(
    'a renewal that fails is nobody’s error',
    async () => {
      const key = newKey()
      const kept = rule({ ttlMs: 500 })
      await opened().fetch(key, async () => row(1), kept)
      await Bun.sleep(410)
      let failures = 0
      const failing = () => {
        failures++
        return Promise.reject(new Error('no database'))
      }
      expect(await opened().fetch(key, failing, kept)).toEqual(row(1).value)
      await until(() => failures === 1)
      await Bun.sleep(100)
      expect(await opened().fetch(key, async () => row(2), kept)).toEqual(row(2).value)
    },
    inTime,
  )
}
