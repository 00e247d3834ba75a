import { canonicalName } from '@/core/account-name'
import type { Asking } from '@/core/asking'
import type { Ports } from '@/core/ports'
import type { CallOptions, RpcClient } from '@/core/rpc'
import type { User, UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { accountText } from './account-text'
import { userLookupErrors } from './schema'

export type UserLookupBiz = ReturnType<typeof userLookupBiz>

/** Looks at accounts where the API serves them, for whoever is allowed to: users at their own, administrators at all. */
export function userLookupBiz({ rpc }: Pick<Ports, 'rpc'>) {
  let connecting: Promise<RpcClient<typeof UserService>> | undefined
  /** The code of it is loaded with the first question. */
  const users = () =>
    (connecting ??= import('@/proto/generated/bingo/user/v1/user_pb.js').then(({ UserService }) =>
      rpc.client(UserService, { scopes: ['users:read'] }),
    ))

  /**
   * An account as a text. Whoever is in a group reads what is said there, and e-mail addresses are for the owner and administrators alone.
   * @param name of the account; a user's own when absent
   * @throws NotYours, WhomMissing, UserNotFound, and what a call throws: Unavailable, Timeout
   */
  const show = async (name: string | undefined, asking: Asking, { isPrivate, ...options }: CallOptions & { isPrivate: boolean }) =>
    accountText(await find(name, asking, options), { showsEmail: isPrivate })

  async function find(name: string | undefined, { identity }: Asking, options: CallOptions): Promise<User> {
    if (identity.kind === 'user') return findOwn(identity.id, name, options)
    if (name === undefined) throw userLookupErrors.WhomMissing()
    return known(await (await users()).getUser({ by: { case: 'username', value: name } }, options))
  }

  /** Nobody is asked for the account of another: what is not asked cannot tell whether there is one, nor by the time that it takes. */
  async function findOwn(id: string, name: string | undefined, options: CallOptions): Promise<User> {
    const own = known(await (await users()).getUser({ by: { case: 'id', value: id } }, options))
    if (name !== undefined && canonicalName(name) !== own.username) throw userLookupErrors.NotYours()
    return own
  }

  return { show }
}

function known({ user }: { user?: User | undefined }): User {
  if (!user) throw new Error('the answer has no user')
  return user
}
