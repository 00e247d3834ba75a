import { admin, decide } from '@/core/access'
import { withDeadline } from '@/core/deadline'
import type { AppError } from '@/core/error'
import type { Frames } from '@/core/event-stream'
import { actorOf, type AdminIdentity, type Identity } from '@/core/identity'
import type { Ports } from '@/core/ports'
import { createListener, type Listener } from './listener'
import { createPoller } from './poller'
import { endReasons, type EndReason, eventStreamErrors, type Topic, topicPermissions, topics as allTopics } from './schema'
import { topicReaders } from './snapshots'

export type EventStreamBiz = ReturnType<typeof eventStreamBiz>

export interface EventStreamLimits {
  /** Of this process. Each costs a connection, and what its reader has not read yet. */
  streamsMax: number
  /** Of one administrator. */
  streamsOfOneMax: number
  /** So often it is looked whether those who listen still may, and whether they read. */
  lookEveryMs: number
  /** Whether they may is told sooner than that, or cannot be told. */
  vouchMaxMs: number
  /** Who has not read what was sent for so long is dropped: the connection holds as much as it can by then. */
  stalledMaxMs: number
  /** So often something is sent, so that nothing between the two takes the connection for dead. Less than servers and proxies wait. */
  quietMaxMs: number
  /** So long after a topic was read it is read again, while anybody listens. */
  readEveryMs: Readonly<Record<Topic, number>>
}

const defaults: EventStreamLimits = {
  ...{ streamsMax: 200, streamsOfOneMax: 20 },
  ...{ lookEveryMs: 500, vouchMaxMs: 1000, stalledMaxMs: 10_000, quietMaxMs: 15_000 },
  readEveryMs: { queues: 1000, schedules: 2000, processes: 2000 },
}

export interface Opening {
  who: AdminIdentity
  /** As in the query: names with commas between them. All that the caller may see when absent. */
  topics: string | undefined
  lastEventId: string | undefined
  /** @throws PermissionDenied when the caller has not got this permission */
  demand(permission: string): void
  /** Who calls by now. @throws when it cannot be told */
  again(): Promise<Identity>
  /** Ends the connection, whatever is still to be sent. */
  cut(): void
}

interface Stream {
  listener: Listener
  vouch(): Promise<EndReason | undefined>
  cut(): void
  isLooking: boolean
}

/** Tells administrators what changes, for as long as they listen and may. */
export function eventStreamBiz(
  ports: Pick<Ports, 'queueAdmin' | 'schedules' | 'processes' | 'stopping' | 'log' | 'metrics'>,
  limits: Partial<EventStreamLimits> = {},
) {
  const { streamsMax, streamsOfOneMax, lookEveryMs, vouchMaxMs, stalledMaxMs, quietMaxMs, readEveryMs } = { ...defaults, ...limits }
  const { stopping, log, metrics } = ports
  const poller = createPoller(topicReaders(ports), readEveryMs, log)
  const streams = new Map<Stream, AdminIdentity['id']>()
  let timer: Timer | undefined
  let counts: ReturnType<typeof countersOf> | undefined

  /** @throws UnknownTopic, PermissionDenied, StreamsFull, TooManyStreams, Stopping */
  function open({ who, topics: asked, lastEventId, demand, again, cut }: Opening): Frames {
    const topics = asked === undefined ? allTopics.filter(topic => !refusal(who, topic)) : named(asked)
    for (const topic of topics) demand(topicPermissions[topic])
    if (stopping.aborted) throw eventStreamErrors.Stopping({ retryAfterSeconds: 1 })
    if (streams.size >= streamsMax) throw eventStreamErrors.StreamsFull({ retryAfterSeconds: 5 })
    const own = [...streams.values()].filter(id => id === who.id)
    if (own.length >= streamsOfOneMax) throw eventStreamErrors.TooManyStreams({ retryAfterSeconds: 5 })
    counts ??= begin()
    const openedMs = performance.now()
    const vouch = () => vouched(again, topics, vouchMaxMs)
    const ended = (reason: EndReason | undefined) => {
      streams.delete(stream)
      if (streams.size === 0) clearInterval(timer)
      counts?.[reason ?? 'gone'].add()
      log.info('a stream of events has ended', {
        ...{ reason: reason ?? 'gone', actor: actorOf(who), topics },
        durationMs: Math.round(performance.now() - openedMs),
      })
    }
    const listener = createListener({ topics, poller, lastEventId, quietMaxMs, vouch, ended })
    const stream: Stream = { listener, vouch, cut, isLooking: false }
    if (streams.size === 0) timer = setInterval(lookAtAll, lookEveryMs)
    streams.set(stream, who.id)
    return listener
  }

  /** Wiring a module touches no port, so that is done with the first stream. */
  function begin() {
    stopping.addEventListener('abort', endAll, { once: true })
    return countersOf(metrics, () => streams.size)
  }

  function lookAtAll(): void {
    for (const stream of streams.keys()) if (!stream.isLooking) void look(stream)
  }

  async function look(stream: Stream): Promise<void> {
    stream.isLooking = true
    const reason = stream.listener.stalledMs() > stalledMaxMs ? 'slow' : await stream.vouch()
    stream.isLooking = false
    if (!reason) return
    stream.listener.end(reason)
    // What was sent before may never go out; then its end would not either.
    if (stream.listener.stalledMs() > 0) stream.cut()
  }

  function endAll(): void {
    for (const { listener, cut } of [...streams.keys()]) {
      listener.end('stopping')
      if (listener.stalledMs() > 0) cut()
    }
  }

  return { open }
}

/** @throws UnknownTopic */
function named(text: string): Topic[] {
  const names = text.split(',')
  if (names.some(name => !allTopics.some(topic => topic === name)))
    throw eventStreamErrors.UnknownTopic({ problems: [{ pointer: 'topics', detail: `must be some of ${allTopics.join(', ')}` }] })
  return allTopics.filter(topic => names.includes(topic))
}

/** A rule for administrators asks nobody, so it is told at once. */
const refusal = (who: Identity, topic: Topic) => decide(who, [admin(topicPermissions[topic])], {}) as AppError | undefined

async function vouched(again: Opening['again'], topics: readonly Topic[], limitMs: number): Promise<EndReason | undefined> {
  try {
    const who = await withDeadline(again(), limitMs, () => new Error('no answer in time'))
    if (who.kind !== 'admin') return 'credential'
    return topics.some(topic => refusal(who, topic)) ? 'permission' : undefined
  } catch {
    // What cannot be told is not let be; whoever may still comes again.
    return 'unknown'
  }
}

function countersOf(metrics: Ports['metrics'], open: () => number) {
  metrics.gauge({ name: 'bingo_event_streams', help: 'Streams of events that are open.' }, open)
  const ended = metrics.counter({ name: 'bingo_event_streams_ended_total', help: 'Streams of events that have ended.', labels: ['reason'] })
  return Object.fromEntries(endReasons.map(reason => [reason, ended.with({ reason })])) as Record<
    (typeof endReasons)[number],
    { add(): void }
  >
}
