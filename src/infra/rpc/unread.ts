import type { Http2Session } from 'node:http2'

/** What has come of messages that are not whole yet, which lies in memory until they are. */
export interface Unread {
  /** @returns false when it is too much of one connection, which then sends no more of this message */
  add(connection: Http2Session | undefined, bytes: number): boolean
  release(connection: Http2Session | undefined, bytes: number): void
  readonly bytes: number
}

/** @param limits of a process, beyond which the connection that holds the most is closed, and of each connection */
export function createUnread(limits: { maxBytes: number; connectionMaxBytes: number }): Unread {
  const held = new Map<Http2Session, number>()
  let all = 0

  function closeFullest(): void {
    let fullest: Http2Session | undefined
    for (const [connection, bytes] of held) if (bytes > (fullest ? (held.get(fullest) ?? 0) : 0)) fullest = connection
    fullest?.destroy()
  }

  return {
    get bytes() {
      return all
    },
    add(connection, bytes) {
      if (!connection) return false
      const sum = (held.get(connection) ?? 0) + bytes
      held.set(connection, sum)
      all += bytes
      if (all > limits.maxBytes) closeFullest()
      return sum <= limits.connectionMaxBytes
    },
    release(connection, bytes) {
      if (!connection || bytes === 0) return
      all -= bytes
      const left = (held.get(connection) ?? 0) - bytes
      if (left > 0) held.set(connection, left)
      else held.delete(connection)
    },
  }
}
