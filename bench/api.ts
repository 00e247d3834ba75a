import { createApp, tasksOf } from '@/app'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import type { Passwords } from '@/core/passwords'
import type { Ports } from '@/core/ports'
import { defineRole } from '@/core/role'
import { Readiness, runServices } from '@/core/service'
import { createLog } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openMailer } from '@/infra/mail/open'
import { openConfiguredDatabase, openConfiguredRedis } from '@/infra/ports'
import { openQueue } from '@/infra/queue/open'
import { user } from '@/modules/user'
import { echo } from './echo'

/** The product as it is, with one module more and passwords that cost nothing, so that signing up measures the rest of it. */
const role = defineRole({ name: 'api', summary: 'The API under test.', modules: [user, echo], serves: ['api'] })

const passwords: Passwords = {
  hash: async () => '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo',
  verify: async () => true,
}

const { config } = loadConfig({
  env: process.env,
  flags: {},
  readFile: () => {
    throw new Error('the benchmark gives no files')
  },
})
const stop = new AbortController()
process.on('SIGTERM', () => stop.abort('SIGTERM'))
const version = 'bench'
const log = createLog(config.log, { role: role.name, version })
const metrics = createMetrics({ version, roles: [role.name] })
const readiness = new Readiness()
// Without copies of rows: what is compared is the way to the database.
const db = await openConfiguredDatabase(config, { log, metrics })
const redis = await openConfiguredRedis(config, log)
const queues = ['default', 'mail']
const queue = await openQueue(config, { db, redis, log, metrics, clock: systemClock, tasks: tasksOf([role]), queues })
// No module of it needs them.
const unused = {} as Pick<Ports, 'schedules' | 'upkeep'>
const ports = { ...unused, db, log, metrics, passwords, clock: systemClock, queue: queue.queue, mailer: openMailer(config) }
const checks = [{ name: 'database', check: db.ping }]
const { services } = createApp([role], ports, checks, { config, log, metrics, readiness, version, queue, allRoles: [role] })
await runServices(services, readiness, config.shutdown, stop.signal, log)
await queue.close()
await db.close()
await redis?.close()
await log.close()
process.exit(0)
