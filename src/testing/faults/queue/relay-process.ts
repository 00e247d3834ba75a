import { systemClock } from '@/core/clock'
import { createBell } from '@/infra/queue/outbox/bell'
import { createRelay } from '@/infra/queue/outbox/relay'
import { createOutboxRows, type OutboxRows } from '@/infra/queue/outbox/rows'
import { openRedisQueue } from '@/infra/queue/redis/open'
import { openRedis } from '@/infra/redis'
import { openAgain } from '../../conformance/fixture'
import { fakeLog, fakeMetrics } from '../../fakes'

/**
 * Where a relay stays for ever, so that it can be killed just there: `taken`, when it has committed that it is about to hand over;
 * `handed`, when Redis has said yes and nobody else knows. `nowhere`: it works.
 */
export type Standstill = 'taken' | 'handed' | 'nowhere'

export interface RunningRelay {
  /** Resolves when it stands still where it is to. */
  standsStill(): Promise<void>
  kill(): Promise<void>
  stop(): Promise<number>
}

/** Starts a relay as a process of its own. Resolves when it works. */
export async function startRelay(url: string, redisUrl: string, prefix: string, standstill: Standstill = 'nowhere'): Promise<RunningRelay> {
  const child = Bun.spawn([process.execPath, import.meta.path, url, redisUrl, prefix, standstill], { stdout: 'pipe', stderr: 'inherit' })
  const lines = linesOf(child.stdout)
  if ((await lines.next()).value !== 'started') throw new Error('the relay did not start')
  return {
    async standsStill() {
      if ((await lines.next()).value !== standstill) throw new Error('the relay has ended')
    },
    async kill() {
      child.kill('SIGKILL')
      await child.exited
    },
    stop() {
      child.kill('SIGTERM')
      return child.exited
    },
  }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  let rest = ''
  const decoder = new TextDecoder()
  for await (const chunk of stream) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = lines.pop() ?? ''
    yield* lines
  }
}

if (import.meta.main) {
  const [url = '', redisUrl = '', prefix = '', standstill] = process.argv.slice(2)
  const log = fakeLog()
  const metrics = fakeMetrics()
  const server = openRedis(redisUrl, { log })
  const driver = await openRedisQueue({ server, prefix, timeoutMs: 500, log, metrics })
  const db = await openAgain({ url }, { poolSize: 2 }, { clock: systemClock })
  const bell = createBell(server, prefix)
  const standStill = (): Promise<never> => {
    console.log(standstill)
    return new Promise(() => {})
  }
  const rows: OutboxRows = createOutboxRows(db, bell.ring)
  const relay = createRelay({
    ...{ bell, log, metrics },
    rows: standstill === 'handed' ? { ...rows, drop: standStill } : rows,
    driver: standstill === 'taken' ? { ...driver, enqueue: standStill } : driver,
  })
  await relay.start()
  console.log('started')
  process.on('SIGTERM', async () => {
    await relay.stop()
    await driver.close()
    await server.close()
    await db.close()
    process.exit(0)
  })
}
