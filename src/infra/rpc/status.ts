import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type Any, anyPack, anyUnpack, DurationSchema } from '@bufbuild/protobuf/wkt'
import { AppError, defineErrors, type ErrorOptions, type FieldProblem, type Kind, kinds } from '@/core/error'
import {
  BadRequest_FieldViolationSchema,
  BadRequestSchema,
  ErrorInfoSchema,
  RetryInfoSchema,
} from '@/proto/generated/google/rpc/error_details_pb.js'
import { StatusSchema } from '@/proto/generated/google/rpc/status_pb.js'
import { codes } from './grpc'

/**
 * Errors on the wire of gRPC, both ways: what a server says of an AppError, and the AppError that a client throws for it, which is the same
 * again: kind, code, message, problems and when to come back. The details are those of google.rpc (AIP-193), so that other clients read them.
 */

/** What a call ends with. */
export interface RpcStatus {
  /** Of google.rpc.Code. */
  readonly code: number
  /** The text: `grpc-message`. */
  readonly details: string
  /** google.rpc.Status: for the trailer `detailsKey`. */
  readonly bin: Uint8Array
}

/** As grpc-js throws it, and as far as it is read here. */
export interface WireError {
  readonly code: number
  readonly details: string
  /** How long the message was that was sent, in bytes: what is larger than the most is then known to be that one, or its answer. */
  readonly sentBytes?: number
  readonly metadata?: { get(key: string): readonly (string | Uint8Array)[] } | undefined
}

/** The trailer that says more of an error. */
export const detailsKey = 'grpc-status-details-bin'
/** Whose reasons those of `ErrorInfo` are. */
const errorDomain = 'bingo'

/** What goes wrong with a call itself, rather than with what it asks for. */
export const callErrors = defineErrors({
  Cancelled: ['Timeout', 'The call was cancelled by whoever made it.'],
  Deadline: [
    'Timeout',
    'The call has taken longer than its caller waits. It may still be done: look before you try again, or wait for longer.',
  ],
  Unreachable: [
    'Unavailable',
    'The service could not be reached, or has gone away; try again later. If it stays so, see rpc.target, and rpc.tlsCaFile where it speaks TLS.',
  ],
  Method: ['MethodNotAllowed', 'The service has no such method; see which version of it runs.'],
  MessageSize: ['TooLarge', 'The message is larger than the service takes; send less at a time, or raise http.bodyLimitBytes.'],
  AnswerSize: ['TooLarge', 'The answer is larger than the 4 MiB that callers here take; ask for less at a time.'],
  Stopping: ['Unavailable', 'This process is stopping; call another one, or this one again when it is back.'],
  Unread: ['ResourceExhausted', 'Too much is sent over this connection at a time; send less, or wait for answers before you send more.'],
  QuestionSize: ['TooLarge', 'The message is larger than health and reflection take; ask for a name.'],
  Calls: ['ResourceExhausted', 'Too many calls without credentials come from your address at a time; log in, or try again later.'],
  Streams: ['ResourceExhausted', 'Too many streams are open here; try again later, or call another process.'],
  Unexpected: ['Internal', 'Something went wrong in the service that was called.'],
})

const cancelledCode = callErrors.Cancelled().code
/** What is said of one of ours stays below the 8 KiB that clients take in all trailers, in base64 (gRFC G1). */
const detailsMaxBytes = 4096
const messageMax = 1024

/** What a server says of an error. What is ours to know alone has become Internal before: see `toAppError`. */
export function statusOf(error: AppError): RpcStatus {
  const code = error.code === cancelledCode ? codes.CANCELLED : kinds[error.kind].grpc
  const details = error.message.slice(0, messageMax).toWellFormed()
  const all = [infoOf(error), ...retryOf(error)]
  let left = detailsMaxBytes - details.length - all.reduce((sum, { value }) => sum + value.length, 0)
  const violations = error.problems.flatMap(({ pointer: field, detail: description }) => {
    const violation = create(BadRequest_FieldViolationSchema, { field, description })
    left -= toBinary(BadRequest_FieldViolationSchema, violation).length
    return left > 0 ? [violation] : []
  })
  if (violations.length > 0) all.push(anyPack(BadRequestSchema, create(BadRequestSchema, { fieldViolations: violations })))
  return { code, details, bin: toBinary(StatusSchema, create(StatusSchema, { code, message: details, details: all })) }
}

function infoOf({ code, scopes }: AppError): Any {
  const metadata = { code, ...(scopes.length > 0 && { scopes: scopes.join(' ') }) }
  return anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: reasonIn(code), domain: errorDomain, metadata }))
}

const retryOf = ({ retryAfterSeconds }: AppError): Any[] =>
  retryAfterSeconds === undefined
    ? []
    : [anyPack(RetryInfoSchema, create(RetryInfoSchema, { retryDelay: create(DurationSchema, durationOf(retryAfterSeconds)) }))]

function durationOf(seconds: number) {
  const whole = Math.floor(seconds)
  return { seconds: BigInt(whole), nanos: Math.round((seconds - whole) * 1e9) }
}

/** `EmailTaken` of `Conflict.EmailTaken`. */
const reasonIn = (code: string) => code.slice(code.indexOf('.') + 1)

/** What a client throws for an error of a call, whoever has said it: one of our servers, another one, or its own library. */
export function appErrorOf(thrown: WireError): AppError {
  const { code, details } = thrown
  const { code: ours, problems, scopes, retryAfterSeconds } = saidBy(thrown)
  const later = retryAfterSeconds === undefined ? {} : { retryAfterSeconds }
  const kind = kindIn(ours)
  if (kind) return new AppError(kind, reasonIn(ours), details, { problems, scopes, ...later })
  const options = { cause: new Error(`gRPC ${code}: ${details}`), ...later }
  const tooLarge = code === codes.RESOURCE_EXHAUSTED ? tooLargeText.exec(details)?.[1] : undefined
  if (tooLarge !== undefined) {
    const isAnswer = thrown.sentBytes !== undefined && Number(tooLarge) !== thrown.sentBytes
    return isAnswer ? callErrors.AnswerSize(options) : callErrors.MessageSize(options)
  }
  return generalErrors[code]?.(options) ?? new AppError(generalKinds[code] ?? 'Internal', 'Call', details.slice(0, messageMax), options)
}

interface Said {
  /** `Conflict.EmailTaken`; empty of servers that are not ours. */
  code: string
  scopes: readonly string[]
  problems: FieldProblem[]
  retryAfterSeconds: number | undefined
}

/** What the details say. Whatever is no google.rpc.Status says nothing. */
function saidBy({ metadata }: WireError): Said {
  const said: Said = { code: '', scopes: [], problems: [], retryAfterSeconds: undefined }
  const [bin] = metadata?.get(detailsKey) ?? []
  if (bin === undefined || typeof bin === 'string') return said
  try {
    for (const any of fromBinary(StatusSchema, bin).details) read(any, said)
    return said
  } catch {
    return said
  }
}

function read(any: Any, said: Said): void {
  const info = anyUnpack(any, ErrorInfoSchema)
  if (info?.domain === errorDomain) {
    said.code = info.metadata['code'] ?? ''
    said.scopes = info.metadata['scopes']?.split(' ') ?? []
  }
  const retryDelay = anyUnpack(any, RetryInfoSchema)?.retryDelay
  if (retryDelay) said.retryAfterSeconds = Number(retryDelay.seconds) + retryDelay.nanos / 1e9
  for (const { field, description } of anyUnpack(any, BadRequestSchema)?.fieldViolations ?? [])
    said.problems.push({ pointer: field, detail: description })
}

function kindIn(code: string): Kind | undefined {
  const kind = code.slice(0, Math.max(0, code.indexOf('.')))
  return Object.hasOwn(kinds, kind) ? (kind as Kind) : undefined
}

/** As grpc-js says it, at both ends: the code alone could be a limit of any kind. */
const tooLargeText = /^Received message larger than max \((\d+) vs /

/** By the code alone, where no server of ours has spoken. What failed there is not for the callers of this process. */
const generalErrors: Readonly<Record<number, (options: ErrorOptions) => AppError>> = {
  [codes.CANCELLED]: callErrors.Cancelled,
  [codes.UNKNOWN]: callErrors.Unexpected,
  [codes.DEADLINE_EXCEEDED]: callErrors.Deadline,
  [codes.UNIMPLEMENTED]: callErrors.Method,
  [codes.INTERNAL]: callErrors.Unexpected,
  [codes.UNAVAILABLE]: callErrors.Unreachable,
  [codes.DATA_LOSS]: callErrors.Unexpected,
}
const generalKinds: Readonly<Record<number, Kind>> = {
  [codes.INVALID_ARGUMENT]: 'InvalidArgument',
  [codes.NOT_FOUND]: 'NotFound',
  [codes.ALREADY_EXISTS]: 'Conflict',
  [codes.PERMISSION_DENIED]: 'PermissionDenied',
  [codes.RESOURCE_EXHAUSTED]: 'ResourceExhausted',
  [codes.FAILED_PRECONDITION]: 'FailedPrecondition',
  [codes.ABORTED]: 'Aborted',
  [codes.OUT_OF_RANGE]: 'InvalidArgument',
  [codes.UNAUTHENTICATED]: 'Unauthenticated',
}
