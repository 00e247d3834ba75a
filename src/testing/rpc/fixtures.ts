import { create, type DescMethod, type MessageInitShape, toBinary } from '@bufbuild/protobuf'
import { roles } from '@roles'
import { modulesOf } from '@/app'
import { type Access, accessNames } from '@/core/access'
import { buildModules } from '@/core/module'
import { unopened } from '@/http-faces'
import { servicesOf } from '@/infra/rpc/services'
import type { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import type { Person } from '../access-cast'

/** A method of gRPC, as its module declares it. */
export interface DeclaredMethod {
  /** `bingo.user.v1.UserService/GetUser` */
  name: string
  desc: DescMethod
  rules: readonly Access[]
  /** As the documents have it: `owner`, `service(users:read)`. */
  access: readonly string[]
}

/** All methods that the roles serve, from the code of their modules. */
export async function declaredMethods(): Promise<DeclaredMethod[]> {
  const serving = roles.filter(({ serves }) => serves.includes('rpc'))
  const faces = buildModules(modulesOf(serving), unopened)
  const services = await servicesOf([...faces.values()].flatMap(({ rpc = [] }) => rpc))
  return services.flatMap(({ desc, methods }) =>
    desc.methods.map(method => {
      const rules = methods[method.localName]?.access ?? []
      return { name: `${desc.typeName}/${method.name}`, desc: method, rules, access: accessNames(rules) }
    }),
  )
}

type Users = typeof UserService.method
const init = <K extends keyof Users>(_: K, value: MessageInitShape<Users[K]['input']>): object => value

/** What each method is asked of somebody's. A stream without an end counts as a success after `atMost` messages. */
export const rpcFixtures: Readonly<Record<string, (of: Pick<Person, 'id'>) => { input: object; atMost?: number }>> = {
  'bingo.user.v1.UserService/GetUser': ({ id }) => ({ input: init('getUser', { by: { case: 'id', value: id } }) }),
  'bingo.user.v1.UserService/BatchGetUsers': ({ id }) => ({ input: init('batchGetUsers', { ids: [id] }) }),
  'bingo.user.v1.UserService/ListUsers': () => ({ input: init('listUsers', {}), atMost: 1 }),
  'bingo.user.v1.UserService/WatchUser': ({ id }) => ({ input: init('watchUser', { id }), atMost: 1 }),
}

export const bytesOf = ({ input }: DescMethod, value: object): Uint8Array => toBinary(input, create(input, value as never))
