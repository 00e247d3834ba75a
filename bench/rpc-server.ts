import { createApp, portsOf } from '@/app'
import { service } from '@/core/access'
import { loadConfig } from '@/core/config/load'
import { defineModule } from '@/core/module'
import { defineRole } from '@/core/role'
import { rpcService } from '@/core/rpc'
import { Readiness, runServices } from '@/core/service'
import { openRateLimits } from '@/infra/limit/open'
import { createLog } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openPorts } from '@/infra/ports'
import { serviceToken } from '@/modules/service-token'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { answer } from './rpc-messages'

/** The gRPC server as it is, with a method that does nothing, for services alone: what is left is the cost of the layers around it. */
const access = [service('users:read')]
const absent = async () => ({})
const none = async function* () {
  yield {}
}
const users = defineModule({
  name: 'bench-user',
  needs: ['revocations'],
  create: () => ({
    biz: {},
    faces: {
      rpc: [
        async () =>
          rpcService(UserService, {
            getUser: { access, run: async () => answer() },
            batchGetUsers: { access, run: absent },
            listUsers: { access, run: none },
            watchUser: { access, run: none },
          }),
      ],
    },
  }),
})
const role = defineRole({ name: 'api', summary: 'The server under test.', modules: [users, serviceToken], serves: ['rpc'] })

const { config } = loadConfig({ env: process.env, flags: {}, readFile: () => '' })
const stop = new AbortController()
process.on('SIGTERM', () => stop.abort('SIGTERM'))
const version = 'bench'
const log = createLog(config.log, { role: role.name, version })
const metrics = createMetrics({ version, roles: [role.name] })
const readiness = new Readiness()
const opened = await openPorts(config, portsOf([role]), { log, metrics })
const { identities, redis, liveSettings, stopping } = opened
const limits = await openRateLimits(config, { redis, log, metrics })
const surroundings = { config, log, metrics, readiness, version, identities, limits, liveSettings, stopping, allRoles: [role] }
const { services } = createApp([role], opened.ports, [], surroundings)
await runServices(services, readiness, config.shutdown, stop.signal, log)
await opened.close()
await log.close()
process.exit(0)
