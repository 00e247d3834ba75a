import type { Http2Session } from 'node:http2'
import type { Readable } from 'node:stream'
import type * as grpc from '@grpc/grpc-js'
import type { Asking } from '@/core/asking'
import { asCaller, type Caller } from '@/core/caller'
import { type AppError, toAppError } from '@/core/error'
import { networkOf } from '@/core/address'
import { actorOf, anonymous, type Identity, type ServiceIdentity } from '@/core/identity'
import type { RpcCall } from '@/core/rpc'
import { traceOf } from '../http/request'
import type { Wait, Waits } from '../waits'
import type { Admission, ArrivedCall, Params } from './admission'
import type { Grpc } from './grpc'
import { readMessage, writeMessage } from './message'
import type { EndedCall } from './record'
import type { ServedMethod } from './served'
import { callErrors, detailsKey, statusOf } from './status'
import { each, pour } from './stream'
import type { Places } from './places'
import type { Unread } from './unread'

/** A call of one method, from its head to its status: each is counted, timed, logged and answered once. */

export interface CallTools {
  grpc: Grpc
  admission: Admission
  record(call: EndedCall): void
  /** When calls are answered without what they wait for; streams of answers wait no more once their message is there. */
  waits: Waits
  unread: Unread
  /** Calls of those whom nobody knows, by address. */
  strangers: Places
  /** Streams of gRPC itself, by address. */
  builtInStreams: Places
  timeoutMs: number
  requestId(given: string | null): string
  /** Who is behind a connection. */
  addressOf(peer: string, metadata: grpc.Metadata): string
  ofCertificate(call: IncomingCall): ServiceIdentity | undefined
  /** Throws where no call is taken any more. */
  began(call: LiveCall): void
  /** Of the stream of a caller who may have it. Throws where there is none any more. */
  opened(call: LiveCall): void
  ended(call: LiveCall): void
}

export type ServerCall = grpc.ServerWritableStream<Buffer, Buffer>
type Respond = grpc.sendUnaryData<Buffer>

/** A call while it is under way. */
export interface LiveCall {
  readonly method: ServedMethod
  readonly isStream: boolean
  /** Its message is there. */
  readonly isWhole: boolean
  /** Ends a stream whose caller may not listen to it any more. @returns when it has been looked */
  look(): Promise<void>
  end(error: AppError): void
}

/** As it is known by its head. */
export type IncomingCall = Parameters<grpc.ServerInterceptor>[1]

/** A call whose message may still be on its way. */
export interface Arrival {
  /** Finds out who calls, and whether they may, before their message is read. */
  begin(): void
  /** Bytes of a message that is not whole. */
  received(bytes: number): void
  /** The message is whole. */
  read(): void
  /** Nobody waits any more; also when it is over as it should be. */
  cancelled(): void
  /** What grpc-js calls with the message, or, where callers stream, before. */
  answer(call: ServerCall, respond?: Respond): void
}

/** @param proceed called when its message may be read */
export function arrive(
  method: ServedMethod,
  tools: CallTools,
  incoming: IncomingCall,
  metadata: grpc.Metadata,
  connection: Http2Session | undefined,
  proceed: () => void,
): Arrival {
  const startedMs = performance.now()
  const requestId = tools.requestId(textOf(metadata, 'x-request-id'))
  const arrived = arrivedCall(method, tools, incoming, metadata, requestId)
  const { asking } = arrived
  const isStream = method.run.kind !== 'unary'
  const handed = Promise.withResolvers<void>()
  /** What grpc-js has made of it, once it has its message. */
  let call: ServerCall | undefined
  let respond: Respond | undefined
  let params: Params = {}
  let wait: Wait | undefined
  let abort: AbortController | undefined
  let isOver = false
  /** It cannot be answered any more. */
  let isGone = false
  let unreadBytes = 0
  let leave: (() => void) | undefined
  /** What a stream waits for, when it is over. */
  let giveUp = () => {}

  const live: LiveCall = {
    method,
    isStream,
    get isWhole() {
      return call !== undefined
    },
    async look() {
      const refusal = await tools.admission.refusalNow(arrived, params)
      if (refusal) finish(refusal)
    },
    end: finish,
  }

  function finish(error?: AppError, answer?: Buffer): void {
    if (isOver) return
    isOver = true
    if (wait) tools.waits.end(wait)
    read()
    leave?.()
    tools.ended(live)
    const status = error && statusOf(error)
    tools.record({
      ...{ method: method.name, isProbe: method.isProbe, startedMs, requestId, asking, isDenied: arrived.isDenied, error },
      status: tools.grpc.status[status?.code ?? 0] ?? 'UNKNOWN',
    })
    if (error) abort?.abort(error)
    giveUp()
    if (isGone) return
    if (status) {
      const trailers = headers()
      trailers.set(detailsKey, Buffer.from(status.bin))
      const failure = Object.assign(new Error(status.details), { code: status.code, details: status.details, metadata: trailers })
      if (respond) respond(failure)
      else if (call) call.emit('error', failure)
      else incoming.sendStatus({ code: status.code, details: status.details, metadata: trailers })
      return
    }
    if (!respond) {
      call?.end()
      return
    }
    incoming.sendMetadata(headers())
    respond(null, answer)
  }

  function read(): void {
    tools.unread.release(connection, unreadBytes)
    unreadBytes = 0
  }

  /** Whoever nobody knows has no more than their share. */
  function takePlace(): void {
    if (method.isBuiltIn && isStream) {
      leave = tools.builtInStreams.take(networkOf(asking.address))
      if (!leave) throw callErrors.Streams({ retryAfterSeconds: 5 })
    } else if (asking.identity.kind === 'anonymous') {
      leave = tools.strangers.take(networkOf(asking.address))
      if (!leave) throw callErrors.Calls({ retryAfterSeconds: 1 })
    }
  }

  function headers(): grpc.Metadata {
    const all = new tools.grpc.Metadata()
    all.set('x-request-id', requestId)
    for (const [name, value] of Object.entries(arrived.limitHeaders)) all.set(name, String(value))
    return all
  }

  async function work(caller: Caller): Promise<void> {
    const { admission } = tools
    const admitting = admission.admit(arrived)
    if (admitting) await admitting
    const actor = actorOf(asking.identity)
    if (actor !== undefined) caller.actor = actor
    admission.refuseStranger(arrived)
    if (isOver) return
    takePlace()
    proceed()
    await handed.promise
    if (isOver || !call) return
    const { run, input } = method
    if (run.kind === 'bidi') return listen(call, run.answers(each(input, call as unknown as Readable), rpcCall))
    if (run.kind === 'serverStream' && wait) tools.waits.end(wait)
    const message = readMessage(input, call.request)
    params = method.params(message)
    await admission.permit(arrived, params)
    if (isOver) return
    if (run.kind === 'unary') return finish(undefined, writeMessage(method.output, await run.answer(message, rpcCall)))
    tools.opened(live)
    return listen(call, run.answers(message, rpcCall))
  }

  /** The headers tell whoever waits for the first message that it may wait. */
  async function listen(call: ServerCall, answers: AsyncIterable<object>): Promise<void> {
    incoming.sendMetadata(headers())
    const isEnd = await pour(answers, method.output, call, {
      isOver: () => isOver,
      onGiveUp(resolve) {
        giveUp = resolve
        if (isOver) resolve()
      },
    })
    if (isEnd) finish()
  }

  const rpcCall: RpcCall = {
    asking,
    get signal() {
      abort ??= new AbortController()
      if (isOver) abort.abort(callErrors.Cancelled())
      return abort.signal
    },
  }

  function begin(): void {
    wait = tools.waits.begin(() => finish(callErrors.Deadline()))
    const caller: Caller = { requestId }
    const deadlineAtMs = Math.min(deadlineMs, isStream ? Number.POSITIVE_INFINITY : Date.now() + tools.timeoutMs)
    if (Number.isFinite(deadlineAtMs)) caller.deadlineAtMs = deadlineAtMs
    const traceparent = traceOf(textOf(metadata, 'traceparent'))
    if (traceparent !== undefined) caller.traceparent = traceparent
    asCaller(caller, async () => {
      try {
        tools.began(live)
        await work(caller)
      } catch (thrown) {
        finish(toAppError(thrown))
      }
    })
  }

  const deadlineMs = Number(incoming.getDeadline())
  return {
    begin,
    received(bytes) {
      if (isOver || (call && method.run.kind !== 'bidi')) return
      unreadBytes += bytes
      if (!tools.unread.add(connection, bytes)) finish(callErrors.Unread({ retryAfterSeconds: 1 }))
      else if (method.isBuiltIn && unreadBytes > builtInMessageMaxBytes) finish(callErrors.QuestionSize())
    },
    read,
    cancelled() {
      isGone = true
      // It is also told of calls that are over as they should be, for which an error, with its stack, would be made in vain.
      if (!isOver) finish(Date.now() + deadlineSlackMs >= deadlineMs ? callErrors.Deadline() : callErrors.Cancelled())
    },
    answer(made, toRespond) {
      call = made
      respond = toRespond
      handed.resolve()
    },
  }
}

/** What is asked of health and of reflection is a name, and anybody may ask. */
const builtInMessageMaxBytes = 16 * 1024
/** Callers count from when they called, and so cancel by their deadline a little before it is over here. */
const deadlineSlackMs = 50

function arrivedCall(
  method: ServedMethod,
  tools: CallTools,
  incoming: IncomingCall,
  metadata: grpc.Metadata,
  requestId: string,
): ArrivedCall {
  const asking: Asking & { identity: Identity } = {
    identity: anonymous,
    requestId,
    get address() {
      const address = tools.addressOf(incoming.getPeer(), metadata)
      Object.defineProperty(asking, 'address', { value: address })
      return address
    },
  }
  return {
    method,
    metadata,
    asking,
    ofCertificate: () => tools.ofCertificate(incoming),
    credential: undefined,
    isCredentialRefused: false,
    isDenied: false,
    limitHeaders: {},
  }
}

/** One that is said twice says nothing. */
function textOf(metadata: grpc.Metadata, key: string): string | null {
  const [value, ...more] = metadata.get(key)
  return typeof value === 'string' && more.length === 0 ? value : null
}
