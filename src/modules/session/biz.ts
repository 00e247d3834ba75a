import { randomBytes } from 'node:crypto'
import { toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { subjectOf } from '@/core/identity'
import type { Ports } from '@/core/ports'
import type { PageQuery } from '@/core/schema'
import type { ChatLinkRecordBiz } from '@/modules/chat-link-record'
import { isGenuine, readRefreshToken, writeRefreshToken } from './refresh-token'
import { type Realm, type Session, seedBytes, type SessionPage, type SessionRow, type SessionTokens, sessionErrors } from './schema'
import type { Activity, sessionStore } from './store'

/** What the client says of itself, and where it is. */
export interface Device {
  userAgent: string | undefined
  address: string
  requestId?: string | undefined
}

/** Whoever has an access token of a session that goes on. Whether the account may be used is for the realm to say. */
export interface Verified {
  accountId: string
  sessionId: string
  /** When the access token ends, or the session, if that is before; milliseconds since 1970. */
  expiresAtMs: number
  /** When it was last proven whose session it is, by the log-in or since; milliseconds since 1970. */
  provenAtMs: number
}

/** A session, and whose it is. */
export interface SessionOf {
  accountId: string
  sessionId: string
}

/** Tokens of a session, and whose it is. */
export interface Opened extends SessionOf {
  tokens: SessionTokens
}

/**
 * Sessions of both realms. It knows accounts by their ids only: the modules that keep them say whether one may be used, and may
 * call this one when they change.
 */
export interface SessionBiz {
  /** Begins a session of an account whose password, or whatever it takes, has just been found right. */
  open(realm: Realm, accountId: string, device: Device): Promise<Opened>
  /**
   * The same, unless what was found right is so no more once the session is there: whoever has changed the password meanwhile has
   * ended all sessions that there were, and this one may have come too late for that.
   * @param holds asked when the session can be seen, and ended, by others, and nobody has its tokens
   */
  openIf(realm: Realm, accountId: string, device: Device, holds: (sessionId: string) => Promise<boolean>): Promise<Opened | undefined>
  /**
   * The next tokens of a session. A refresh token that is used again within `session.graceMs` gives the same next one; after
   * that, its session ends.
   * @param mayStay whether the account may be used, as the primary says
   * @param stolen told before the session of a token ends that was used again
   * @throws sessionErrors.RefreshTokenInvalid
   */
  refresh(
    realm: Realm,
    refreshToken: string,
    device: Device,
    mayStay: (accountId: string) => Promise<boolean>,
    stolen?: (of: SessionOf) => Promise<void>,
  ): Promise<Opened>
  /** @returns undefined when the access token is not valid for this realm, or its session has ended; read from the primary */
  verify(realm: Realm, accessToken: string): Promise<Verified | undefined>
  /**
   * Notes that whoever has the session has just proven to be whose it is. Call it last in the transaction, since it tells the other
   * processes.
   * @returns the moment, in milliseconds since 1970
   * @throws sessionErrors.SessionNotFound
   */
  prove(tx: Database, realm: Realm, accountId: string, sessionId: string): Promise<number>
  /** Notes that a session is in use. It never fails; called at most once a minute. */
  touch(sessionId: string): Promise<void>
  /**
   * Ends a session of this account, everywhere within `revocationMaxMs`.
   * @param also done before in the same transaction, and undone when there is no such session any more
   * @throws sessionErrors.SessionNotFound
   */
  end(realm: Realm, accountId: string, sessionId: string, also?: (tx: Database) => Promise<void>): Promise<void>
  /** Whether a session of this account is there, which then stays so until the end of the transaction. */
  isThere(tx: Database, realm: Realm, accountId: string, sessionId: string): Promise<boolean>
  /**
   * Ends all sessions of an account, everywhere within `revocationMaxMs` of the commit, and its links with chat accounts at the commit:
   * whoever has one speaks for the account, too. Call it last in the transaction, since it tells the other processes.
   * @param except a session that goes on
   * @returns how many sessions have ended
   */
  endAll(tx: Database, realm: Realm, accountId: string, options?: { except?: string }): Promise<number>
  /** How many of an account go on, and when one was last used, give or take a minute. */
  activity(realm: Realm, accountId: string): Promise<Activity>
  /** Those that go on, newest first. @param current the one that asks */
  list(realm: Realm, accountId: string, current: string | undefined, page?: PageQuery): Promise<SessionPage>
  /** Removes up to so many rows of sessions that have ended by themselves. @returns how many */
  removeEnded(countMax: number): Promise<number>
}

type Needs = Pick<Ports, 'db' | 'clock' | 'log' | 'tokens' | 'revocations'> & {
  settings: Pick<Ports['settings'], 'session'>
  sessions: typeof sessionStore
  chatLinkRecords: Pick<ChatLinkRecordBiz, 'endAll'>
}

/** Whose sessions those of a realm are. */
const accountKinds = { api: 'user', admin: 'admin' } as const
const userAgentMax = 256
/** A refresh that others were faster than looks again; the second look decides, unless they go on like this. */
const refreshAttempts = 5
const primary = { from: 'primary' } as const

export function sessionBiz({ db, clock, log, tokens, revocations, settings, sessions, chatLinkRecords }: Needs): SessionBiz {
  const open = async (realm: Realm, accountId: string, device: Device): Promise<Opened> => opened(await begin(realm, accountId, device), 1)

  async function openIf(realm: Realm, accountId: string, device: Device, holds: (sessionId: string) => Promise<boolean>) {
    const row = await begin(realm, accountId, device)
    if (await holds(row.id)) return opened(row, 1)
    await removeAll([row.id])
    return undefined
  }

  async function begin(realm: Realm, accountId: string, device: Device): Promise<SessionRow> {
    const nowMs = clock.nowMs()
    const row = await sessions(db).create({
      ...{ realm, accountId, seed: new Uint8Array(randomBytes(seedBytes)), generation: 1 },
      ...{
        provenAt: toTimestamp(nowMs),
        expiresAt: toTimestamp(nowMs + settings.session.ttlMs),
        ...used(nowMs, nowMs + settings.session.ttlMs, device),
      },
    })
    // Seen after its own commit: of several at once the last sees all, and what is too much of them ends.
    await removeAll(await sessions(db).unusedBeyond(realm, accountId, settings.session.perAccountMax))
    return row
  }

  async function refresh(
    realm: Realm,
    refreshToken: string,
    device: Device,
    mayStay: (accountId: string) => Promise<boolean>,
    stolen?: (of: SessionOf) => Promise<void>,
  ): Promise<Opened> {
    const claims = readRefreshToken(refreshToken)
    if (!claims) throw sessionErrors.RefreshTokenInvalid()
    for (let attempt = 1; attempt <= refreshAttempts; attempt++) {
      const row = await sessions(db).get(claims.sessionId, primary)
      const nowMs = clock.nowMs()
      if (!row || row.realm !== realm || hasEnded(row, nowMs) || !isGenuine(claims, row, tokens.refreshMac))
        throw sessionErrors.RefreshTokenInvalid()
      const isNewest = claims.generation === row.generation
      if (!isNewest && !isJustUsed(claims.generation, row, nowMs)) throw await usedAgain(claims.generation, row, stolen)
      if (!(await mayStay(row.accountId))) throw sessionErrors.RefreshTokenInvalid()
      if (!isNewest) return opened(row, row.generation)
      const next = used(nowMs, Date.parse(row.expiresAt), device)
      if (await sessions(db).rotate(row, next)) return opened(row, row.generation + 1)
    }
    throw sessionErrors.RefreshTokenInvalid()
  }

  /** Whoever lost the answer, or asked twice at once, comes with the one before the newest, and soon. */
  const isJustUsed = (generation: number, row: SessionRow, nowMs: number): boolean =>
    generation === row.generation - 1 && nowMs - Date.parse(row.rotatedAt) <= settings.session.graceMs

  /** Two have the token, and one of them stole it: so the session ends for both (RFC 9700 §4.14.2). */
  async function usedAgain(generation: number, row: SessionRow, stolen?: (of: SessionOf) => Promise<void>) {
    // One of the future was made by a database that was set back since, not by a thief.
    if (generation < row.generation) {
      await stolen?.({ accountId: row.accountId, sessionId: row.id })
      await removeAll([row.id])
      log.warn('a refresh token was used again, so its session has ended', { realm: row.realm, account: row.accountId })
    }
    return sessionErrors.RefreshTokenInvalid()
  }

  async function opened(row: SessionRow, generation: number): Promise<Opened> {
    const { realm, accountId, id: sessionId } = row
    const { token: accessToken, expiresInSeconds } = await tokens.sign({ accountId, sessionId, audience: realm })
    const refreshToken = writeRefreshToken(row, generation, tokens.refreshMac)
    return { tokens: { accessToken, refreshToken, expiresInSeconds }, accountId, sessionId }
  }

  /** What is said of a session each time that it gets tokens. */
  function used(nowMs: number, expiresAtMs: number, { userAgent, address }: Device) {
    const now = toTimestamp(nowMs)
    const idleUntil = toTimestamp(Math.min(nowMs + settings.session.idleTtlMs, expiresAtMs))
    return { rotatedAt: now, lastUsedAt: now, idleUntil, address, ...(userAgent && { userAgent: shortened(userAgent) }) }
  }

  async function verify(realm: Realm, accessToken: string): Promise<Verified | undefined> {
    const claims = await tokens.verify(accessToken, realm)
    const row = claims && (await sessions(db).get(claims.sessionId, primary))
    if (!row || row.realm !== realm || row.accountId !== claims.accountId || hasEnded(row, clock.nowMs())) return undefined
    const expiresAtMs = Math.min(claims.expiresAtMs, Date.parse(row.idleUntil))
    const provenAtMs = row.provenAt === undefined ? 0 : Date.parse(row.provenAt)
    return { accountId: row.accountId, sessionId: row.id, expiresAtMs, provenAtMs }
  }

  async function prove(tx: Database, realm: Realm, accountId: string, sessionId: string): Promise<number> {
    const nowMs = clock.nowMs()
    const isThere = await sessions(tx).prove(realm, accountId, sessionId, nowMs)
    if (!isThere) throw sessionErrors.SessionNotFound()
    await revocations.forget(tx, [subjectOf('session', sessionId)])
    return nowMs
  }

  async function touch(sessionId: string): Promise<void> {
    try {
      await sessions(db).touch(sessionId, clock.nowMs())
    } catch (err) {
      log.debug('when a session was last used could not be noted', { err })
    }
  }

  async function end(realm: Realm, accountId: string, sessionId: string, also?: (tx: Database) => Promise<void>): Promise<void> {
    const row = await sessions(db).get(sessionId, primary)
    const isTheirs = row?.realm === realm && row.accountId === accountId && !hasEnded(row, clock.nowMs())
    if (!isTheirs) throw sessionErrors.SessionNotFound()
    await db.tx(async tx => {
      // As everywhere: what is written down waits for others, and then the rows of sessions do.
      await also?.(tx)
      if ((await removeIn(tx, [sessionId])) === 0) throw sessionErrors.SessionNotFound()
    })
  }

  async function endAll(tx: Database, realm: Realm, accountId: string, { except }: { except?: string } = {}): Promise<number> {
    const ids = (await sessions(tx).idsOf(realm, accountId)).filter(id => id !== except)
    await chatLinkRecords.endAll(tx, { kind: accountKinds[realm], id: accountId })
    return removeIn(tx, ids)
  }

  const removeAll = async (ids: readonly string[]): Promise<number> => (ids.length === 0 ? 0 : db.tx(tx => removeIn(tx, ids)))

  async function removeIn(tx: Database, ids: readonly string[]): Promise<number> {
    const removed = await sessions(tx).deleteIds(ids)
    if (removed > 0)
      await revocations.forget(
        tx,
        ids.map(id => subjectOf('session', id)),
      )
    return removed
  }

  async function list(realm: Realm, accountId: string, current: string | undefined, page: PageQuery = {}): Promise<SessionPage> {
    const { items, nextPageToken } = await sessions(db).list({
      ...page,
      where: { realm, accountId },
      orderBy: 'createdAt desc',
      ...primary,
    })
    const nowMs = clock.nowMs()
    // Not said in `where`, which page tokens are bound to: it would be another with each moment.
    return { items: items.filter(row => !hasEnded(row, nowMs)).map(row => view(row, current)), nextPageToken }
  }

  return {
    ...{ open, openIf, refresh, verify, prove, touch, end, endAll, list },
    isThere: async (tx, realm, accountId, sessionId) => (await sessions(tx).idsOf(realm, accountId)).includes(sessionId),
    activity: (realm, accountId) => sessions(db).activityOf(realm, accountId, clock.nowMs()),
    // Whoever has a token of one has none that is good, so nobody has to forget it.
    removeEnded: async countMax => {
      const ended = await sessions(db).endedBefore(clock.nowMs(), countMax)
      return sessions(db).deleteIds(ended)
    },
  }
}

const hasEnded = ({ idleUntil }: SessionRow, nowMs: number): boolean => Date.parse(idleUntil) <= nowMs

/** What a client calls itself is any text. */
const shortened = (userAgent: string) =>
  userAgent
    .replace(/\p{Cc}/gu, ' ')
    .slice(0, userAgentMax)
    .toWellFormed()

function view({ id, createdAt, lastUsedAt, expiresAt, userAgent, address }: SessionRow, current: string | undefined): Session {
  const shown = { id, createdAt, lastUsedAt, expiresAt, address, isCurrent: id === current }
  return userAgent === undefined ? shown : { ...shown, userAgent }
}
