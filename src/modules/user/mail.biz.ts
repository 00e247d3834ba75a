import { dayMs, toTimestamp } from '@/core/clock'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Ports } from '@/core/ports'
import { giveUp, type TaskContext, type TaskResult } from '@/core/queue/task'
import type { UserCodeBiz } from '@/modules/user-code'
import { codeOf, messages, proofOf } from './messages'
import { type Message, type Purpose, sendEmail, type UserRow } from './schema'
import type { userMessageStore, UserStore } from './store'

export type UserMail = ReturnType<typeof userMail>
export type SendAttempt = Pick<TaskContext, 'id' | 'attempt'>

/** From one message to the next of the same purpose; the last stays. Whoever has them sent fills no mailbox, and voids few codes. */
const pausesMs = [60_000, 300_000, 900_000, 3_600_000]
/** After so long without one they begin anew. */
const forgottenAfterMs = dayMs

type Needed = 'db' | 'clock' | 'queue' | 'mailer' | 'cipher' | 'settings'

/** Messages to users: whether one may go by now, and sending it. */
export function userMail({
  db,
  clock,
  queue,
  mailer,
  cipher,
  settings,
  users,
  sent,
  codes,
}: Pick<Ports, Needed> & { users: (db: Database) => UserStore; sent: typeof userMessageStore; codes: Pick<UserCodeBiz, 'mint'> }) {
  const primary = { from: 'primary' } as const

  /**
   * Counts a message as sent, if it may be. In the transaction in which it is enqueued, so that none is counted that does not go.
   * @returns 0, or how long it is too early for, in milliseconds
   */
  async function count(tx: Database, userId: string, purpose: Purpose): Promise<number> {
    const nowMs = clock.nowMs()
    const kept = await sent(tx).find({ userId, purpose }, primary)
    const sinceMs = kept ? nowMs - Date.parse(kept.lastAt) : forgottenAfterMs
    const before = kept && sinceMs < forgottenAfterMs ? kept.times : 0
    const pauseMs = before === 0 ? 0 : pauseAfter(before)
    // A clock that was set back makes nobody wait longer than the pause.
    if (sinceMs < pauseMs) return Math.min(pauseMs, pauseMs - sinceMs)
    const now = { times: Math.min(before + 1, pausesMs.length), lastAt: toTimestamp(nowMs) }
    try {
      if (kept) await sent(tx).update(kept.id, now, { versions: [kept.version] })
      else await sent(tx).create({ userId, purpose, ...now })
      return 0
    } catch (thrown) {
      // Another one goes at this moment.
      if (!(thrown instanceof AppError)) throw thrown
      return pauseAfter(before + 1)
    }
  }

  /** @returns whether it goes: not so soon after the one before */
  async function ask(tx: Database, userId: string, purpose: Purpose): Promise<boolean> {
    if ((await count(tx, userId, purpose)) > 0) return false
    await queue.enqueue(sendEmail, { userId, purpose }, { tx })
    return true
  }

  /** Says what has happened. To an address that nobody has verified, which may be a stranger's, it does so only so often. */
  async function notify(tx: Database, { id, isVerified }: { id: string; isVerified: boolean }, purpose: Purpose): Promise<void> {
    if (isVerified) await queue.enqueue(sendEmail, { userId: id, purpose }, { tx })
    else await ask(tx, id, purpose)
  }

  /** To an address that is not the user's any more. */
  async function notifyAt(tx: Database, email: string, userId: string, purpose: Purpose): Promise<void> {
    await queue.enqueue(sendEmail, { userId, purpose, sealedTo: cipher.close(email, sealOf(userId)) }, { tx })
  }

  /** Sends a user a message; one who is gone meanwhile gets only what is for an address that was theirs. */
  async function send({ userId, purpose, sealedTo }: Message, task: SendAttempt): Promise<TaskResult | undefined> {
    const row = await users(db).get(userId, primary)
    if (!row && sealedTo === undefined) return undefined
    const to = sealedTo === undefined ? row?.email : cipher.open(sealedTo, sealOf(userId))
    if (to === undefined) return giveUp('the address was encrypted with another auth.key')
    const of = codeOf[purpose]
    // The one of an attempt that may have been sent is void with it, so its message must not stand for this one.
    const key = of ? `${task.id}/${task.attempt}` : task.id
    const proof = row ? await proofFor(row, purpose) : none
    try {
      await mailer.send({ to, ...messages[purpose]({ username: row?.username ?? '', ...proof }), key })
      return undefined
    } catch (thrown) {
      // The server will not take it tomorrow either, and what is no message will be none.
      const isFinal = thrown instanceof AppError && thrown.kind !== 'Unavailable'
      if (isFinal) return giveUp(thrown.message)
      throw thrown
    }
  }

  async function proofFor({ id, email }: UserRow, purpose: Purpose): Promise<typeof none> {
    const of = codeOf[purpose]
    if (!of) return none
    const { code, expiresAt } = await codes.mint({ userId: id, purpose: of, email })
    const minutes = Math.round((Date.parse(expiresAt) - clock.nowMs()) / 60_000)
    return { proof: proofOf(code, of, settings.http.publicUrl), minutes }
  }

  /** Of a user who is no more. */
  async function forgetAll(tx: Database, userId: string): Promise<void> {
    await sent(tx).deleteMany({ userId })
  }

  return { count, ask, notify, notifyAt, send, forgetAll }
}

/** What a message without a code has to prove. */
const none = { proof: '', minutes: 0 }

const pauseAfter = (times: number): number => pausesMs[Math.min(times, pausesMs.length) - 1] ?? 0

/** What an address is encrypted for, so that it can be sent to in the name of this user only. */
const sealOf = (userId: string) => `email.send ${userId}`
