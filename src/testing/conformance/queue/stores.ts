import type { Database } from '@/core/database'
import { migrateUp } from '@/infra/database/migrate'
import { keptIdMs, type QueueDriver } from '@/infra/queue/driver'
import { openRedisQueue } from '@/infra/queue/redis/open'
import { openSqliteQueue } from '@/infra/queue/sqlite/driver'
import { openRedis } from '@/infra/redis'
import { migrations } from '@/migrations'
import { type Backing, openBacking, type RedisName } from '../../backings'
import { fakeLog, fakeMetrics } from '../../fakes'
import { redisNames, sharedServer } from '../../servers'
import { until } from '../cache-fixture'
import { openAgain } from '../fixture'
import { modelStore } from './model'

/** A driver as tests use it: two processes of one store, a way to let time pass, and a look behind it. */
export interface QueueStore {
  /** As one process has it. */
  driver: QueueDriver
  /** As another process has it. */
  rival: QueueDriver
  /** As a third has it; its opener closes it. */
  open(): Promise<QueueDriver>
  /** By the clock of the store. */
  nowMs(): Promise<number>
  /** Lets at least so much of the store's time pass. */
  advance(ms: number): Promise<void>
  /** Whether that takes as long, and others may use some of it. */
  isTimeReal: boolean
  /** What is kept of a queue besides its counters and ids that are remembered. Empty when all its tasks have ended, and none is dead. */
  leftovers(queue: string): Promise<string[]>
  /** Lets the 24 hours end for which an id is remembered. @throws Error when it was to be remembered for longer or shorter */
  passKeptTime(queue: string, id: string): Promise<void>
  close(): Promise<void>
}

export type QueueStoreName = 'model' | 'sqlite' | RedisName
export const queueStoreNames: readonly QueueStoreName[] = ['model', 'sqlite', ...redisNames]

/** The server that a store needs, if any. */
export const serverOf = (name: QueueStoreName): RedisName | undefined => (name === 'model' || name === 'sqlite' ? undefined : name)

export function openQueueStore(name: QueueStoreName): Promise<QueueStore> {
  if (name === 'model') return openModel()
  return name === 'sqlite' ? openSqlite() : openOnRedis(name)
}

/** So long ago at most the task ended whose id is to be forgotten. */
const keptSlackMs = 60_000
const beginMs = Date.parse('2026-01-31T09:05:00.000Z')

/** The model itself, so that a suite is known to be right before it judges. */
async function openModel(): Promise<QueueStore> {
  let nowMs = beginMs
  const { open, leftovers } = modelStore({ nowMs: () => nowMs })
  return {
    driver: open(),
    rival: open(),
    open: async () => open(),
    nowMs: async () => nowMs,
    advance: async ms => {
      nowMs += ms
    },
    isTimeReal: false,
    leftovers: async queue => leftovers(queue),
    passKeptTime: async () => {
      nowMs += keptIdMs
    },
    close: async () => {},
  }
}

/** Each process has the file open for itself; all go by one clock, which tests move. */
async function openSqlite(): Promise<QueueStore> {
  let nowMs = beginMs
  const clock = { nowMs: () => nowMs }
  const backing = (await openBacking('sqlite')) as Backing
  const closing = closers()
  async function openProcess(): Promise<QueueDriver & { db: Database }> {
    const db = await openAgain(backing)
    await migrateUp(db, migrations)
    const queue = openSqliteQueue({ db, log: fakeLog(), metrics: fakeMetrics(), clock })
    const close = closing.add(async () => {
      await queue.close()
      await db.close()
    })
    return { ...queue, db, close }
  }
  const [driver, rival] = [await openProcess(), await openProcess()]
  return {
    driver,
    rival,
    open: openProcess,
    nowMs: async () => nowMs,
    advance: async ms => {
      nowMs += ms
    },
    isTimeReal: false,
    async leftovers(queue) {
      const tasks = await driver.db.all('select "id" from "queueTask" where "queue" = ?', [queue])
      // Those of which only a rate is known are forgotten when their time is over.
      const lanes = await driver.db.all(
        'select "lane" as "id" from "queueLane" where "queue" = ? and "lane" > \' ~\' and "heldUntil" is null',
        [queue],
      )
      return [...tasks, ...lanes].map(row => String(row['id']))
    },
    async passKeptTime(queue, id) {
      const row = await driver.db.first('select "until" from "queueTombstone" where "queue" = ? and "id" = ?', [queue, id])
      const leftMs = Number(row?.['until']) - nowMs
      if (!(leftMs > keptIdMs - keptSlackMs && leftMs <= keptIdMs)) throw new Error(`${id} is remembered for ${leftMs} ms`)
      nowMs += leftMs
    },
    async close() {
      await closing.all()
      await backing.dispose()
    },
  }
}

const redisTimeoutMs = 5000

/** Each process has connections of its own; the clock is the server's, which nobody moves. */
async function openOnRedis(name: RedisName): Promise<QueueStore> {
  const url = (await sharedServer(name))?.url ?? ''
  const options = { log: fakeLog(), isCluster: name === 'redisCluster' }
  const prefix = `test-${crypto.randomUUID().slice(0, 8)}`
  const closing = closers()
  async function openProcess(): Promise<QueueDriver> {
    const server = openRedis(url, options)
    const queue = await openRedisQueue({ server, prefix, timeoutMs: redisTimeoutMs, log: fakeLog(), metrics: fakeMetrics() })
    const close = closing.add(async () => {
      await queue.close()
      await server.close()
    })
    return { ...queue, close }
  }
  const behind = openRedis(url, options)
  const connection = behind.connect('test')
  await until(() => connection.runId !== undefined)
  const say = (...[command, ...args]: [string, ...(string | number)[]]) => connection.call(redisTimeoutMs, command, ...args)

  async function keysOf(queue: string): Promise<string[]> {
    const replies = await connection.callEach(redisTimeoutMs, 'KEYS', `${prefix}:{${queue}}:*`)
    return (replies as string[][]).flat()
  }
  /**
   * Counters and their history, rates that have been used, the word that something waits, and what expires by itself: ids that are remembered, claims, ends of which
   * nobody has heard, and names of groups.
   */
  async function isLeftover(key: string): Promise<boolean> {
    const suffix = key.slice(key.indexOf('}:') + 2)
    if (['m', 'w', 'hist', 'tat', 'park'].includes(suffix)) return false
    // A lane that its rate holds back is known until its time has come, though nothing waits in it.
    if (suffix === 'blk') return (await say('HLEN', key)) !== (await say('ZCARD', key.replace(/blk$/, 'park')))
    return !/^(b|d|cl|g):/.test(suffix) || Number(await say('PTTL', key)) === -1
  }

  const [driver, rival] = [await openProcess(), await openProcess()]
  return {
    driver,
    rival,
    open: openProcess,
    async nowMs() {
      const [seconds, micros] = (await say('TIME')) as [string, string]
      return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000)
    },
    advance: ms => Bun.sleep(ms),
    isTimeReal: true,
    async leftovers(queue) {
      const keys = await keysOf(queue)
      const are = await Promise.all(keys.map(isLeftover))
      return keys.filter((_, i) => are[i])
    },
    async passKeptTime(queue, id) {
      const key = `${prefix}:{${queue}}:d:${id}`
      const leftMs = Number(await say('PTTL', key))
      if (!(leftMs > keptIdMs - keptSlackMs && leftMs <= keptIdMs)) throw new Error(`${id} is remembered for ${leftMs} ms`)
      await say('DEL', key)
    },
    async close() {
      await closing.all()
      await behind.close()
    },
  }
}

/** What is still open when a store is closed. */
function closers() {
  const open = new Set<() => Promise<void>>()
  return {
    /** @returns what closes it, once */
    add(close: () => Promise<void>): () => Promise<void> {
      const once = async () => {
        if (open.delete(once)) await close()
      }
      open.add(once)
      return once
    },
    async all() {
      for (const close of [...open]) await close()
    },
  }
}
