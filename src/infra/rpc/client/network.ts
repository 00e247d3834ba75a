import { type Channel, Metadata, type StatusObject } from '@grpc/grpc-js'
import { defineErrors } from '@/core/error'
import type { Log } from '@/core/log'
import { createBreaker } from '../../cache/breaker'
import { bufferOf, codes } from '../grpc'
import { appErrorOf, callErrors, detailsKey } from '../status'
import { type Attempt, attemptStream, attemptUnary, type Outcome } from './attempt'
import type { Answerer, Call } from './outgoing'
import type { Credentials } from './credential'
import type { ClientMeters } from './meters'
import { createRetryBudget, retryAfterMs } from './retry'

/** The services of another process. */
export interface Network extends Answerer {
  close(): void
}

const networkErrors = defineErrors({
  /** Nobody was asked. */
  GivenUp: ['Unavailable', 'The service has not answered for a moment, and is not asked just now; try again later.'],
})

/** So many attempts in a row, for so long, that reach nobody: then nobody is asked, and one attempt after each pause tells whether to. */
const breakerLimits = { failuresMax: 5, apartMs: 1000, pauseMs: 500 }
/** Who waits for less says nothing of the service when it is late. */
const slowMs = 1000

interface Tools {
  credentials: Credentials
  log: Log
  meters: ClientMeters
}

export function createNetwork(channel: Channel, { credentials, log, meters }: Tools): Network {
  const budget = createRetryBudget()
  const breaker = createBreaker({
    ...breakerLimits,
    onOpen() {
      meters.breakerOpened()
      log.warn(
        'the services of another process do not answer, and are not called for a moment; see rpc.target, and rpc.tlsCaFile where it speaks TLS',
        { target: channel.getTarget() },
      )
    },
  })
  meters.breakerIs(() => breaker.state)

  /** @throws AppError when nobody is to be asked, or the time is over */
  async function prepared(call: Call): Promise<Attempt> {
    if (call.signal?.aborted) throw callErrors.Cancelled()
    const known = credentials.token(call.scopes)
    const token = typeof known === 'string' ? known : await inTime(known, call)
    if (!breaker.allows()) throw networkErrors.GivenUp({ retryAfterSeconds: breakerLimits.pauseMs / 1000 })
    return { ...call, message: bufferOf(call.message), metadata: sent(call, token) }
  }

  /** What it says of the service, whatever it says of the call. @param startedAtMs of `performance.now()` */
  function note({ code, metadata }: StatusObject, startedAtMs: number): void {
    const isAnswered = metadata.get(detailsKey).length > 0
    const isLate = code === codes.DEADLINE_EXCEEDED && performance.now() - startedAtMs >= slowMs
    if (!isAnswered && (code === codes.UNAVAILABLE || isLate)) breaker.failed()
    // Who has given up early has learned nothing, and whoever was let through to learn it must say something.
    else if (!isAnswered && (code === codes.DEADLINE_EXCEEDED || code === codes.CANCELLED))
      breaker.state === 'half-open' && breaker.failed()
    else breaker.succeeded()
    if (code !== codes.UNAVAILABLE) budget.answered()
  }

  /** Waits until it is to be tried again. @throws AppError when it is not */
  async function beforeNext({ status }: Outcome, call: Call, attempt: number): Promise<void> {
    const error = appErrorOf({ ...status, sentBytes: call.message.length })
    if (status.code !== codes.UNAVAILABLE || !call.isIdempotent || !budget.failed()) throw error
    const waitMs = retryAfterMs(attempt, (error.retryAfterSeconds ?? 0) * 1000, call.begunByMs - Date.now())
    if (waitMs === undefined || call.signal?.aborted) throw error
    await pause(waitMs, call.signal)
    meters.retried(call.path)
  }

  return {
    async unary(call) {
      for (let attempt = 1; ; attempt++) {
        const startedAtMs = performance.now()
        const outcome = await attemptUnary(channel, await prepared(call))
        note(outcome.status, startedAtMs)
        if (outcome.message && outcome.status.code === codes.OK) return outcome.message
        await beforeNext(outcome, call, attempt)
      }
    },

    async *stream(call) {
      for (let attempt = 1; ; attempt++) {
        const startedAtMs = performance.now()
        const reading = attemptStream(channel, await prepared(call))
        let isNoted = false
        try {
          for (;;) {
            const next = await reading.next()
            if (!isNoted && !(next instanceof Uint8Array)) note(next.status, startedAtMs)
            if (next instanceof Uint8Array) {
              if (!isNoted) breaker.succeeded()
              isNoted = true
              yield next
              continue
            }
            if (next.status.code === codes.OK) return
            // What was handed on cannot be taken back.
            if (isNoted) throw appErrorOf({ ...next.status, sentBytes: call.message.length })
            await beforeNext(next, call, attempt)
            break
          }
        } finally {
          reading.cancel()
        }
      }
    },

    close: () => channel.close(),
  }
}

/** What goes with a call, beside its deadline. */
function sent({ requestId, traceparent }: Call, token: string): Metadata {
  const metadata = new Metadata()
  metadata.set('authorization', `Bearer ${token}`)
  if (requestId !== undefined) metadata.set('x-request-id', requestId)
  if (traceparent !== undefined) metadata.set('traceparent', traceparent)
  return metadata
}

/** @throws AppError when the call is over before that */
async function inTime<T>(work: Promise<T>, { begunByMs, signal }: Call): Promise<T> {
  const over = Promise.withResolvers<never>()
  const cancel = () => over.reject(callErrors.Cancelled())
  const timer = setTimeout(() => over.reject(callErrors.Deadline()), Math.max(0, begunByMs - Date.now()))
  signal?.addEventListener('abort', cancel, { once: true })
  try {
    return await Promise.race([work, over.promise])
  } finally {
    clearTimeout(timer)
    signal?.removeEventListener('abort', cancel)
  }
}

/** Ends early when the call is cancelled, which the next attempt finds. */
function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise(resolve => {
    const end = () => {
      clearTimeout(timer)
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = setTimeout(end, ms)
    signal?.addEventListener('abort', end, { once: true })
  })
}
