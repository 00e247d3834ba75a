import { commentText, eventText, type Frames, retryText } from '@/core/event-stream'
import type { Poller } from './poller'
import { type EndReason, type Topic, topics as allTopics } from './schema'

/** One stream of events: what its reader has got, and what is sent next. */
export interface Listener extends Frames {
  /** Says why, if it can be said still, and ends. */
  end(reason: EndReason): void
  /** For how long nobody has asked for more, since what was sent has not been read; 0 while somebody waits for more. */
  stalledMs(): number
}

export interface ListenerOptions {
  topics: readonly Topic[]
  poller: Poller
  /** What the reader has got already, by the last id that it was sent. */
  lastEventId: string | undefined
  /** When nothing was sent for so long, a comment is. */
  quietMaxMs: number
  /** Asked before anything is told. @returns why it must not be told any more */
  vouch(): Promise<EndReason | undefined>
  /** Called once, when it has ended. @param reason undefined when its reader has gone */
  ended(reason: EndReason | undefined): void
}

/** How long a reader waits before it comes again. */
const retryMs = 2000

export function createListener({ topics, poller, lastEventId, quietMaxMs, vouch, ended }: ListenerOptions): Listener {
  const sent = readId(lastEventId)
  let isBegun = false
  let isCaughtUp = false
  let end: { reason: EndReason | undefined; isSaid: boolean } | undefined
  let woken = Promise.withResolvers<void>()
  let handedAtMs: number | undefined
  const wake = () => woken.resolve()
  const leave = poller.listen(topics, wake)

  function finish(reason: EndReason | undefined): void {
    if (end) return
    end = { reason, isSaid: reason === undefined }
    leave()
    wake()
    ended(reason)
  }

  const changed = () => topics.filter(topic => !isSent(topic))
  function isSent(topic: Topic): boolean {
    const state = poller.state(topic)
    return state === undefined || sent.get(topic) === state.digest
  }

  /** The newest of each topic, whatever there was between. */
  function tell(): string {
    return changed()
      .map(topic => {
        const { digest = '', data } = poller.state(topic) ?? {}
        sent.set(topic, digest)
        const id = idOf(topics, sent)
        return data === undefined ? eventText({ event: 'unavailable', id, data: { topic } }) : eventText({ event: topic, id, data })
      })
      .join('')
  }

  /** @returns false when it has waited for long enough */
  async function wokenInTime(): Promise<boolean> {
    let timer: Timer | undefined
    const quiet = new Promise<false>(resolve => {
      timer = setTimeout(resolve, quietMaxMs, false)
    })
    const isWoken = await Promise.race([woken.promise.then(() => true), quiet])
    clearTimeout(timer)
    return isWoken
  }

  async function next(): Promise<string | undefined> {
    if (!isBegun && !end) {
      isBegun = true
      return retryText(retryMs)
    }
    for (;;) {
      if (end) {
        if (end.isSaid) return undefined
        end.isSaid = true
        return eventText({ event: 'end', data: { reason: end.reason } })
      }
      woken = Promise.withResolvers()
      if (changed().length > 0) {
        const reason = await vouch()
        if (reason) finish(reason)
        if (end) continue
        isCaughtUp = true
        return tell()
      }
      if (!isCaughtUp && topics.every(topic => poller.state(topic))) {
        isCaughtUp = true
        return commentText('nothing has changed')
      }
      if (!(await wokenInTime())) return commentText()
    }
  }

  return {
    async next() {
      handedAtMs = undefined
      const text = await next()
      handedAtMs = performance.now()
      return text
    },
    cancel: () => finish(undefined),
    end: finish,
    stalledMs: () => (handedAtMs === undefined ? 0 : performance.now() - handedAtMs),
  }
}

/** `processes=1x2y;queues=3z`: a digest of each topic, so that any process can tell what its reader has not got. */
const idOf = (topics: readonly Topic[], sent: ReadonlyMap<string, string>): string =>
  topics.flatMap(topic => (sent.has(topic) ? `${topic}=${sent.get(topic)}` : [])).join(';')

/** What nobody of us has written says nothing. */
function readId(id = ''): Map<string, string> {
  const parts = id.split(';').map(part => part.split('=', 2))
  return new Map(parts.flatMap(([topic = '', digest = '']) => (allTopics.some(each => each === topic) ? [[topic, digest]] : [])))
}
