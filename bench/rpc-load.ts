import { loadConfig } from '@/core/config/load'
import { createLog } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { openPorts } from '@/infra/ports'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { question } from './rpc-messages'
import { callOnCommand } from './rpc-rounds'

/** The client as it is, in a process that calls a server in another. */
const { config } = loadConfig({ env: process.env, flags: {}, readFile: () => '' })
const log = createLog(config.log, { role: 'bot', version: 'bench' })
const metrics = createMetrics({ version: 'bench', roles: ['bot'] })
const { ports } = await openPorts(config, new Set(['rpc']), {
  log,
  metrics,
  process: { roles: ['bot'], roleNames: ['bot'], version: 'bench' },
})
const users = ports.rpc.client(UserService, { scopes: ['users:read'] })
await callOnCommand(() => users.getUser(question))
