/**
 * The closed list of ways a request can fail, with its code on every wire. HTTP statuses and titles are those of RFC 9110, gRPC
 * codes those of google.rpc.Code. `Conflict` is a value that is taken, `Aborted` a change at the same time. Each wire translates in one place; nothing else in the house knows these numbers.
 */
export const kinds = {
  InvalidArgument: { http: 400, grpc: 3, title: 'Bad Request' },
  Unauthenticated: { http: 401, grpc: 16, title: 'Unauthorized' },
  PermissionDenied: { http: 403, grpc: 7, title: 'Forbidden' },
  NotFound: { http: 404, grpc: 5, title: 'Not Found' },
  MethodNotAllowed: { http: 405, grpc: 12, title: 'Method Not Allowed' },
  NotAcceptable: { http: 406, grpc: 3, title: 'Not Acceptable' },
  Conflict: { http: 409, grpc: 6, title: 'Conflict' },
  Aborted: { http: 409, grpc: 10, title: 'Conflict' },
  FailedPrecondition: { http: 412, grpc: 9, title: 'Precondition Failed' },
  TooLarge: { http: 413, grpc: 8, title: 'Content Too Large' },
  UnsupportedMediaType: { http: 415, grpc: 3, title: 'Unsupported Media Type' },
  Unprocessable: { http: 422, grpc: 3, title: 'Unprocessable Content' },
  PreconditionRequired: { http: 428, grpc: 9, title: 'Precondition Required' },
  ResourceExhausted: { http: 429, grpc: 8, title: 'Too Many Requests' },
  Internal: { http: 500, grpc: 13, title: 'Internal Server Error' },
  Unavailable: { http: 503, grpc: 14, title: 'Service Unavailable' },
  Timeout: { http: 504, grpc: 4, title: 'Gateway Timeout' },
} as const

export type Kind = keyof typeof kinds

/** One fault of the input. `pointer` is a JSON Pointer (RFC 6901) into the body, or the name of a query parameter or header. */
export interface FieldProblem {
  pointer: string
  detail: string
}

export interface ErrorOptions {
  /** Kept for the log, never sent. */
  cause?: unknown
  /** The faults of the input, one a field. */
  problems?: readonly FieldProblem[]
  /** When trying again may help, in seconds; sent as `Retry-After`. */
  retryAfterSeconds?: number
  /** What an API key would need, any one of them (RFC 6750 §3). */
  scopes?: readonly string[]
  /** What the caller may use instead of the method it tried (RFC 9110 §10.2.1). */
  allow?: readonly string[]
}

/** An error that a caller is meant to see. `code` is `Kind.Reason`, stable, and what clients key off. */
export class AppError extends Error {
  override readonly name = 'AppError'
  readonly kind: Kind
  readonly code: string
  readonly problems: readonly FieldProblem[]
  readonly retryAfterSeconds: number | undefined
  readonly scopes: readonly string[]
  readonly allow: readonly string[] | undefined

  constructor(kind: Kind, reason: string, message: string, options: ErrorOptions = {}) {
    super(message, { cause: options.cause })
    this.kind = kind
    this.code = `${kind}.${reason}`
    this.problems = options.problems ?? []
    this.retryAfterSeconds = options.retryAfterSeconds
    this.scopes = options.scopes ?? []
    this.allow = options.allow
  }

  get httpStatus(): number {
    return kinds[this.kind].http
  }
}

/**
 * Declares a module's errors: `defineErrors({ EmailTaken: ['Conflict', 'This e-mail is already registered.'] })`. Each entry
 * becomes a function, so every throw is a fresh error with its own stack, and nothing said of one request reaches another.
 */
export function defineErrors<const T extends Record<string, readonly [Kind, string]>>(spec: T) {
  const make =
    (reason: string, [kind, message]: readonly [Kind, string]) =>
    (options?: ErrorOptions) =>
      new AppError(kind, reason, message, options)
  return Object.fromEntries(Object.entries(spec).map(([reason, entry]) => [reason, make(reason, entry)])) as {
    [K in keyof T]: (options?: ErrorOptions) => AppError
  }
}

/** Anything thrown, as an AppError. What is not ours becomes Internal, which keeps the cause and tells the caller nothing. */
export function toAppError(thrown: unknown): AppError {
  if (thrown instanceof AppError) return thrown
  return new AppError('Internal', 'Unexpected', 'Something went wrong on our side.', { cause: thrown })
}

/** Why a process cannot start or a command cannot run: said in one line, with the remedy, and no stack trace. */
export class StartError extends Error {
  override readonly name = 'StartError'
  readonly exitCode: number

  /** @param exitCode one of `exitCodes` */
  constructor(message: string, exitCode: number = exitCodes.failed, options: { cause?: unknown } = {}) {
    super(message, options)
    this.exitCode = exitCode
  }
}

/** Exit codes of the executable; usage and configuration as in BSD's sysexits.h. */
export const exitCodes = { ok: 0, failed: 1, usage: 64, configuration: 78 } as const
