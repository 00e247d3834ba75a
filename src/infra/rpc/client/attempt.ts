import type { Channel, Metadata, StatusObject } from '@grpc/grpc-js'
import { codes } from '../grpc'

/**
 * One attempt of a call. It is made on the channel itself, without grpc-js's Client: that makes a stack trace, an emitter and two
 * interceptors for each call, which takes as long as all that is done around it here.
 */

export interface Attempt {
  readonly path: string
  readonly message: Buffer
  readonly metadata: Metadata
  readonly deadlineAtMs: number
  /** By then the server has said something, or it has failed. */
  readonly begunByMs: number
  readonly signal: AbortSignal | undefined
}

/** How it ended; `message` is there when `status.code` is OK. */
export interface Outcome {
  readonly status: StatusObject
  readonly message?: Buffer | undefined
}

export function attemptUnary(channel: Channel, attempt: Attempt): Promise<Outcome> {
  return new Promise(resolve => {
    let message: Buffer | undefined
    const call = begin(channel, attempt, {
      onMessage(received) {
        message = received
      },
      onStatus(status) {
        if (status.code !== codes.OK || message) resolve({ status, message })
        else resolve({ status: { ...status, code: codes.INTERNAL, details: 'an answer without a message' } })
      },
    })
    call.startRead()
  })
}

/** The messages of a stream, each when it is asked for. */
export interface Reading {
  /** Resolves with a message, or with how the stream has ended; not to be called again before that. */
  next(): Promise<Outcome | Buffer>
  cancel(): void
}

export function attemptStream(channel: Channel, attempt: Attempt): Reading {
  let ended: Outcome | undefined
  let asked: ((next: Outcome | Buffer) => void) | undefined
  const tell = (next: Outcome | Buffer) => {
    const resolve = asked
    asked = undefined
    resolve?.(next)
  }
  const call = begin(channel, attempt, {
    onMessage: tell,
    onStatus(status) {
      ended = { status }
      tell(ended)
    },
  })
  return {
    next() {
      if (ended) return Promise.resolve(ended)
      return new Promise(resolve => {
        asked = resolve
        call.startRead()
      })
    },
    cancel: () => {
      if (!ended) call.cancelWithStatus(codes.CANCELLED, 'nobody reads any further')
    },
  }
}

interface Listener {
  onMessage(message: Buffer): void
  onStatus(status: StatusObject): void
}

function begin(channel: Channel, { path, message, metadata, deadlineAtMs, begunByMs, signal }: Attempt, { onMessage, onStatus }: Listener) {
  const call = channel.createCall(path, deadlineAtMs, null, null, null)
  const cancel = () => call.cancelWithStatus(codes.CANCELLED, 'cancelled by the caller')
  // The library waits for ever for a server that has taken a connection and says nothing, and keepalive begins when it has.
  const late = () => call.cancelWithStatus(codes.DEADLINE_EXCEEDED, 'nobody has taken the call in time')
  const timer = deadlineAtMs > begunByMs ? setTimeout(late, Math.max(0, begunByMs - Date.now())) : undefined
  call.start(metadata, {
    onReceiveMetadata: () => clearTimeout(timer),
    onReceiveMessage: onMessage,
    onReceiveStatus(status) {
      clearTimeout(timer)
      signal?.removeEventListener('abort', cancel)
      onStatus(status)
    },
  })
  call.sendMessageWithContext({}, message)
  call.halfClose()
  if (signal?.aborted) cancel()
  else signal?.addEventListener('abort', cancel, { once: true })
  return call
}
