import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import { currentCaller } from '@/core/caller'
import { AppError, kinds } from '@/core/error'
import type { CallOptions, RpcClient } from '@/core/rpc'
import { codes, namesOf } from '../grpc'
import type { Answerer, Call } from './outgoing'
import type { ClientMeters } from './meters'

/**
 * The methods of a service, as functions: messages become bytes here, and bytes messages, whoever answers. What else it takes is loaded with
 * the first call.
 */

const timeoutMaxMs = 600_000
/** Of `MethodOptions.IdempotencyLevel`: NO_SIDE_EFFECTS and IDEMPOTENT. */
const idempotentLevels: readonly number[] = [1, 2]
/** The AppError of a call that is cancelled; where it is defined more is loaded than is wanted before the first call. */
const cancelled = 'Timeout.Cancelled'

/** What is needed from the first call on. */
export interface Opened {
  encode(desc: DescMethod, input: Input): Uint8Array
  decode(desc: DescMethod, bytes: Uint8Array): MessageShape<DescMethod['output']>
  /** Whoever answers the calls of a service. */
  answerer(service: string): Answerer
  /** @returns the error of a call that nobody waits for any more */
  late(): AppError
}

interface Tools {
  scopes: readonly string[]
  /** Of calls that say nothing else. */
  timeoutMs: number
  meters: ClientMeters
  /** A promise only until all is loaded. */
  open(): Opened | Promise<Opened>
}

export function clientOf<S extends DescService>(service: S, tools: Tools): RpcClient<S> {
  const methods = service.methods.map(desc => {
    const about = aboutOf(service, desc, tools.scopes)
    return [desc.localName, desc.methodKind === 'unary' ? unaryOf(about, desc, tools) : streamOf(about, desc, tools)] as const
  })
  return Object.freeze(Object.fromEntries(methods)) as RpcClient<S>
}

type Input = MessageInitShape<DescMethod['input']>
type About = ReturnType<typeof aboutOf>

const aboutOf = (service: DescService, desc: DescMethod, scopes: readonly string[]) => ({
  service: service.typeName,
  method: desc.localName,
  path: namesOf(service, desc).path,
  isIdempotent: idempotentLevels.includes(desc.idempotency),
  scopes,
})

function unaryOf(about: About, desc: DescMethod, { timeoutMs, meters, open }: Tools) {
  return async (input: Input, options?: CallOptions): Promise<unknown> => {
    const wait = waitOf(timeoutMs, timeoutMs, options)
    const startedMs = performance.now()
    let code: number = codes.OK
    try {
      const opened = atHand(open()) ?? (await open())
      const answer = await opened.answerer(about.service).unary(callOf(opened, about, desc, input, wait))
      return opened.decode(desc, answer)
    } catch (thrown) {
      code = codeOf(thrown)
      throw thrown
    } finally {
      meters.ended(about.path, code, (performance.now() - startedMs) / 1000)
    }
  }
}

function streamOf(about: About, desc: DescMethod, { timeoutMs, meters, open }: Tools) {
  async function* read(input: Input, wait: Wait): AsyncGenerator<unknown> {
    const startedMs = performance.now()
    // Who leaves the loop has cancelled it.
    let code: number = codes.CANCELLED
    try {
      const opened = await open()
      for await (const message of opened.answerer(about.service).stream(callOf(opened, about, desc, input, wait)))
        yield opened.decode(desc, message)
      code = codes.OK
    } catch (thrown) {
      code = codeOf(thrown)
      throw thrown
    } finally {
      meters.ended(about.path, code, (performance.now() - startedMs) / 1000)
    }
  }
  return (input: Input, options?: CallOptions) => read(input, waitOf(timeoutMs, Number.POSITIVE_INFINITY, options))
}

type Wait = Pick<Call, 'deadlineAtMs' | 'begunByMs' | 'signal' | 'requestId' | 'traceparent'>

/**
 * For how long it is waited, from now, and on whose behalf.
 * @param beginMs until somebody has taken it
 * @param usualMs until its end, when its caller says nothing else
 * @throws RangeError for a timeout that is none
 */
function waitOf(beginMs: number, usualMs: number, { timeoutMs, signal }: CallOptions = {}): Wait {
  if (timeoutMs !== undefined && !(timeoutMs >= 1 && timeoutMs <= timeoutMaxMs))
    throw new RangeError(`timeoutMs must be 1–${timeoutMaxMs}, not ${timeoutMs}`)
  const caller = currentCaller()
  const now = Date.now()
  const deadlineAtMs = Math.min(now + (timeoutMs ?? usualMs), caller?.deadlineAtMs ?? Number.POSITIVE_INFINITY)
  const begunByMs = Number.isFinite(deadlineAtMs) ? deadlineAtMs : now + beginMs
  return { deadlineAtMs, begunByMs, signal, requestId: caller?.requestId, traceparent: caller?.traceparent }
}

/** @throws Timeout when nobody waits any more */
function callOf(
  opened: Opened,
  about: About,
  desc: DescMethod,
  input: Input,
  { deadlineAtMs, begunByMs, signal, requestId, traceparent }: Wait,
): Call {
  if (deadlineAtMs <= Date.now()) throw opened.late()
  return {
    service: about.service,
    method: about.method,
    path: about.path,
    isIdempotent: about.isIdempotent,
    scopes: about.scopes,
    message: opened.encode(desc, input),
    deadlineAtMs,
    begunByMs,
    signal,
    requestId,
    traceparent,
  }
}

const atHand = <T extends object>(value: T | Promise<T>): T | undefined => (value instanceof Promise ? undefined : value)

function codeOf(thrown: unknown): number {
  if (!(thrown instanceof AppError)) return kinds.Internal.grpc
  return thrown.code === cancelled ? codes.CANCELLED : kinds[thrown.kind].grpc
}
