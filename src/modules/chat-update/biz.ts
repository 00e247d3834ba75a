import type { Incoming } from '@/core/chat'
import type { Database } from '@/core/database'
import type { Ports } from '@/core/ports'
import { type ChatUpdateRow, keptMs } from './schema'
import type { chatUpdateStore } from './store'

export type ChatUpdateBiz = ReturnType<typeof chatUpdateBiz>

/** What has come in, as far as it is known. */
export interface ChatUpdate extends Omit<ChatUpdateRow, 'said' | 'answer'> {
  /** Undefined at the end, and when the root key is another by now. */
  readonly said: Said | undefined
  readonly answer: string | undefined
}
/** What nobody reads in the database. */
export type Said = Pick<Incoming, 'isPrivate' | 'senderName' | 'command' | 'input' | 'replyTo' | 'answerUntilMs'>
type Which = Pick<Incoming, 'platform' | 'id'>

const primary = { from: 'primary' } as const

/** What comes in from chat platforms, and how far it is: what is begun, answered, taken and sent, each by one alone. */
export function chatUpdateBiz({
  db,
  clock,
  cipher,
  updates,
}: Pick<Ports, 'db' | 'clock' | 'cipher'> & { updates: typeof chatUpdateStore }) {
  /** Which of these are known. */
  async function known(tx: Database, incoming: readonly Which[]): Promise<Set<string>> {
    const found = new Set<string>()
    for (const [platform, some] of Map.groupBy(incoming, each => each.platform)) {
      const { items } = await updates(tx).list({
        where: { platform, updateId: { in: some.map(({ id }) => id) } },
        pageSize: some.length,
        select: ['updateId'],
        ...primary,
      })
      for (const { updateId } of items) found.add(nameOf({ platform, id: updateId }))
    }
    return found
  }

  /** How many came from a sender since. */
  const countOf = (tx: Database, { platform, senderId }: Pick<Incoming, 'platform' | 'senderId'>, sinceMs: number) =>
    updates(tx).count({ platform, senderId, receivedAtMs: { gt: sinceMs } }, primary)

  /** How many of a chat wait. */
  const countOpen = (tx: Database, { platform, chatId }: Pick<Incoming, 'platform' | 'chatId'>) =>
    updates(tx).count({ platform, chatId, isOpen: true }, primary)

  /**
   * @param answer what is answered without anything being done
   * @throws UpdateTaken
   */
  async function keep(tx: Database, incoming: Incoming, { awaitedUntilMs, answer }: { awaitedUntilMs: number; answer?: string }) {
    const { platform, id: updateId, chatId, senderId, order: position } = incoming
    const { isPrivate, senderName, command, input, replyTo, answerUntilMs } = incoming
    const said: Said = { isPrivate, senderName, command, input, replyTo, answerUntilMs }
    await updates(tx).create({
      ...{ platform, updateId, chatId, senderId, position, awaitedUntilMs, isOpen: true, attempts: 0, sends: 0, dueAtMs: 0 },
      state: answer === undefined ? 'received' : 'answered',
      ...(answer !== undefined && { answer: cipher.close(answer, contextOf(incoming)) }),
      said: cipher.close(JSON.stringify(said), contextOf(incoming)),
      receivedAtMs: clock.nowMs(),
    })
  }

  /** Keeps that something was told of a chat, so that it is known; nothing is to be done for it. @throws UpdateTaken */
  async function note(tx: Database, { platform, id: updateId, chatId }: Which & Pick<Incoming, 'chatId'>): Promise<void> {
    await updates(tx).create({
      ...{ platform, updateId, chatId, senderId: '', position: 0, awaitedUntilMs: 0, isOpen: false, attempts: 0, sends: 0, dueAtMs: 0 },
      ...{ state: 'dropped', receivedAtMs: clock.nowMs() },
    })
  }

  const find = async ({ platform, id }: Which): Promise<ChatUpdate | undefined> =>
    opened(await updates(db).find({ platform, updateId: id }, primary))

  /** The one of a chat that comes next. */
  const first = async (chat: Pick<Incoming, 'platform' | 'chatId'>): Promise<ChatUpdate | undefined> =>
    opened(await updates(db).first(chat, clock.nowMs()))

  function opened(row: ChatUpdateRow | undefined): ChatUpdate | undefined {
    if (!row) return undefined
    const context = contextOf({ platform: row.platform, id: row.updateId })
    const open = (sealed: string | undefined) => (sealed === undefined ? undefined : cipher.open(sealed, context))
    const said = open(row.said)
    return { ...row, said: said === undefined ? undefined : (JSON.parse(said) as Said), answer: open(row.answer) }
  }

  /** @returns whether it was still as it was seen; else somebody else is at it */
  async function change({ id, version }: Seen, patch: Parameters<ReturnType<typeof updates>['updateMany']>[1]): Promise<boolean> {
    return (await updates(db).updateMany({ id, version }, patch)) === 1
  }

  /** Counts an attempt before it is made, so that one that ends the process counts, too. @returns it as it is then, unless somebody else is at it */
  async function begin(update: ChatUpdate): Promise<ChatUpdate | undefined> {
    const attempts = update.attempts + 1
    return (await change(update, { attempts })) ? { ...update, attempts, version: update.version + 1 } : undefined
  }

  /** Tries it again later. @param patch what the counts are then */
  const putOff = (update: Seen, dueAtMs: number, patch: Partial<Pick<ChatUpdateRow, 'attempts' | 'sends'>> = {}) =>
    change(update, { ...patch, dueAtMs })

  /** It is done, and this is the answer. Nothing is done again from now on. */
  const answer = (update: ChatUpdate, text: string) =>
    change(update, {
      ...{ state: 'answered', dueAtMs: 0 },
      answer: cipher.close(text, contextOf({ platform: update.platform, id: update.updateId })),
    })

  /** Whoever has handed it over answers it: nobody sends the answer any more. @returns the answer; undefined when it is not there, or not for them */
  async function take(update: ChatUpdate): Promise<string | undefined> {
    if (update.state !== 'answered' || update.awaitedUntilMs === 0 || update.answer === undefined) return undefined
    return (await end(update, 'sent')) ? update.answer : undefined
  }

  /** Whoever has handed it over does not wait: from then on it is sent. */
  const leave = (update: Seen, untilMs: number) => change(update, { awaitedUntilMs: untilMs })

  /** The answer is about to be sent: nobody takes it any more. @returns it as it is then, unless somebody else is at it */
  async function claim(update: ChatUpdate): Promise<ChatUpdate | undefined> {
    const sends = update.sends + 1
    return (await change(update, { sends, awaitedUntilMs: 0 }))
      ? { ...update, sends, awaitedUntilMs: 0, version: update.version + 1 }
      : undefined
  }

  const end = (update: Seen, state: 'sent' | 'dropped') => change(update, { state, isOpen: false, said: null, answer: null })

  /** Removes up to so many of which nobody needs to know any more, 1–1,000. @returns how many */
  async function removeOld(countMax: number): Promise<number> {
    const ids = await updates(db).before(clock.nowMs() - keptMs, countMax)
    return ids.length === 0 ? 0 : updates(db).deleteMany({ id: { in: ids } })
  }

  return { known, countOf, countOpen, keep, note, find, first, begin, putOff, answer, take, leave, claim, end, removeOld }
}

type Seen = Pick<ChatUpdate, 'id' | 'version'>

/** `telegram:123`: of all platforms one. */
export const nameOf = ({ platform, id }: Which): string => `${platform}:${id}`
const contextOf = (which: Which) => `chatUpdate:${nameOf(which)}`
