import type { ServerHttp2Stream } from 'node:http2'
import type * as grpc from '@grpc/grpc-js'
import { createWaits } from '../waits'
import { arrive, type CallTools, type ServerCall } from './call'
import type { ServedMethod } from './served'

/**
 * Where calls come in: at their head. The library runs methods once their message is whole, and until then waits without an end and without
 * a limit; so whoever calls is recognized, counted and timed before the first byte of the message is read.
 */
export interface Gate {
  interceptor: grpc.ServerInterceptor
  handlerOf(method: ServedMethod): grpc.UntypedHandleCall
  /** Of each stream of HTTP/2, after the library has looked at it: those that are answered by then have nothing more to say. */
  dismiss(stream: ServerHttp2Stream): void
}

type IncomingCall = Parameters<grpc.ServerInterceptor>[1]
type Listener = Parameters<IncomingCall['start']>[0]
type Answer = ReturnType<typeof arrive>['answer']

export function createGate(methods: ReadonlyMap<string, ServedMethod>, tools: CallTools): Gate {
  /** The library makes a call of its own of what has come in. What both know is what came in the head. */
  const answers = new WeakMap<grpc.Metadata, Answer>()
  const partings = createWaits(partingMs)

  /** Nothing that it still sends is taken, and so it is given a moment to say that it is done, and is then cut off. */
  function part(stream: ServerHttp2Stream): void {
    if (stream.closed || stream.destroyed) return
    stream.resume()
    const parting = partings.begin(() => stream.close(0))
    stream.once('close', () => partings.end(parting))
  }

  function started(method: ServedMethod, incoming: IncomingCall, stream: ServerHttp2Stream, next: Listener): Listener {
    let arrival: ReturnType<typeof arrive> | undefined
    let isDone = false
    const isStreamed = method.run.kind === 'bidi'
    return {
      onReceiveMetadata(metadata) {
        const made = arrive(method, tools, incoming, metadata, stream.session, () => next.onReceiveMetadata(metadata))
        arrival = made
        answers.set(metadata, made.answer)
        stream.on('data', (chunk: Buffer) => made.received(chunk.length))
        made.begin()
      },
      onReceiveMessage(message: Buffer) {
        // What came of it is not kept; one that was compressed takes more than that.
        arrival?.read()
        if (!isStreamed) arrival?.received(message.length)
        next.onReceiveMessage(message)
      },
      onReceiveHalfClose() {
        isDone = true
        arrival?.read()
        next.onReceiveHalfClose()
      },
      onCancel() {
        arrival?.cancelled()
        if (!isDone) part(stream)
        next.onCancel()
      },
    }
  }

  return {
    interceptor({ path }, call) {
      const method = methods.get(path)
      if (!method) return call as grpc.ServerInterceptingCall
      // Its own, rather than one around it, through which everything that is said would go.
      const { stream } = call as unknown as { stream: ServerHttp2Stream }
      const start = call.start.bind(call)
      call.start = listener => start(started(method, call, stream, listener))
      return call as grpc.ServerInterceptingCall
    },
    handlerOf: () =>
      ((call: ServerCall, respond?: grpc.sendUnaryData<Buffer>) =>
        answers.get(call.metadata)?.(call, respond)) as unknown as grpc.UntypedHandleCall,
    dismiss(stream) {
      if (stream.headersSent) part(stream)
    },
  }
}

/** Longer than what a caller has sent at once is on its way. */
const partingMs = 250
