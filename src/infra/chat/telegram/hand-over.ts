import { backoffMs } from '@/core/backoff'
import type { ChatGone, ChatMoved, ChatReceiver, Incoming } from '@/core/chat'
import { AppError } from '@/core/error'
import type { Log } from '@/core/log'
import { pause } from '@/core/wait'
import { type Reading, told } from './updates'

/** Gives what Telegram tells to whoever receives it, in its order. @throws what the receiver throws */
export async function handOver(updates: readonly unknown[], reading: Reading, receiver: ChatReceiver): Promise<void> {
  let incoming: Incoming[] = []
  let gone: ChatGone[] = []
  let moved: ChatMoved[] = []
  const flush = async () => {
    if (incoming.length > 0) await receiver.receive(incoming)
    if (moved.length > 0) await receiver.moved(moved)
    if (gone.length > 0) await receiver.left(gone)
    incoming = []
    gone = []
    moved = []
  }
  for (const update of updates) {
    const each = told(update, reading)
    // Somebody who comes back after they had left has not left.
    if (each.incoming && gone.length + moved.length > 0) await flush()
    if (each.incoming) incoming.push(each.incoming)
    if (each.gone) gone.push(each.gone)
    if (each.moved) moved.push(each.moved)
  }
  await flush()
}

const backoff = { min: 200, max: 5000 }
/** So often everything is tried together, before what cannot be received is looked for. */
const triesMax = 5
const passing = ['Unavailable', 'Timeout', 'ResourceExhausted', 'Aborted']

/**
 * The same until all of it is received, or `signal` is aborted. What the receiver fails on again and again, while the database is there, is
 * left out: it would keep everybody else waiting.
 * @throws what `signal` was aborted with
 */
export async function handOverAll(
  updates: readonly { update_id: number }[],
  tools: { reading: Reading; receiver: ChatReceiver; log: Log },
  signal: AbortSignal,
): Promise<void> {
  const { reading, receiver, log } = tools
  if (updates.length === 0) return
  let tries = 0
  for (let failures = 0; ; failures++) {
    try {
      return await handOver(updates, reading, receiver)
    } catch (err) {
      if (failures === 0) log.warn('what Telegram tells cannot be stored, and is tried again', { platform: 'telegram', err })
      if (!(err instanceof AppError && passing.includes(err.kind))) tries++
      if (tries >= triesMax && updates.length === 1) {
        log.error('an update of Telegram cannot be stored, and is left out', { platform: 'telegram', update: updates[0]?.update_id, err })
        return
      }
      if (tries >= triesMax) break
      await pause(backoffMs(backoff, failures), signal)
      signal.throwIfAborted()
    }
  }
  for (const update of updates) await handOverAll([update], tools, signal)
}
