import { heapStats } from 'bun:jsc'
import { openBench } from './database'
import { bingo } from './peers/store/bingo'
import { byHandOnMysql } from './peers/store/by-hand-mysql'
import { byHandOnSqlite } from './peers/store/by-hand-sqlite'
import { idsOf, operations } from './peers/store/operations'

/**
 * Counts the bytes that each operation takes of the collector's heap. A process of its own, since only one whose collector stays
 * away (as its environment says) sees all that was taken; and a heap without holes, which would be filled before it grows.
 */
const warmUpMs = 700
const budget = 100_000_000
const count = { min: 50, max: 3000 }

const [url = '', contender = ''] = process.argv.slice(2)
const db = await openBench(url, 1)
const ids = await idsOf(db)
const byHand = url.startsWith('sqlite:') ? byHandOnSqlite(url.slice('sqlite:'.length)) : byHandOnMysql(url, 1)
const people = contender === 'Store' ? bingo(db) : await byHand
const bytes: Record<string, number> = {}
for (const { name, of } of operations) bytes[name] = await allocated(of(people, ids, 0, 1))
console.log(JSON.stringify(bytes))
process.exit(0)

async function allocated(step: () => Promise<void>): Promise<number> {
  const untilMs = performance.now() + warmUpMs
  while (performance.now() < untilMs) await step()
  const bytesOf = async (steps: number) => {
    Bun.gc(true)
    const before = heapStats()
    for (let i = 0; i < steps; i++) await step()
    const after = heapStats()
    return (after.heapCapacity + after.extraMemorySize - before.heapCapacity - before.extraMemorySize) / steps
  }
  const estimate = await bytesOf(count.min)
  return bytesOf(Math.max(count.min, Math.min(count.max, Math.floor(budget / estimate))))
}
