import { createApp, portsOf, queuesOf, tasksOf } from '@/app'
import { loadConfig } from '@/core/config/load'
import type { Database } from '@/core/database'
import type { Passwords } from '@/core/passwords'
import { defineRole } from '@/core/role'
import { Readiness, runServices } from '@/core/service'
import { createLog } from '@/infra/log'
import { openRateLimits } from '@/infra/limit/open'
import { createMetrics } from '@/infra/metrics'
import { openPorts } from '@/infra/ports'
import { user } from '@/modules/user'
import { userSession } from '@/modules/user-session'
import { echo } from './echo'

/** The product as it is, with one module more and passwords that cost nothing, so that signing up measures the rest of it. */
const role = defineRole({ name: 'api', summary: 'The API under test.', modules: [user, userSession, echo], serves: ['api'] })

const passwords: Passwords = {
  hash: async () => '$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHRzYWx0$aGFzaGhhc2hoYXNoaGFzaGhhc2hoYXNo',
  verify: async () => true,
  isOutdated: () => false,
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
const declared = { tasks: tasksOf([role]), queues: [...queuesOf([role]), 'default', 'mail'] }
const opened = await openPorts(config, portsOf([role]), { log, metrics, ...declared })
const { db, queue, identities, redis } = opened
const limits = await openRateLimits(config, { redis, log, metrics })
const checks = db ? [{ name: 'database', check: db.ping }] : []
const surroundings = { config, log, metrics, readiness, version, queue, identities, limits, allRoles: [role] }
// Without copies of rows: what is compared is the way to the database.
const uncached: Database = Object.create(opened.ports.db, { cache: { value: undefined } })
const { services } = createApp([role], { ...opened.ports, db: uncached, passwords }, checks, surroundings)
await runServices(services, readiness, config.shutdown, stop.signal, log)
await opened.close()
await log.close()
process.exit(0)
