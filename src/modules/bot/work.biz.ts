import { backoffMs } from '@/core/backoff'
import { chatCodes, type ChatGone, type Incoming } from '@/core/chat'
import { AppError, type Kind, toAppError } from '@/core/error'
import type { Ports } from '@/core/ports'
import { snooze, type TaskContext, type TaskResult } from '@/core/queue/task'
import { type ChatUpdate, type ChatUpdateBiz, nameOf, type Said } from '@/modules/chat-update'
import type { News } from './news'
import type { Attempt, Run } from './run.biz'
import { answerMax, attemptsMax, lateMs, sendMaxMs, sendTimeoutMs } from './schema'
import { errorText, failed, perhapsDone, tooLate, unreachable } from './words'

export interface WorkTools extends Pick<Ports, 'clock' | 'log' | 'metrics' | 'chat'> {
  updates: Pick<ChatUpdateBiz, 'find' | 'first' | 'begin' | 'putOff' | 'answer' | 'claim' | 'end'>
  news: News
  run: Run
  left(chats: readonly ChatGone[]): Promise<void>
}

export type Which = Pick<Incoming, 'platform' | 'id' | 'chatId'>

/** After so long a task gives its place back: other chats have their turn. */
const sliceMs = 60_000
/** Somebody else is at it. */
const elsewhereMs = 1000
const againAfterMs = { min: 1000, max: 8000 }
const sendAgainAfterMs = { min: 500, max: 30_000 }
/** Not of the sender's making, and perhaps gone the next time. */
const passing: readonly Kind[] = ['Unavailable', 'Timeout', 'Internal', 'Aborted']

/**
 * Does what came in, chat by chat in its order: runs the command, keeps the answer, sends it. Each task sees to what it was enqueued for, and so to
 * all that comes before that in the chat; what fails puts the chat off, so that nothing overtakes it.
 */
export function workBiz({ clock, log, metrics, chat, updates, news, run, left }: WorkTools) {
  let made: ReturnType<typeof metersOf> | undefined
  const meters = () => {
    made ??= metersOf(metrics)
    return made
  }

  async function work(which: Which, context: Pick<TaskContext, 'signal' | 'log' | 'headers'>): Promise<TaskResult | undefined> {
    const endMs = clock.nowMs() + sliceMs
    for (;;) {
      context.signal.throwIfAborted()
      const own = await updates.find(which)
      if (!own?.isOpen) return undefined
      const nowMs = clock.nowMs()
      if (own.state === 'answered' && own.awaitedUntilMs > nowMs) return snooze(own.awaitedUntilMs - nowMs)
      const first = (await updates.first(which)) ?? own
      if (first.dueAtMs > nowMs) return snooze(first.dueAtMs - nowMs)
      if (nowMs >= endMs) return snooze(0)
      const attempt = { ...context, requestId: first.id === own.id ? (context.headers['x-request-id'] ?? idOf(own)) : idOf(first) }
      if (!(await handle(first, attempt))) return snooze(elsewhereMs)
    }
  }

  /** @returns whether it went on; else somebody else is at it */
  async function handle(update: ChatUpdate, attempt: Attempt): Promise<boolean> {
    const { said, platform } = update
    const nowMs = clock.nowMs()
    // Taken by whoever waited for it, in the moment in which it was looked for.
    if (!update.isOpen) return true
    if (said === undefined || (update.state === 'answered' && update.answer === undefined)) {
      log.error('what came in cannot be read: it was stored with another root key', { platform, id: update.updateId })
      return end(update, 'unreadable')
    }
    if (said.answerUntilMs !== undefined && said.answerUntilMs <= nowMs) return end(update, 'late')
    if (update.state === 'answered') return send(update, said, attempt)
    if (update.receivedAtMs + lateMs <= nowMs) return answer(update, isBegun(update) ? perhapsDone : tooLate)
    if (update.attempts >= attemptsMax) return answer(update, failed)
    const begun = await updates.begin(update)
    return begun !== undefined && runCommand(begun, said, attempt)
  }

  async function runCommand(update: ChatUpdate, said: Said, attempt: Attempt): Promise<boolean> {
    const { platform } = update
    const startedMs = performance.now()
    const fields = (command: string | undefined, outcome: string) => {
      const elapsedMs = performance.now() - startedMs
      meters()
        .duration.with({ platform, command: command ?? 'none', outcome })
        .observe(elapsedMs / 1000)
      return { requestId: attempt.requestId, platform, command, durationMs: Math.round(elapsedMs * 1000) / 1000 }
    }
    try {
      const { text, command, actor, code } = await run(update, said, attempt)
      log.info('command', { ...fields(command, code === 'ok' ? 'ok' : 'refused'), ...(actor !== undefined && { actor }), code })
      return await answer(update, text)
    } catch (thrown) {
      await giveBackWhenStopped(update, attempt.signal)
      const error = toAppError(thrown)
      const isPassing = passing.includes(error.kind)
      // What strangers call a command is in no log, and in no metric.
      const known = fields(run.nameOf(said), isPassing ? 'failed' : 'refused')
      if (!isPassing) {
        log.info('command', { ...known, code: error.code })
        return answer(update, errorText(error))
      }
      const isLast = update.attempts >= attemptsMax
      const level = error.kind === 'Internal' ? 'error' : 'warn'
      log[level]('command failed', { ...known, code: error.code, attempt: update.attempts, isLast, err: error.cause ?? error })
      if (isLast) return answer(update, error.kind === 'Internal' ? failed : unreachable)
      return updates.putOff(update, clock.nowMs() + waitMs(againAfterMs, update.attempts - 1))
    }
  }

  /** It was not its fault, so it counts as no attempt: whoever is started next does it. The time, which is past, says that it was begun. */
  async function giveBackWhenStopped(update: ChatUpdate, signal: AbortSignal): Promise<void> {
    if (!signal.aborted) return
    await updates.putOff(update, update.receivedAtMs, { attempts: update.attempts - 1 })
    throw signal.reason
  }

  async function answer(update: ChatUpdate, text: string): Promise<boolean> {
    const done = await updates.answer(update, text.slice(0, answerMax).toWellFormed() || '…')
    news.tell(nameOf({ platform: update.platform, id: update.updateId }))
    return done
  }

  async function send(update: ChatUpdate, said: Said, { signal }: Attempt): Promise<boolean> {
    const claimed = await updates.claim(update)
    if (!claimed) return false
    const { platform, chatId, answer: text = '' } = claimed
    try {
      const { replyTo } = said
      await chat.get(platform).answer({ chatId, replyTo }, text, { signal: AbortSignal.any([signal, AbortSignal.timeout(sendTimeoutMs)]) })
    } catch (thrown) {
      signal.throwIfAborted()
      return unsent(claimed, thrown)
    }
    return end(claimed, 'sent')
  }

  async function unsent(update: ChatUpdate, thrown: unknown): Promise<boolean> {
    const { platform, chatId } = update
    const code = thrown instanceof AppError ? thrown.code : 'Internal.Unexpected'
    const nowMs = clock.nowMs()
    if (code === chatCodes.gone) await left([{ platform, chatId }])
    if (hopeless.includes(code)) {
      log.info('an answer could not be sent', { platform, code })
      return end(update, code === chatCodes.gone ? 'gone' : 'refused')
    }
    if (nowMs - update.receivedAtMs >= sendMaxMs) {
      log.warn('an answer was not sent: it was tried for too long', { platform, code, sends: update.sends, err: thrown })
      return end(update, 'unsent')
    }
    const retryAfterSeconds = thrown instanceof AppError ? thrown.retryAfterSeconds : undefined
    const again = retryAfterSeconds === undefined ? waitMs(sendAgainAfterMs, update.sends - 1) : Math.ceil(retryAfterSeconds * 1000)
    const level = thrown instanceof AppError ? 'debug' : 'error'
    log[level]('an answer is sent later', { platform, code, sends: update.sends, delayMs: again, err: thrown })
    return updates.putOff(update, nowMs + again)
  }

  async function end(update: ChatUpdate, outcome: 'sent' | 'gone' | 'refused' | 'unsent' | 'late' | 'unreadable'): Promise<boolean> {
    const done = await updates.end(update, outcome === 'sent' ? 'sent' : 'dropped')
    if (done) meters().ended.with({ platform: update.platform, outcome }).add()
    news.tell(nameOf({ platform: update.platform, id: update.updateId }))
    return done
  }

  return work
}

const metersOf = (metrics: Ports['metrics']) => ({
  duration: metrics.histogram({
    name: 'bot_command_duration_seconds',
    help: 'Duration of commands, of each attempt.',
    labels: ['platform', 'command', 'outcome'],
    buckets: [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10],
  }),
  ended: metrics.counter({
    name: 'bot_updates_total',
    help: 'What came in from chat platforms, by how it ended.',
    labels: ['platform', 'outcome'],
  }),
})

const waitMs = (range: { min: number; max: number }, failures: number) => Math.ceil(backoffMs(range, failures))

/** By which its lines of the log are found, where nobody has said another. */
const idOf = ({ platform, updateId }: ChatUpdate) => `${platform}-${updateId.replaceAll(':', '.')}`.slice(0, 64)

/** What waits for the first time is due from the beginning. */
const isBegun = ({ attempts, dueAtMs }: ChatUpdate) => attempts > 0 || dueAtMs > 0

/** There is no use in trying again. */
const hopeless = [chatCodes.gone, chatCodes.refused, chatCodes.late] as readonly string[]
