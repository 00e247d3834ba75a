import { expect } from 'bun:test'
import type { Cache, CacheEntry } from '@/core/cache'
import { type Row, row, rule } from './cache-fixture'

const operations = 10_000
const workers = 40
const keys = 12

/** One row as a database has it, and every state it was in. The version is the place in the list. */
type History = { isThere: boolean }[]

/**
 * Random reads and writes of a few rows through caches, over a database that answers late. After a write has ended, no read of the
 * same process may return what was there before it.
 */
export async function randomWork(caches: readonly Cache[]): Promise<void> {
  const prefix = crypto.randomUUID()
  const database = Array.from({ length: keys }, (): History => [{ isThere: false }])
  /** The newest version that each process knows to be written. */
  const known = caches.map(() => database.map(() => 0))
  const kept = rule({ ttlMs: 200, absentTtlMs: 150 })
  const stale: string[] = []
  let hits = 0

  async function read(process: number, place: number) {
    const history = database[place] as History
    const least = known[process]?.[place] ?? 0
    let isLoaded = false
    const found = await (caches[process] as Cache).fetch(
      `${prefix}:${place}`,
      async () => {
        isLoaded = true
        await pause()
        const version = history.length - 1
        const entry: CacheEntry<Row> = history[version]?.isThere ? row(version) : { version: 0, value: undefined }
        await pause()
        return entry
      },
      kept,
    )
    if (!isLoaded) hits++
    const isRight = found ? found.version >= least : history.some(({ isThere }, version) => version >= least && !isThere)
    if (!isRight) stale.push(`process ${process} read ${found?.version ?? 'nothing'} of ${place}, and knew of ${least}`)
  }

  async function write(process: number, place: number) {
    const history = database[place] as History
    await pause()
    const version = history.length
    const isThere = Math.random() < 0.7
    history.push({ isThere })
    await pause()
    const entry = isThere ? row(version) : { version, value: undefined }
    await (caches[process] as Cache).write([{ key: `${prefix}:${place}`, ...(Math.random() < 0.7 ? { entry } : {}), rule: kept }])
    const mine = known[process] as number[]
    mine[place] = Math.max(mine[place] ?? 0, version)
  }

  let left = operations
  await Promise.all(
    Array.from({ length: workers }, async () => {
      while (left-- > 0) {
        const process = Math.floor(Math.random() * caches.length)
        const place = Math.floor(Math.random() * keys)
        if (Math.random() < 0.15) await write(process, place)
        else await read(process, place)
      }
    }),
  )
  expect(stale).toEqual([])
  // Else it was the database that was tested.
  expect(hits).toBeGreaterThan(operations / 10)
}

/** Now, in a moment, or in a few milliseconds. */
async function pause(): Promise<void> {
  const chance = Math.random()
  if (chance < 0.4) return
  if (chance < 0.8) return void (await Promise.resolve())
  await Bun.sleep(Math.random() * 5)
}
