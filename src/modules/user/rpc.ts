import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { apiKey, owner, service } from '@/core/access'
import { rpcService } from '@/core/rpc'
import { type GetUserRequest, UserService, UserStatus } from '@/proto/generated/bingo/user/v1/user_pb.js'
import type { UserBiz } from './biz'
import { type User, userErrors } from './schema'
import type { UserWatch } from './watch.biz'

const [byKey, byService] = [apiKey('users:read'), service('users:read')]

/** Users for other services, by the rules of the HTTP API: the user's own, and what a scope is for. */
export const userRpc = (biz: UserBiz, watch: UserWatch) =>
  rpcService(UserService, {
    getUser: {
      access: [owner(), byKey, byService],
      // Whose a username is, its owner knows, and nobody else is to learn whether there is one: so it is nobody's own.
      params: ({ by }): Record<string, string> => (by.case === 'id' ? { id: by.value } : {}),
      run: async ({ by }) => ({ user: message(await whom(biz, by)) }),
    },
    batchGetUsers: {
      access: [byKey, byService],
      async run({ ids }) {
        const { users, missingIds } = await biz.getMany(ids)
        return { users: users.map(message), missingIds }
      },
    },
    listUsers: {
      access: [byKey, byService],
      async *run({ status, afterId }, { signal }) {
        for await (const user of biz.each({ status: statusOf(status), after: afterId || undefined, signal })) yield { user: message(user) }
      },
    },
    watchUser: {
      access: [owner(), byKey, byService],
      params: ({ id }) => ({ id }),
      async *run({ id }, { asking, signal }) {
        for await (const user of watch(id, asking, signal)) yield user ? { user: message(user) } : {}
      },
    },
  })

function whom(biz: UserBiz, by: GetUserRequest['by']): Promise<User> {
  if (by.case === undefined) throw userErrors.WhomMissing({ problems: [{ pointer: '/id', detail: 'or /username is needed' }] })
  return by.case === 'id' ? biz.get(by.value) : biz.getByUsername(by.value)
}

const statuses = { active: UserStatus.ACTIVE, suspended: UserStatus.SUSPENDED } as const

/** @throws StatusUnknown: an enumeration of protobuf takes any number */
function statusOf(status: UserStatus): User['status'] | undefined {
  if (status === UserStatus.UNSPECIFIED) return undefined
  if (status === UserStatus.ACTIVE) return 'active'
  if (status === UserStatus.SUSPENDED) return 'suspended'
  throw userErrors.StatusUnknown({ problems: [{ pointer: '/status', detail: 'must be a status that there is' }] })
}

const message = ({ id, username, email, nickname, status, createdAt, updatedAt, version }: User) => ({
  ...{ id, username, email, status: statuses[status], version },
  ...(nickname !== undefined && { nickname }),
  createdAt: timestampFromMs(Date.parse(createdAt)),
  updatedAt: timestampFromMs(Date.parse(updatedAt)),
})
