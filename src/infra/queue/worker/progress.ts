import type { Log } from '@/core/log'
import { type Progress, TaskAborted } from '@/core/queue/task'
import { type Held, isPassing, progressMaxBytes, type QueueDriver, reportMax } from '../driver'
import { faultOfJson, readJson } from '../json'
import { untilAnswered } from './ask'
import type { Run } from './run'

/**
 * How far the attempts of one queue are, as their handlers say it. What they say is kept here, and the last of each second goes to the queue,
 * of all of them in one call. What an attempt said last goes before the word of its end, so the next attempt finds it; only a process that
 * dies takes what was said within the last second with it, and not what `save` has resolved for.
 */
export interface Reports {
  /** @throws RangeError when it is too large, or cannot be said in JSON */
  note(run: Run, progress: Progress): void
  /** @throws TaskAborted when the attempt is to end, or its task is somebody else's by now */
  save(run: Run): Promise<void>
  /** @throws TaskAborted */
  last(run: Run): Promise<Progress | undefined>
  /** @param isKept whether there is still something of the task, for which it is to be kept. @returns what the word of its end has to wait for, if anything */
  ended(run: Run, isKept: boolean): Promise<unknown> | undefined
  close(): void
}

export interface ReportOptions {
  driver: Pick<QueueDriver, 'report' | 'peek'>
  queue: string
  log: Log
  random: () => number
  /** How long what was said may wait. */
  everyMs: number
  /** The queue says that these are not ours any more. */
  lost(held: readonly Held[]): void
}

interface Saying {
  run: Run
  settle(isOwn: boolean): void
  reject(thrown: unknown): void
}

export function createReports({ driver, queue, log, random, everyMs, lost }: ReportOptions): Reports {
  /** Those that have said something that was not sent. */
  const noted = new Set<Run>()
  /** Of those that say something, the last that has no answer yet. */
  const unanswered = new Map<Run, Promise<void>>()
  /** What goes with the next call. */
  const due: Saying[] = []
  let isSending = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let isAway = false
  let isClosed = false

  function note(run: Run): void {
    // How far one was that has ended is of no use to anybody, and when the queue is away it would be said for ever.
    if (run.isOver || isClosed) return
    noted.add(run)
    timer ??= setTimeout(flush, everyMs)
  }

  function flush(): void {
    timer = undefined
    const some = [...noted]
    noted.clear()
    // While the queue is away it is said later, unless it is of no use any more.
    for (const run of some) say(run).catch(() => run.abortedFor ?? note(run))
  }

  /** Its newest, with whatever else is said now. */
  function say(run: Run): Promise<boolean> {
    const said = new Promise<boolean>((settle, reject) => {
      due.push({ run, settle, reject })
      if (!isSending) queueMicrotask(sendAll)
    })
    const forget = () => {
      if (unanswered.get(run) === answered) unanswered.delete(run)
    }
    const answered: Promise<void> = said.then(forget, forget)
    unanswered.set(run, answered)
    return said
  }

  /** One call at a time, since what was said first must not be written last. */
  async function sendAll(): Promise<void> {
    if (isSending) return
    isSending = true
    while (due.length > 0) await send(due.splice(0, reportMax))
    isSending = false
  }

  async function send(some: readonly Saying[]): Promise<void> {
    const said = some.map(({ run: { id, attempt, nonce, progress = '' } }) => ({ id, attempt, nonce, progress }))
    try {
      const own = await driver.report(queue, said)
      if (isAway) log.info('the queue is told again how far attempts are', { queue })
      isAway = false
      lost(said.filter((_, i) => !own[i]))
      for (const [i, { settle }] of some.entries()) settle(own[i] === true)
    } catch (thrown) {
      if (!isPassing(thrown)) log.error('the queue refuses to be told how far attempts are', { queue, err: thrown })
      else if (!isAway) log.warn('the queue cannot be told how far attempts are; it is told later', { queue, err: thrown })
      isAway ||= isPassing(thrown)
      for (const { reject } of some) reject(thrown)
    }
  }

  return {
    note(run, progress) {
      run.progress = textOf(progress)
      if (!run.isStuck) note(run)
    },
    async save(run) {
      if (run.progress === undefined) return
      noted.delete(run)
      try {
        const isOwn = await untilAnswered(run, random, () => say(run))
        if (!isOwn) throw new TaskAborted(run.abortedFor ?? 'leaseLost')
      } catch (thrown) {
        // A handler that has ended did not wait for it, and nobody is there to catch it.
        if (!run.isOver) throw thrown
      }
    },
    async last(run) {
      // Nobody has been before it.
      if (run.attempt === 1) return undefined
      const [found] = await untilAnswered(run, random, () => driver.peek(queue, [run.id]))
      return found?.progress === undefined ? undefined : (readJson(found.progress) as Progress)
    },
    ended(run, isKept) {
      const isNoted = noted.size > 0 && noted.delete(run)
      if (!isKept) return undefined
      return isNoted ? say(run).catch(() => {}) : unanswered.get(run)
    },
    close() {
      isClosed = true
      clearTimeout(timer)
      noted.clear()
    },
  }
}

function textOf(progress: Progress): string {
  const fault = faultOfJson(progress)
  if (fault) throw new RangeError(`the progress cannot be kept: ${fault.pointer} ${fault.detail}`)
  const text = JSON.stringify(progress)
  const bytes = Buffer.byteLength(text)
  if (bytes > progressMaxBytes)
    throw new RangeError(`the progress is ${bytes} bytes of JSON, and may be ${progressMaxBytes}: keep what is large elsewhere and name it`)
  return text
}
