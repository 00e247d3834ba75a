import { writeSync } from 'node:fs'
import { systemClock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import { createQueue } from '@/infra/queue/queue'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { openAgain } from '../../conformance/fixture'
import { fakeLog, fakeMetrics } from '../../fakes'
import { placeOrder, ship } from './order'

/** The port over the file of SQLite, as a process has it. */
export async function openPort(url: string, limits: Partial<Config['database']> = {}) {
  const db = await openAgain({ url }, limits, { clock: systemClock })
  const driver = openSqliteQueue({ db, log: fakeLog(), metrics: fakeMetrics() })
  const queue = createQueue({ driver, db, tasks: [ship], queues: ['default'], clock: systemClock, payloadMaxBytes: 262_144 })
  return {
    ...{ db, driver, queue },
    close: async () => {
      await driver.close()
      await db.close()
    },
  }
}

/**
 * Run as a process: many callers enqueue, half of them in transactions with rows of their own. Each id is said as soon as its call
 * has resolved, and at the given one the process is killed: nothing that it was about to do is done any more.
 */
if (import.meta.main) {
  const [url = '', callers, most] = process.argv.slice(2)
  const { db, queue } = await openPort(url)
  let said = 0
  const say = (id: string) => {
    writeSync(1, `${id}\n`)
    if (++said >= Number(most)) process.kill(process.pid, 'SIGKILL')
  }
  const enqueue = async () => (await queue.enqueue(ship, { orderId: '' }, { id: `free-${Bun.randomUUIDv7()}` })).id
  const caller = async (isInTx: boolean) => {
    for (;;) say(await (isInTx ? db.tx(tx => placeOrder(tx, queue)) : enqueue()))
  }
  await Promise.all(Array.from({ length: Number(callers) }, (_, i) => caller(i % 2 === 0)))
}
