import type { ChatGone, ChatMoved, ChatReceiver, Incoming } from '@/core/chat'
import type { Database } from '@/core/database'
import { AppError } from '@/core/error'
import type { Ports } from '@/core/ports'
import { type ChatUpdateBiz, chatUpdateErrors, nameOf } from '@/modules/chat-update'
import type { News } from './news'
import { plain } from './plain'
import { answerLaterMs, awaitedMaxMs, perSenderMax, perSenderMs, waitingPerChatMax, workUpdate } from './schema'
import { tooMuch } from './words'

export interface ReceiveTools extends Pick<Ports, 'db' | 'clock' | 'log' | 'queue' | 'commands'> {
  updates: Pick<ChatUpdateBiz, 'known' | 'countOf' | 'countOpen' | 'keep' | 'note' | 'find' | 'take' | 'leave'>
  news: News
  /** What becomes of chats that do not want us. */
  left(chats: readonly ChatGone[], tx?: Database): Promise<void>
  moved(chats: readonly ChatMoved[], tx?: Database): Promise<void>
}

/** So many are stored in one transaction. */
const batchMax = 50
/** How often a batch is tried again when another process has stored some of it at the same moment. */
const raceAttemptsMax = 5
/** How often it is looked whether another process has the answer. */
const lookEveryMs = 200
const idPattern = /^[\w.:-]{1,64}$/
const inputMax = 4096
const optionsMax = 16_384
const replyToMax = 1024

/** Stores what comes in, with a task for each, and hands answers to platforms that wait for them. */
export function receiveBiz({ db, clock, log, queue, commands, updates, news, left, moved }: ReceiveTools): ChatReceiver {
  async function receive(incoming: readonly Incoming[]): Promise<void> {
    const fit = incoming.filter(each => {
      const is = isFit(each)
      if (!is) log.error('a platform has handed over what does not fit; it is dropped', { platform: each.platform })
      return is
    })
    // First of all, and whatever becomes of it: whoever reads along may send something that comes in next.
    for (const each of fit) if (!each.isPrivate) await tellOverheard(each)
    for (let i = 0; i < fit.length; i += batchMax) await store(fit.slice(i, i + batchMax))
  }

  async function tellOverheard({ command, input, platform, senderId }: Incoming): Promise<void> {
    const told = commands.all().find(({ name }) => name === command)
    const said = plain(input)
    await told?.overheard?.(typeof said === 'string' ? said : Object.values(said).join('\n'), { platform, id: senderId })
  }

  const store = (some: readonly Incoming[]): Promise<void> => inTx(tx => keepNew(tx, some))

  async function inTx(work: (tx: Database) => Promise<void>): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await db.tx(work)
      } catch (thrown) {
        const isRace = thrown instanceof AppError && thrown.code === chatUpdateErrors.UpdateTaken().code
        if (!isRace || attempt === raceAttemptsMax) throw thrown
      }
    }
  }

  /** Somebody may have come back since the first time that it was told. */
  async function once<T extends ChatGone | ChatMoved>(told: readonly T[], act: (some: readonly T[], tx: Database) => Promise<void>) {
    for (const each of told)
      await inTx(async tx => {
        const { platform, id } = each
        if (id !== undefined) {
          if ((await updates.known(tx, [{ platform, id }])).size > 0) return
          await updates.note(tx, { platform, id, chatId: 'chatId' in each ? each.chatId : each.from })
        }
        await act([each], tx)
      })
  }

  async function keepNew(tx: Database, some: readonly Incoming[]): Promise<void> {
    const known = await updates.known(tx, some)
    const nowMs = clock.nowMs()
    for (const incoming of some.toSorted((a, b) => a.order - b.order)) {
      const name = nameOf(incoming)
      if (known.has(name) || !isForUs(incoming)) continue
      known.add(name)
      const ofSender = await updates.countOf(tx, incoming, nowMs - perSenderMs)
      if (ofSender > perSenderMax || (await updates.countOpen(tx, incoming)) >= waitingPerChatMax) continue
      const awaitedUntilMs = incoming.isAwaited ? nowMs + awaitedMaxMs : 0
      await updates.keep(tx, incoming, { awaitedUntilMs, ...(ofSender === perSenderMax && { answer: tooMuch }) })
      const { platform, id, chatId } = incoming
      await queue.enqueue(workUpdate, { platform, id, chatId }, { tx, id: `update:${name}`, key: `${platform}:${chatId}` })
    }
  }

  /** In groups others are spoken to as well, and have commands of their own; where the platform waits, it has told us that it is ours. */
  const isForUs = ({ isPrivate, isAwaited, command }: Incoming) =>
    isPrivate || isAwaited === true || (command !== undefined && commands.all().some(({ name }) => name === command))

  async function answerOf(which: Pick<Incoming, 'platform' | 'id'>, timeoutMs: number): Promise<string | undefined> {
    const endMs = clock.nowMs() + timeoutMs
    const listening = news.listen(nameOf(which))
    try {
      for (;;) {
        const update = await updates.find(which)
        // It was too much to be kept.
        if (!update) return tooMuch
        const taken = await updates.take(update)
        if (taken !== undefined) return taken
        if (!update.isOpen || update.awaitedUntilMs === 0) return undefined
        const nowMs = clock.nowMs()
        if (nowMs < endMs) await listening.heard(Math.min(lookEveryMs, endMs - nowMs))
        // Whatever has changed meanwhile may be the answer.
        else if (await updates.leave(update, nowMs + answerLaterMs)) return undefined
      }
    } finally {
      listening.stop()
    }
  }

  return { receive, answerOf, left: chats => once(chats, left), moved: chats => once(chats, moved) }
}

function isFit({ id, chatId, senderId, order, input, replyTo }: Incoming): boolean {
  const areIds = [id, chatId, senderId].every(each => idPattern.test(each))
  const isInput = typeof input === 'string' ? input.length <= inputMax : JSON.stringify(input).length <= optionsMax
  return areIds && isInput && Number.isSafeInteger(order) && replyTo.length <= replyToMax
}
