import { afterAll, beforeAll } from 'bun:test'
import { Redis } from 'ioredis'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import type { Ports } from '@/core/ports'
import { defineTask } from '@/core/queue/task'
import { createCipher } from '@/core/seal'
import { Type } from '@/core/schema'
import { Readiness } from '@/core/service'
import type { OpenDatabase } from '@/infra/database/driver'
import { migrateUp } from '@/infra/database/migrate'
import { httpApp } from '@/infra/http/app'
import { createHealth } from '@/infra/http/health'
import { openConfiguredDatabase, openConfiguredRedis } from '@/infra/ports'
import { idempotency } from '@/infra/idempotency/keys'
import { createIntake } from '@/infra/queue/intake'
import { type OpenQueue, openQueue } from '@/infra/queue/open'
import { migrations } from '@/migrations'
import { auditEventBiz } from '@/modules/audit-event/biz'
import { createSighting } from '@/modules/audit-event/sighting.biz'
import { auditEventStore, auditHeadStore } from '@/modules/audit-event/store'
import { queueBiz } from '@/modules/queue/biz'
import { queueController } from '@/modules/queue/controller'
import { taskBiz } from '@/modules/task/biz'
import { taskController } from '@/modules/task/controller'
import type { Backing } from './backings'
import { type FakeLog, fakeLog, fakeMetrics } from './fakes'
import { adminCalled, recognizing } from './identities'

export const greet = defineTask('greeting.send', Type.Object({ to: Type.String(), copies: Type.Optional(Type.Integer({ minimum: 1 })) }))
export const gather = defineTask('greeting.gather', Type.Object({ n: Type.Integer() }), { group: { delayMs: 600_000 } })
/** What another permission guards, and what code alone enqueues. */
const exporting = defineTask('greeting.export', Type.Object({}), { byHand: 'users:export' })
const sweeping = defineTask('greeting.sweep', Type.Object({}), { byHand: 'never' })

interface QueueAdminScene {
  queueAdmin: Ports['queueAdmin']
  queue: OpenQueue
  db: OpenDatabase
  log: FakeLog
  send<T = unknown>(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Answered<T>>
  /** All that is written down, the oldest first. */
  events(): Promise<WrittenEvent[]>
  /** Makes everything that is written down fail, until it is called again. */
  loseAudit(isLost: boolean): void
  /** Kills so many of a queue. */
  die(queue: string, ids: readonly string[], error?: string): Promise<void>
  /** Loses the list of dead letters of a queue, or, where that is a table, says of one of them that somebody works on it. */
  damage(queue: string): Promise<void>
  claim(queue: string, count: number): Promise<{ id: string; attempt: number; nonce: string }[]>
}
interface Answered<T> {
  status: number
  headers: Headers
  body: T
}
export interface WrittenEvent {
  actor: string
  action: string
  object: string
  outcome: string
  reason?: string
  before?: unknown
  after?: unknown
}

/** What administrators do with queues and tasks, behind the server that knows them, on a database and a queue of its own. */
export function useQueueAdmin(open: () => Promise<Backing>) {
  const scene = {} as QueueAdminScene
  let close = async () => {}
  beforeAll(async () => {
    const backing = await open()
    const { config } = loadConfig({ env: backing.options.env ?? {}, flags: {}, readFile: () => '' })
    const [log, metrics] = [fakeLog(), fakeMetrics()]
    const db = await openConfiguredDatabase(config, { log, metrics })
    await migrateUp(db, migrations)
    const redis = await openConfiguredRedis(config, log)
    const queueNames = ['default', 'mail', 'bulk']
    const queue = await openQueue(config, { db, redis, log, metrics, clock: systemClock, tasks: [], queues: queueNames })
    const tasks = [greet, gather, exporting, sweeping]
    const queueAdmin = { ...queue.admin, ...createIntake(queue.enqueuing(tasks), tasks) }
    const cipher = createCipher(Buffer.alloc(32, 7), 'payload')
    const stored = auditEventBiz({
      db,
      clock: systemClock,
      cipher,
      log,
      events: auditEventStore,
      heads: auditHeadStore,
      sighting: createSighting(log),
    })
    let isLost = false
    const audit: Pick<typeof stored, 'note'> = {
      note: (by, entry) => (isLost ? Promise.reject(new Error('the audit log is away')) : stored.note(by, entry)),
    }
    const readiness = new Readiness()
    const recognizer = recognizing({
      writer: adminCalled('writer', ['queues:read', 'queues:write', 'tasks:read', 'tasks:write']),
      exporter: adminCalled('exporter', ['tasks:read', 'tasks:write', 'users:export']),
      reader: adminCalled('reader', ['queues:read', 'tasks:read']),
    })
    const keys = idempotency({ db, cipher: () => cipher, log, metrics })
    const app = httpApp(
      'admin',
      '/admin/v1',
      [queueController(queueBiz({ queueAdmin, log, audit })), taskController(taskBiz({ queueAdmin, log, audit }))],
      { log: fakeLog(), metrics, readiness, health: createHealth(readiness, [], log), recognizer, keys, bodyLimitBytes: 1024 * 1024 },
    )
    let nonces = 0
    const claim: QueueAdminScene['claim'] = async (name, count) => {
      const nonce = `nonce-${String(++nonces).padStart(10, '0')}`
      const { claimed } = await queue.driver.exchange(name, { claim: { worker: 'test:1', nonce, count, leaseMs: 60_000 } })
      return claimed.map(({ id, attempt }) => ({ id, attempt, nonce }))
    }
    Object.assign(scene, {
      ...{ queueAdmin, queue, db, log, claim },
      loseAudit(is: boolean) {
        isLost = is
      },
      async send(method: string, path: string, body?: unknown, headers: Record<string, string> = {}) {
        const response = await app.handle(
          new Request(`http://localhost/admin/v1${path}`, {
            method,
            headers: { authorization: 'Bearer writer', ...(body !== undefined && { 'content-type': 'application/json' }), ...headers },
            ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
          }),
        )
        const text = await response.text()
        return { status: response.status, headers: response.headers, body: text ? JSON.parse(text) : undefined }
      },
      async events() {
        const rows = await db.all('select * from "auditEvent" order by "seq"', [], { from: 'primary' })
        return rows.map(row => ({
          ...{ actor: String(row['actor']), action: String(row['action']), object: String(row['object']), outcome: String(row['outcome']) },
          ...(row['reason'] !== null && { reason: String(row['reason']) }),
          ...(row['before'] !== null && { before: JSON.parse(String(row['before'])) }),
          ...(row['after'] !== null && { after: JSON.parse(String(row['after'])) }),
        }))
      },
      async damage(name: string) {
        if (config.redis.url !== undefined) await loseKey(config.redis.url, `${config.redis.prefix}:{${name}}:dead`)
        else await db.run(`update "queueTask" set "nonce" = 'n', "worker" = 'w' where "queue" = ? and "id" = 'dead-0'`, [name])
      },
      async die(name: string, ids: readonly string[], error = 'no') {
        for (let left = ids.length; left > 0; ) {
          const held = await claim(name, Math.min(left, 1000))
          left -= held.length
          await queue.driver.exchange(name, { finish: held.map(each => ({ ...each, outcome: 'dead', isFailure: true, error })) })
        }
      },
    } satisfies Partial<QueueAdminScene> as Partial<QueueAdminScene>)
    close = async () => {
      await queue.close()
      await db.close()
      await redis?.close()
      await backing.dispose()
    }
  }, 60_000)
  afterAll(() => close())
  return scene
}

async function loseKey(url: string, key: string): Promise<void> {
  const redis = new Redis(url)
  await redis.del(key)
  redis.disconnect()
}
