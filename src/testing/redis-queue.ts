import { AppError } from '@/core/error'
import { Redis } from 'ioredis'
import type { ClaimLimits, Claimed, Finish, NewTask, QueueDriver } from '@/infra/queue/driver'
import { openRedisQueue } from '@/infra/queue/redis/open'
import { openRedis } from '@/infra/redis'
import { countingMetrics, type FakeLog, fakeLog } from './fakes'

/** A queue on Redis for tests that look into the server too. */
export interface RedisQueueSubject {
  driver: QueueDriver
  log: FakeLog
  count: ReturnType<typeof countingMetrics>['count']
  prefix: string
  /** For what a driver does not say. */
  raw: Redis
  /** The keys of a queue, without what they have in common, sorted. */
  keysOf(queue: string): Promise<string[]>
  [Symbol.asyncDispose](): Promise<void>
}

export async function openSubject(
  url: string,
  { isCluster = false, timeoutMs = 2000, prefix = `t${newId().slice(0, 8)}` } = {},
): Promise<RedisQueueSubject> {
  const log = fakeLog()
  const metrics = countingMetrics()
  const server = openRedis(url, { log, isCluster })
  const raw = new Redis(url)
  raw.on('error', () => {})
  const driver = await openRedisQueue({ server, prefix, timeoutMs, log, metrics }).catch(async thrown => {
    raw.disconnect()
    await server.close()
    throw thrown
  })
  return {
    driver,
    log,
    count: metrics.count,
    prefix,
    raw,
    async keysOf(queue) {
      const base = `${prefix}:{${queue}}:`
      return (await raw.keys(`${base}*`)).map(key => key.slice(base.length)).toSorted()
    },
    async [Symbol.asyncDispose]() {
      await driver.close()
      await server.close()
      raw.disconnect()
    },
  }
}

/** 22 characters, as bingo makes them. */
export const newId = (): string =>
  Buffer.from(crypto.getRandomValues(new Uint8Array(16)))
    .toString('base64url')
    .replaceAll('-', 'a')
export const newNonce = (): string => newId().slice(0, 16)
export const newKey = newId

export const newTask = (said: Partial<NewTask> = {}): NewTask => ({
  id: newId(),
  isIdKept: false,
  priority: 5,
  delayMs: 0,
  envelope: '["test.task",1,{}]',
  ...said,
})

export const leaseMs = 30_000

/** Claims under a nonce of its own. */
export async function claim(
  driver: QueueDriver,
  queue: string,
  count = 100,
  lease = leaseMs,
  limits?: ClaimLimits,
): Promise<{ tasks: Claimed[]; nonce: string }> {
  const nonce = newNonce()
  const { claimed } = await driver.exchange(queue, { claim: { worker: 'test:1', nonce, count, leaseMs: lease, ...(limits && { limits }) } })
  return { tasks: claimed, nonce }
}

/** What a worker says of what it has claimed. */
export const finishAs = <O extends object>(claimed: { tasks: Claimed[]; nonce: string }, outcome: O): Finish[] =>
  claimed.tasks.map(({ id, attempt }) => ({ id, attempt, nonce: claimed.nonce, ...outcome }) as unknown as Finish)

export async function until(condition: () => Promise<boolean> | boolean, limitMs = 5000): Promise<void> {
  const deadline = performance.now() + limitMs
  while (!(await condition())) {
    if (performance.now() > deadline) throw new Error(`not within ${limitMs} ms`)
    await Bun.sleep(2)
  }
}

/** Every finding of a whole check. */
export async function checkAll(driver: QueueDriver, queue: string, fix = false): Promise<string[]> {
  const found: string[] = []
  let cursor: string | undefined
  do {
    const step = await driver.fsck(queue, { fix, leaseMs, ...(cursor === undefined ? {} : { cursor }) })
    found.push(...step.findings.map(({ id, what }) => `${id} ${what}`))
    cursor = step.cursor
  } while (cursor !== undefined)
  return found
}

/** Whether a call was refused as the contract says: not by another error, and not by silence. */
export const isUnavailable = (call: Promise<unknown>): Promise<boolean> =>
  call.then(
    () => false,
    thrown => thrown instanceof AppError && thrown.code === 'Unavailable.QueueUnavailable' && thrown.retryAfterSeconds !== undefined,
  )
