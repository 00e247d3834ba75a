/** Of one message of an answer, wherever it is from. */
export const answerMaxBytes = 4 * 1024 * 1024

/** A call of a method, once it is known what is sent and for how long it is waited, and before anybody knows who answers. */
export interface Call {
  /** Of the service, with its package: `bingo.user.v1.UserService`. */
  readonly service: string
  /** As it is called in TypeScript: `getUser`. */
  readonly method: string
  /** As it stands on the wire: `/bingo.user.v1.UserService/GetUser`. */
  readonly path: string
  /** Whether it may be made twice: it changes nothing, or the same again. */
  readonly isIdempotent: boolean
  readonly scopes: readonly string[]
  readonly message: Uint8Array
  /** Milliseconds since 1970; infinite for a stream that goes on for as long as both sides like. */
  readonly deadlineAtMs: number
  /** By then somebody has taken it, or it has failed: its deadline, and for streams that have none what other calls have. */
  readonly begunByMs: number
  readonly signal: AbortSignal | undefined
  readonly requestId: string | undefined
  readonly traceparent: string | undefined
}

/** Whoever has calls answered: another process, or this one. Messages go in and out as they are on the wire, so nobody shares one. */
export interface Answerer {
  /** @throws AppError */
  unary(call: Call): Promise<Uint8Array>
  /** Begins with the first message that is asked for, and is cancelled by leaving its loop. @throws AppError */
  stream(call: Call): AsyncIterable<Uint8Array>
}
