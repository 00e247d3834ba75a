import { loadConfig } from '@/core/config/load'
import type { Config } from '@/core/config/settings'
import { type RpcMethod, type RpcService, rpcService } from '@/core/rpc'
import { Readiness } from '@/core/service'
import { createHealth } from '@/infra/http/health'
import { type RpcLimits, rpcServer, type RpcSurroundings } from '@/infra/rpc/server'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { everyone } from '@/core/access'
import { countingMetrics, fakeLog } from '../fakes'

type UserMethods = typeof UserService.method
export type TestMethods = { [K in keyof UserMethods]?: Partial<RpcMethod<UserMethods[K]>> }

/** A gRPC server on a free port, with the methods of users, of which a test writes those that it needs: those of several modules, for a list. */
export async function startRpc(
  methods: TestMethods | readonly TestMethods[],
  { rpc = {}, http = {}, shutdown = {}, database = {}, ...given }: TestSettings = {},
  limits: Partial<RpcLimits> = {},
) {
  const log = fakeLog()
  const metrics = countingMetrics()
  const readiness = new Readiness()
  readiness.state = 'ready'
  const { config } = loadConfig({ env: {}, flags: {}, readFile: () => '' })
  const surroundings: RpcSurroundings = {
    config: {
      ...config,
      rpc: { ...config.rpc, port: 0, ...rpc },
      http: { ...config.http, ...http },
      database: { ...config.database, ...database },
      // Nobody is to wait for streams that a test leaves open.
      shutdown: { drainMs: 0, deadlineMs: 1100, ...shutdown },
    },
    ...{ log, readiness, metrics, health: createHealth(readiness, [], log), recognizer: undefined },
    ...given,
  }
  const faces = [methods].flat().map(each => serviceOf(each))
  const server = rpcServer(
    faces.map(service => async () => service),
    surroundings,
    limits,
  )
  await server.start()
  return { server, log, metrics, readiness, url: server.url, [Symbol.asyncDispose]: () => server.stop() }
}

export interface TestSettings extends Partial<Omit<RpcSurroundings, 'config'>> {
  rpc?: Partial<Config['rpc']>
  http?: Partial<Config['http']>
  database?: Partial<Config['database']>
  shutdown?: Partial<Config['shutdown']>
}

/** The methods of users, all of them. */
export function serviceOf(methods: TestMethods): RpcService {
  const absent = { access: [everyone()], run: () => Promise.reject(new Error('this test has no such method')) }
  return rpcService(UserService, {
    getUser: { ...absent, ...methods.getUser },
    batchGetUsers: { ...absent, ...methods.batchGetUsers },
    listUsers: { ...absent, ...methods.listUsers } as RpcMethod<UserMethods['listUsers']>,
    watchUser: { ...absent, ...methods.watchUser } as RpcMethod<UserMethods['watchUser']>,
  })
}
