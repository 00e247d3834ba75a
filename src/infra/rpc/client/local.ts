import type { DescMessage } from '@bufbuild/protobuf'
import { decide } from '@/core/access'
import { asCaller } from '@/core/caller'
import { type AppError, toAppError } from '@/core/error'
import { actorOf, type ServiceIdentity } from '@/core/identity'
import type { LiveSettings } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { RpcCall, RpcService } from '@/core/rpc'
import { closedError } from '../closed'
import { bufferOf, codeName, codes } from '../grpc'
import { readMessage, writeMessage } from '../message'
import { callRecord } from '../record'
import { appErrorOf, callErrors, statusOf } from '../status'
import { type Answerer, answerMaxBytes, type Call } from './outgoing'

/** The services of this very process, called as they are over the network: with the same access, deadlines, messages and errors. */

export interface LocalTools {
  /** What this process is to others: its roles. */
  name: string
  log: Log
  metrics: Metrics
  messageMaxBytes: number
  /** Says whether the house is closed for maintenance. */
  liveSettings: Pick<LiveSettings, 'now'> | undefined
}

/** As a server says where somebody calls from who is in its own process. */
const address = '127.0.0.1'

export function createLocal(services: readonly RpcService[], { name, log, metrics, messageMaxBytes, liveSettings }: LocalTools): Answerer {
  const record = callRecord(log, metrics)
  const byName = new Map(services.map(service => [service.desc.typeName, service]))

  /** @throws AppError of a method that is not there, or not for such callers */
  async function admitted({ service, method, message }: Call, live: LiveCall) {
    const closed = closedError(liveSettings)
    if (closed) throw closed
    const found = byName.get(service)
    const desc = found?.desc.method[method]
    const run = found?.methods[method]
    if (!desc || !run) throw callErrors.Method()
    if (message.length > messageMaxBytes) throw callErrors.MessageSize()
    const input = readMessage(desc.input, bufferOf(message))
    const refusal = await decide(live.identity, run.access, run.params?.(input) ?? {})
    live.isDenied = refusal !== undefined
    if (refusal) throw refusal
    return { output: desc.output, run, input }
  }

  /** Does some of the work of a call, for as long as somebody waits for it. */
  async function during<T>(live: LiveCall, work: () => Promise<T>): Promise<T> {
    const { ended } = live
    const over = Promise.withResolvers<never>()
    const end = () => over.reject(ended.reason)
    try {
      if (ended.aborted) throw ended.reason
      ended.addEventListener('abort', end, { once: true })
      return await Promise.race([work(), over.promise])
    } catch (thrown) {
      live.error = toAppError(thrown)
      throw carried(live.error)
    } finally {
      ended.removeEventListener('abort', end)
    }
  }

  function begin(call: Call): LiveCall {
    const { ended, close } = endOf(call)
    const startedMs = performance.now()
    const identity: ServiceIdentity = { kind: 'service', id: name, scopes: new Set(call.scopes) }
    let isOver = false
    const live: LiveCall = {
      ...{ identity, ended, isDenied: false, error: undefined },
      close() {
        close()
        if (isOver) return
        isOver = true
        const { isDenied, error } = live
        const { requestId = '', path } = call
        const status = codeName(error ? statusOf(error).code : codes.OK)
        record({
          ...{ method: path.slice(1), isProbe: false, startedMs, requestId, asking: { identity, address, requestId } },
          ...{ isDenied, status, error },
        })
      },
    }
    return live
  }

  return {
    async unary(call) {
      const live = begin(call)
      try {
        return await during(live, async () => {
          const { output, run, input } = await admitted(call, live)
          return written(output, await asCaller(callerOf(call, live.identity), () => run.run(input, rpcCall(call, live))))
        })
      } finally {
        live.close()
      }
    },

    async *stream(call) {
      const live = begin(call)
      const caller = callerOf(call, live.identity)
      try {
        const { output, iterator } = await during(live, async () => {
          const { output, run, input } = await admitted(call, live)
          const answers = asCaller(caller, () => run.run(input, rpcCall(call, live))) as unknown as AsyncIterable<object>
          return { output, iterator: answers[Symbol.asyncIterator]() }
        })
        let isEnd = false
        try {
          for (;;) {
            const message = await during(live, async () => {
              const next = await asCaller(caller, () => iterator.next())
              return next.done ? undefined : written(output, next.value)
            })
            isEnd = message === undefined
            if (message === undefined) return
            yield message
          }
        } finally {
          if (!isEnd) live.error ??= callErrors.Cancelled()
          // It hears of the end by its signal, and may take its time to come to it.
          live.close()
          void asCaller(caller, async () => iterator.return?.()).catch(() => {})
        }
      } finally {
        live.close()
      }
    },
  }
}

/** A call while it is under way. */
interface LiveCall {
  readonly identity: ServiceIdentity
  /** Aborts with the error that it ends with then. */
  readonly ended: AbortSignal
  isDenied: boolean
  error: AppError | undefined
  /** Counts, times and logs it, once. */
  close(): void
}

/** As it would come over the network, which keeps its cause. */
function carried(error: AppError): AppError {
  const { code, details, bin } = statusOf(error)
  return appErrorOf({ code, details, metadata: { get: () => [bin] } })
}

/** @throws AnswerSize */
function written(output: DescMessage, answer: object): Buffer {
  const bytes = writeMessage(output, answer)
  if (bytes.length > answerMaxBytes) throw callErrors.AnswerSize()
  return bytes
}

const callerOf = ({ requestId, traceparent, deadlineAtMs }: Call, identity: ServiceIdentity) => {
  const actor = actorOf(identity)
  return {
    ...(actor !== undefined && { actor }),
    ...(requestId !== undefined && { requestId }),
    ...(traceparent !== undefined && { traceparent }),
    ...(Number.isFinite(deadlineAtMs) && { deadlineAtMs }),
  }
}

const rpcCall = ({ requestId }: Call, { identity, ended: signal }: LiveCall): RpcCall => ({
  asking: { identity, address, requestId },
  signal,
})

/** Aborts with the error that the call ends with then, and when whoever has made it has closed it. */
function endOf({ deadlineAtMs, signal }: Call): { ended: AbortSignal; close(): void } {
  const end = new AbortController()
  const cancel = () => end.abort(callErrors.Cancelled())
  const leftMs = Math.max(0, deadlineAtMs - Date.now())
  const timer = Number.isFinite(leftMs) ? setTimeout(() => end.abort(callErrors.Deadline()), leftMs) : undefined
  if (signal?.aborted) cancel()
  else signal?.addEventListener('abort', cancel, { once: true })
  return {
    ended: end.signal,
    close() {
      clearTimeout(timer)
      signal?.removeEventListener('abort', cancel)
      end.abort(callErrors.Cancelled())
    },
  }
}
