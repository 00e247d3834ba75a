import { asCaller } from '@/core/caller'
import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import type { Topic } from './schema'
import type { TopicReader } from './snapshots'

/** The state of a topic, as it is sent. */
export interface TopicState {
  /** Another one whenever it is another state, in every process the same. */
  digest: string
  /** Undefined while it cannot be read. */
  data: unknown
}

/** Reads the topics for all who listen: each once in a while, while anybody does. */
export interface Poller {
  /** @param wake called when one of the topics has another state. @returns what ends it */
  listen(topics: readonly Topic[], wake: () => void): () => void
  /** Undefined until it was read for the first time. */
  state(topic: Topic): TopicState | undefined
}

/** What is not answered in that time is away. */
const readMaxMs = 5000

/** Of a topic that somebody listens to. */
interface Watched {
  wakes: Set<() => void>
  state: TopicState | undefined
  timer: Timer | undefined
}

/** @param everyMs so long after it was read a topic is read again, while anybody listens */
export function createPoller(readers: Readonly<Record<Topic, TopicReader>>, everyMs: Readonly<Record<Topic, number>>, log: Log): Poller {
  const watched = new Map<Topic, Watched>()

  async function look(topic: Topic, its: Watched): Promise<void> {
    const state = await withDeadline(readers[topic](), readMaxMs, () => new Error(`no answer within ${readMaxMs} ms`)).then(
      stateOf,
      err => {
        if (its.state?.digest !== away.digest) log.warn('what is told live cannot be read', { topic, err })
        return away
      },
    )
    // Whoever listened may have gone, and others come.
    if (watched.get(topic) !== its) return
    const isOther = state.digest !== its.state?.digest
    its.state = state
    if (isOther) for (const wake of its.wakes) wake()
    // Nobody's request: it goes on when the one that has begun it has ended.
    its.timer = setTimeout(() => void look(topic, its), everyMs[topic])
  }

  function watch(topic: Topic): Watched {
    const found = watched.get(topic)
    if (found) return found
    const its: Watched = { wakes: new Set(), state: undefined, timer: undefined }
    watched.set(topic, its)
    void asCaller({}, () => look(topic, its))
    return its
  }

  return {
    state: topic => watched.get(topic)?.state,
    listen(topics, wake) {
      for (const topic of topics) watch(topic).wakes.add(wake)
      return () => {
        for (const topic of topics) {
          const its = watched.get(topic)
          its?.wakes.delete(wake)
          if (its?.wakes.size !== 0) continue
          clearTimeout(its.timer)
          // What was true then is nothing to begin with for who comes later.
          watched.delete(topic)
        }
      }
    },
  }
}

const away: TopicState = { digest: 'away', data: undefined }

/** Over how long something was measured is another time with each look, also where nothing happens: that alone is not told. */
const isSaid = (key: string, value: unknown) => (key === 'overMs' ? undefined : value)

const stateOf = (data: unknown): TopicState => ({ digest: Bun.hash(JSON.stringify(data, isSaid)).toString(36), data })
