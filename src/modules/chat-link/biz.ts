import { accessErrors } from '@/core/access'
import { type Asking, askedBy } from '@/core/asking'
import { type AuditLog, entryOn } from '@/core/audit'
import type { CommandContext } from '@/core/command'
import type { Database } from '@/core/database'
import { type AdminIdentity, anonymous, subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { Administrator, AdministratorBiz } from '@/modules/administrator'
import {
  type AccountOf,
  type ChatLinkRecordBiz,
  chatLinkRecordErrors,
  type ChatLinkPage,
  isSame,
  type Linked,
  type ProvenCode,
  type SenderOf,
} from '@/modules/chat-link-record'
import type { SessionBiz } from '@/modules/session'
import type { Account, UserBiz } from '@/modules/user'
import type { LinkCode, NewChatLink } from './schema'

/** What it writes into the audit log, of administrators: what users do with their own accounts is their own business. */
export const audits = ['chat-link.create', 'chat-link.delete'] as const

export type ChatLinkBiz = ReturnType<typeof chatLinkBiz>

/** Who has sent a command, from where. */
export type Sent = Pick<CommandContext, 'asking' | 'chat' | 'sender'>

/** An account that may be used. */
type Known = { kind: 'user'; account: Account } | { kind: 'admin'; account: Administrator }

/** What somebody is linked to by now. */
export interface Holder {
  readonly kind: AccountOf['kind']
  readonly username: string
}

interface Neighbors {
  chatLinkRecords: ChatLinkRecordBiz
  users: Pick<UserBiz, 'confirmPassword' | 'current' | 'hold' | 'notify'>
  administrators: Pick<AdministratorBiz, 'current'>
  sessions: Pick<SessionBiz, 'isThere'>
  audit: Pick<AuditLog<(typeof audits)[number]>, 'record'>
}

/** What somebody guesses at who sends codes. */
const purpose = 'chat link'

/** Ties chat accounts to accounts: a code is got where one has logged in, and sent from the chat account that is to speak for it. */
export function chatLinkBiz({
  db,
  clock,
  log,
  throttle,
  settings,
  chatLinkRecords,
  users,
  administrators,
  sessions,
  audit,
}: Pick<Ports, 'db' | 'clock' | 'log' | 'throttle'> & { settings: Pick<Ports['settings'], 'admin'> } & Neighbors) {
  /**
   * For a user, who needs the password: a link outlives the session that it is made with.
   * @throws PasswordWrong, ResourceExhausted for whoever guesses, Contended
   */
  async function createCode(userId: string, { currentPassword }: NewChatLink, asking: Asking): Promise<LinkCode> {
    const confirmed = await users.confirmPassword(userId, currentPassword, asking.address)
    const made = await db.tx(async tx => {
      // None comes out of a password that was reset meanwhile.
      await users.hold(tx, confirmed)
      return chatLinkRecords.mint(tx, { kind: 'user', id: userId }, clock.nowMs())
    })
    return coded(made, asking)
  }

  /**
   * For an administrator, who has just proven to the server who it is. The proof is no fresher for it: dangerous commands need a new code as
   * soon as the session needs a new proof.
   */
  async function createAdminCode({ id, sessionId, provenUntilMs }: AdminIdentity, asking: Asking): Promise<LinkCode> {
    const provenAtMs = Math.min(provenUntilMs - settings.admin.provenMs, clock.nowMs())
    const made = await db.tx(async tx => {
      // What a request was let in with may be two seconds old, and a code of a session that was ended would outlive it.
      if (!(await sessions.isThere(tx, 'admin', id, sessionId))) throw accessErrors.Token()
      return chatLinkRecords.mint(tx, { kind: 'admin', id }, provenAtMs)
    })
    return coded(made, asking)
  }

  function coded({ code, expiresAt }: { code: string; expiresAt: string }, asking: Asking): LinkCode {
    log.info('a code to link a chat account was made', askedBy(asking))
    return { code, command: `/link ${code}`, expiresAt }
  }

  /**
   * Links the sender to the account of the code, whatever they were linked to before; of the same account it renews the proof. A code that
   * has made this very link is taken once more, since its answer may not have come.
   * @returns whom the sender is linked to
   * @throws CodeInvalid, TooManyLinks, ResourceExhausted for whoever guesses
   */
  async function link(typed: string, { asking, chat, sender }: Sent): Promise<Holder> {
    const from = { platform: chat.platform, id: sender.id }
    const { address } = asking
    const found = await throttle.guess({ purpose, account: address, address }, () => lookUp(typed, from))
    if (!found) throw chatLinkRecordErrors.CodeInvalid()
    const { known, code } = found
    if (code) await use(code, known, { ...from, name: sender.name }, asking)
    return holderOf(known)
  }

  async function lookUp(typed: string, from: SenderOf): Promise<{ known: Known; code: ProvenCode | undefined } | undefined> {
    const code = await chatLinkRecords.check(typed)
    const of = code ?? (await chatLinkRecords.linkedBy(typed, from))
    const known = of && (await knownAs(of.account))
    return known && { known, code }
  }

  async function use(code: ProvenCode, known: Known, sender: SenderOf & { name: string }, asking: Asking): Promise<void> {
    const { account } = code
    const by = { ...askedBy(asking), actor: subjectOf(known.kind, account.id) }
    await db.tx(async tx => {
      const before = await chatLinkRecords.find(sender, tx)
      const isAnew = before === undefined || !isSame(before.account, account)
      if (isAnew) await recordEnd(tx, before, sender, asking)
      // As everywhere: what is written down waits for others, and then the rows of links do.
      if (known.kind === 'admin') {
        const after = { platform: sender.platform, senderId: sender.id, provenAt: new Date(code.provenAtMs).toISOString() }
        await audit.record(tx, { ...by, actorName: known.account.username }, { ...entryOn('chat-link.create', nameOf(sender)), after })
      }
      await chatLinkRecords.link(tx, code, sender)
      if (known.kind === 'user' && isAnew) {
        const { id, emailVerifiedAt } = known.account
        await users.notify(tx, { id, isVerified: emailVerifiedAt !== undefined }, 'chatLinked')
      }
    })
    log.info('a chat account was linked', { ...by, object: nameOf(sender) })
  }

  /**
   * Codes that were sent where others read them are good for nobody any more, and a link that one of those others has made with it meanwhile
   * ends: nothing else says that the code is taken from them.
   */
  async function expose(typed: string, by: SenderOf): Promise<void> {
    const { voided, stolen } = await chatLinkRecords.expose(typed, by)
    const asking: Asking = { identity: anonymous, address: nameOf(by) }
    if (voided > 0) log.info('a code to link a chat account was sent where others read it, and is void', askedBy(asking))
    for (const { id, account, sender } of stolen) {
      const isEnded = await db.tx(async tx => {
        if ((await chatLinkRecords.find(sender, tx))?.id !== id) return false
        await recordEnd(tx, { account }, sender, asking)
        return chatLinkRecords.remove(tx, account, id)
      })
      if (isEnded)
        log.warn('a chat account was linked by a code that others could read, and is unlinked', {
          ...askedBy(asking),
          object: nameOf(sender),
        })
    }
  }

  /** @returns whom the sender was linked to; undefined when it was nobody */
  async function unlink({ asking, chat, sender }: Sent): Promise<AccountOf['kind'] | undefined> {
    const from = { platform: chat.platform, id: sender.id }
    const ended = await db.tx(async tx => {
      const before = await chatLinkRecords.find(from, tx)
      if (!before) return undefined
      await recordEnd(tx, before, from, asking)
      return (await chatLinkRecords.remove(tx, before.account, before.id)) ? before.account : undefined
    })
    if (ended) log.info('a chat account was unlinked', { ...askedBy(asking), object: nameOf(from) })
    return ended?.kind
  }

  /** Where the account has logged in. @throws LinkNotFound, also for those of others */
  async function remove(account: AccountOf, id: string, asking: Asking): Promise<void> {
    const link = await chatLinkRecords.get(account, id)
    const sender = { platform: link.platform, id: link.senderId }
    await db.tx(async tx => {
      await recordEnd(tx, { account }, sender, asking)
      if (!(await chatLinkRecords.remove(tx, account, id))) throw chatLinkRecordErrors.LinkNotFound()
    })
    log.info('a chat account was unlinked', { ...askedBy(asking), object: nameOf(sender) })
  }

  async function recordEnd(tx: Database, link: Pick<Linked, 'account'> | undefined, sender: SenderOf, asking: Asking): Promise<void> {
    if (link?.account.kind !== 'admin') return
    const before = { platform: sender.platform, senderId: sender.id }
    await audit.record(tx, askedBy(asking), { ...entryOn('chat-link.delete', nameOf(sender)), before })
  }

  /** Whom a sender is linked to, when that account may be used. */
  async function whoIs({ chat, sender }: Sent): Promise<Holder | undefined> {
    const linked = await chatLinkRecords.find({ platform: chat.platform, id: sender.id })
    const known = linked && (await knownAs(linked.account))
    return known && holderOf(known)
  }

  async function knownAs({ kind, id }: AccountOf): Promise<Known | undefined> {
    if (kind === 'user') {
      const account = await users.current(id)
      return account?.status === 'active' ? { kind, account } : undefined
    }
    const account = await administrators.current(id)
    return account?.status === 'active' ? { kind, account } : undefined
  }

  const list = (account: AccountOf, page: PageQuery): Promise<ChatLinkPage> => chatLinkRecords.list(account, page)

  return { createCode, createAdminCode, link, expose, unlink, whoIs, list, remove }
}

const holderOf = ({ kind, account }: Known): Holder => ({ kind, username: account.username })

/** `telegram:17`: as the address of who asks, and as the audit log has it. */
const nameOf = ({ platform, id }: SenderOf): string => `${platform}:${id}`
