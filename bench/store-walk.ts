import { openBench } from './database'
import { bingo, everybody } from './peers/store/bingo'
import { residentMegabytes } from './process'

/** Iterates over all rows in a process of its own, so that its memory is its own. Says what it saw as JSON. */
export interface Walk {
  rows: number
  perSecond: number
  /** Connected, warm, and asked nothing for a while. */
  idleMegabytes: number
  peakMegabytes: number
}

const idleMs = 1000
const sampleEvery = 1000

if (import.meta.main) {
  const db = await openBench(process.argv[2] ?? '')
  const { list } = bingo(db)
  for (let i = 0; i < 100; i++) await list()
  Bun.gc(true)
  await Bun.sleep(idleMs)
  const idleMegabytes = residentMegabytes(process.pid)
  let peakMegabytes = idleMegabytes
  let rows = 0
  let last = ''
  const startedMs = performance.now()
  for await (const { id } of everybody(db)) {
    if (id <= last) throw new Error(`${id} came after ${last}`)
    last = id
    if (++rows % sampleEvery === 0) peakMegabytes = Math.max(peakMegabytes, residentMegabytes(process.pid))
  }
  const perSecond = rows / ((performance.now() - startedMs) / 1000)
  console.log(JSON.stringify({ rows, perSecond, idleMegabytes, peakMegabytes } satisfies Walk))
  process.exit(0)
}
