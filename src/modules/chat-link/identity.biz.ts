import { accessErrors } from '@/core/access'
import type { PlatformName } from '@/core/chat'
import type { AppError } from '@/core/error'
import { type AdminIdentity, anonymous, type Identity } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import type { ChatLinkRecordBiz, Linked } from '@/modules/chat-link-record'
import type { SecondFactorBiz } from '@/modules/second-factor'
import type { UserBiz } from '@/modules/user'

interface Needs {
  settings: Pick<Ports['settings'], 'admin'>
  chatLinkRecords: Pick<ChatLinkRecordBiz, 'find'>
  users: Pick<UserBiz, 'current'>
  administrators: Pick<AdministratorBiz, 'current'>
  factors: Pick<SecondFactorBiz, 'idOf'>
}

/** Who is behind a chat account. It keeps nothing: what is changed or taken away holds for the next command. */
export function chatIdentity({ settings, chatLinkRecords, users, administrators, factors }: Needs) {
  /**
   * As the account is at this moment, whatever copies and replicas say: with no more than it may do by now, and nobody when it may not be
   * used, or the chat account is linked to none.
   */
  async function identify(platform: PlatformName, senderId: string): Promise<Identity> {
    const linked = await chatLinkRecords.find({ platform, id: senderId })
    if (!linked) return anonymous
    const { id, account } = linked
    if (account.kind === 'user') {
      const known = await users.current(account.id)
      return known?.status === 'active' ? { kind: 'user', id: account.id, sessionId: id } : anonymous
    }
    const administrator = await administrators.current(account.id)
    return administrator?.status === 'active' ? adminOf(administrator, linked) : anonymous
  }

  /** Dangerous commands need a proof that is as fresh as on the admin server: the one that the code of the link was made with. */
  async function adminOf({ id, username, permissions }: Administrator, { id: sessionId, provenAtMs }: Linked): Promise<AdminIdentity> {
    const provenUntilMs = provenAtMs + settings.admin.provenMs
    const known = { kind: 'admin', id, sessionId, username, provenUntilMs } as const
    const isLacking = settings.admin.secondFactor === 'required' && (await factors.idOf(id)) === undefined
    return isLacking ? { ...known, permissions: new Set(), lacks: 'secondFactor' } : { ...known, permissions: new Set(permissions) }
  }

  return identify
}

const ofUsers = 'POST /api/v1/me/chat-links'
const ofAdministrators = 'POST /admin/v1/me/chat-links'

/** What only whoever calls a server can do about a refusal, as whoever is in a chat can. */
const remedies = new Map([
  [
    accessErrors.Credentials().code,
    `Link this chat account to yours first: ${ofUsers}, or ${ofAdministrators} for administrators, gives you a code. Send it to me as /link and the code, in a private chat.`,
  ],
  [
    accessErrors.Proof().code,
    `This needs a proof of who you are that is not old. Prove it at POST /admin/v1/sessions/current/proof, get a new code at ${ofAdministrators}, and send it to me as /link and the code, in a private chat.`,
  ],
  [accessErrors.SecondFactor().code, 'Here everybody needs a second factor: set yours up first, at POST /admin/v1/me/second-factor.'],
])

/** What somebody in a chat is told who may not give a command. */
export const refusalIn = (refusal: AppError): string => remedies.get(refusal.code) ?? refusal.message
