import type { Log } from '@/core/log'
import type { RedisConnection } from '../../redis'
import type { EndListener } from '../driver'
import { endsChannelOf } from './wire'

/** Listens for tasks that end, of whichever queues somebody waits in: on one connection, made for the first of them. */
export interface Ends {
  watch(queue: string, listener: EndListener): () => void
  close(): Promise<void>
}

export interface EndsOptions {
  connect(): RedisConnection
  prefix: string
  log: Log
}

const limitMs = 1000

export function createEnds({ connect, prefix, log }: EndsOptions): Ends {
  const listeners = new Map<string, Set<EndListener>>()
  /** Channels that the connection hears. Nobody leaves one: words that nobody waits for cost little, and whoever waits next may come soon. */
  const heard = new Set<string>()
  let connection: RedisConnection | undefined
  let isClosed = false

  function each(queue: string, say: (listener: EndListener) => void): void {
    for (const listener of [...(listeners.get(queue) ?? [])]) {
      try {
        say(listener)
      } catch (err) {
        log.error('a watcher of the queue failed', { queue, err })
      }
    }
  }

  async function subscribe(queue: string): Promise<void> {
    if (!connection || connection.runId === undefined || heard.has(queue)) return
    heard.add(queue)
    try {
      await connection.subscribe(limitMs, endsChannelOf(prefix, queue), id => each(queue, listener => listener.ended(id)))
      // What ended before nobody heard.
      each(queue, listener => listener.missed())
    } catch {
      // It subscribes again to all when it stands again.
      if (!isClosed) connection.reconnect()
    }
  }

  function begin(): void {
    connection = connect()
    connection.onChange(runId => {
      heard.clear()
      if (runId !== undefined) for (const queue of listeners.keys()) void subscribe(queue)
    })
  }

  return {
    watch(queue, listener) {
      const own = { ...listener }
      const all = listeners.get(queue) ?? new Set()
      listeners.set(queue, all.add(own))
      if (!connection && !isClosed) begin()
      void subscribe(queue)
      return () => {
        all.delete(own)
      }
    },
    async close() {
      isClosed = true
      listeners.clear()
      await connection?.drop()
    },
  }
}
