import { createApp, portsOf } from '@/app'
import { loadConfig } from '@/core/config/load'
import type { Passwords } from '@/core/passwords'
import { defineRole } from '@/core/role'
import { Readiness, runServices } from '@/core/service'
import { createLog } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openPorts } from '@/infra/ports'
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
const { ports, db } = await openPorts(config, portsOf([role]), { log, metrics })
const checks = db ? [{ name: 'database', check: db.ping }] : []
const { services } = createApp([role], { ...ports, passwords }, checks, { config, log, metrics, readiness, version })
await runServices(services, readiness, config.shutdown, stop.signal, log)
await db?.close()
await log.close()
process.exit(0)
