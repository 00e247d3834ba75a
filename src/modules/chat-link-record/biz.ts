import type { PlatformName } from '@/core/chat'
import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import { linkCodesIn, newLinkCode, plainLinkCode } from './link-code'
import {
  type AccountKind,
  chatLinkRecordErrors,
  type ChatLink,
  type ChatLinkPage,
  type ChatLinkRow,
  codeLifetimeMs,
  linksMax,
} from './schema'
import type { chatLinkCodeStore, chatLinkStore } from './store'

export type ChatLinkRecordBiz = ReturnType<typeof chatLinkRecordBiz>

/** An account of ours. */
export interface AccountOf {
  readonly kind: AccountKind
  readonly id: string
}

/** A chat account, as its platform tells of it. */
export interface SenderOf {
  readonly platform: PlatformName
  readonly id: string
}

/** A link as far as it says whose it is. */
export interface Linked {
  readonly id: string
  readonly account: AccountOf
  readonly provenAtMs: number
}

/** A link that somebody has made by the code of somebody else. */
export interface Stolen extends Linked {
  readonly sender: SenderOf
}

/** A code that was found to be good. */
export interface ProvenCode {
  readonly id: string
  readonly version: number
  readonly account: AccountOf
  readonly provenAtMs: number
  readonly codeHash: string
}

const primary = { from: 'primary' } as const

/**
 * Chat accounts, and whose they are. It knows accounts by their ids only: the module chat-link says whether one may be used. A link is
 * as good as a session, and ends with all those of its account: see the module session.
 */
export function chatLinkRecordBiz({
  db,
  clock,
  cipher,
  links,
  codes,
}: Pick<Ports, 'db' | 'clock' | 'cipher'> & { links: typeof chatLinkStore; codes: typeof chatLinkCodeStore }) {
  const hashOf = (code: string) => cipher.digest(`chat-link ${code}`)

  /**
   * Makes a code; one that the account had is void.
   * @param provenAtMs when whoever asks has proven who they are; milliseconds since 1970
   * @returns the code, which nobody can be told again
   */
  async function mint(tx: Database, { kind, id }: AccountOf, provenAtMs: number): Promise<{ code: string; expiresAt: string }> {
    const code = newLinkCode()
    const expiresAt = toTimestamp(clock.nowMs() + codeLifetimeMs)
    const codeHash = hashOf(code.replaceAll('-', ''))
    const row = { accountKind: kind, accountId: id, codeHash, provenAt: toTimestamp(provenAtMs), expiresAt }
    await codes(tx).upsert(row, ['accountKind', 'accountId'])
    return { code, expiresAt }
  }

  /** @param typed as somebody has sent it. @returns what `link` takes; undefined when it is not good */
  async function check(typed: string): Promise<ProvenCode | undefined> {
    const code = plainLinkCode(typed)
    const row = code === undefined ? undefined : await codes(db).find({ codeHash: hashOf(code) }, primary)
    if (!row || row.expiresAt <= toTimestamp(clock.nowMs())) return undefined
    const { id, version, codeHash } = row
    return { id, version, codeHash, account: { kind: row.accountKind, id: row.accountId }, provenAtMs: Date.parse(row.provenAt) }
  }

  /** The link of a chat account, if it was this code that has made it: for who sends it again after an answer that has not come. */
  async function linkedBy(typed: string, sender: SenderOf): Promise<Linked | undefined> {
    const code = plainLinkCode(typed)
    const row = await rowOf(sender)
    return code !== undefined && row?.codeHash === hashOf(code) ? linkedOf(row) : undefined
  }

  /**
   * Links a chat account by a code, which is used up: of many at the same time one comes through. A link that it had becomes this one.
   * @returns whose it was before, if it was anybody's
   * @throws CodeInvalid when it was used, or made void, since it was checked; TooManyLinks
   */
  async function link(tx: Database, code: ProvenCode, sender: SenderOf & { name: string }): Promise<AccountOf | undefined> {
    // Whoever ends all links of the account removes this row, too, so one of us sees what the other has done.
    if ((await codes(tx).deleteMany({ id: code.id, version: code.version })) !== 1) throw chatLinkRecordErrors.CodeInvalid()
    const { account, codeHash, provenAtMs } = code
    const before = await rowOf(sender, tx)
    const was = before && linkedOf(before).account
    const isAnew = was === undefined || !isSame(was, account)
    if (isAnew && (await links(tx).count(of(account), primary)) >= linksMax) throw chatLinkRecordErrors.TooManyLinks()
    // One of another account is another link: its id stands for a session in logs.
    if (before && isAnew) await links(tx).deleteMany({ id: before.id })
    const row = { ...of(account), platform: sender.platform, senderId: sender.id, senderName: shown(sender.name), codeHash }
    await links(tx).upsert({ ...row, provenAt: toTimestamp(provenAtMs) }, ['platform', 'senderId'])
    return was
  }

  /**
   * Makes void whatever codes others may have read in a text.
   * @returns how many were still good; and whose links others than the sender have made by them meanwhile
   */
  async function expose(text: string, by: SenderOf): Promise<{ voided: number; stolen: Stolen[] }> {
    const hashes = linkCodesIn(text).map(hashOf)
    if (hashes.length === 0) return { voided: 0, stolen: [] }
    const codeHash = { in: hashes }
    // Whoever is about to use one has removed its row, or finds it removed: so afterwards the link is there, or never will be.
    const voided = await codes(db).deleteMany({ codeHash })
    const { items } = await links(db).list({ where: { codeHash }, pageSize: hashes.length, ...primary })
    const made = items.map(row => ({ ...linkedOf(row), sender: { platform: row.platform, id: row.senderId } }))
    return { voided, stolen: made.filter(({ sender }) => sender.platform !== by.platform || sender.id !== by.id) }
  }

  /** As it is at this moment. @param on the `tx`, where one asks in a transaction */
  async function find(sender: SenderOf, on?: Database): Promise<Linked | undefined> {
    const row = await rowOf(sender, on)
    return row && linkedOf(row)
  }

  const rowOf = ({ platform, id }: SenderOf, on: Database = db): Promise<ChatLinkRow | undefined> =>
    links(on).find({ platform, senderId: id }, primary)

  /** The newest first. */
  async function list(account: AccountOf, page: PageQuery = {}): Promise<ChatLinkPage> {
    const { items, nextPageToken } = await links(db).list({ ...page, where: of(account), orderBy: 'createdAt desc', ...primary })
    return { items: items.map(view), nextPageToken }
  }

  /** @throws LinkNotFound, also for those of others */
  async function get(account: AccountOf, id: string): Promise<ChatLink> {
    const row = await links(db).find({ ...of(account), id }, primary)
    if (!row) throw chatLinkRecordErrors.LinkNotFound()
    return view(row)
  }

  /** @returns whether there was such a link of this account */
  const remove = async (tx: Database, account: AccountOf, id: string): Promise<boolean> =>
    (await links(tx).deleteMany({ ...of(account), id })) > 0

  /** Codes are void, too. @returns how many links have ended */
  async function endAll(tx: Database, account: AccountOf): Promise<number> {
    await codes(tx).deleteMany(of(account))
    return links(tx).deleteMany(of(account))
  }

  /** Removes up to so many codes that have expired, 1–100. @returns how many */
  async function removeExpired(countMax: number): Promise<number> {
    const expired = { expiresAt: { lte: toTimestamp(clock.nowMs()) } }
    const { items } = await codes(db).list({ where: expired, pageSize: countMax, select: ['id'], ...primary })
    // One that was made anew meanwhile stays.
    return items.length === 0 ? 0 : codes(db).deleteMany({ ...expired, id: { in: items.map(({ id }) => id) } })
  }

  return { mint, check, linkedBy, link, expose, find, list, get, remove, endAll, removeExpired }
}

const of = ({ kind, id }: AccountOf) => ({ accountKind: kind, accountId: id })

export const isSame = (one: AccountOf, other: AccountOf): boolean => one.kind === other.kind && one.id === other.id

const linkedOf = ({ id, accountKind, accountId, provenAt }: ChatLinkRow): Linked => ({
  id,
  account: { kind: accountKind, id: accountId },
  provenAtMs: Date.parse(provenAt),
})

const view = ({ id, platform, senderId, senderName, provenAt, createdAt }: ChatLinkRow): ChatLink => ({
  ...{ id, platform, senderId, senderName, provenAt, createdAt },
})

const nameMax = 100
/** What strangers call themselves is any text: without what would change how the rest is read. */
const shown = (name: string): string =>
  name
    .replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/gu, ' ')
    .trim()
    .slice(0, nameMax)
    .toWellFormed()
