import { ParseError, ValidationError } from 'elysia'
import { accessErrors } from '@/core/access'
import { AppError, defineErrors, type FieldProblem, kinds, toAppError } from '@/core/error'
import type { Log } from '@/core/log'
import { explained, type TSchema, Type } from '@/core/schema'
import { bodyErrors } from './body'
import { jsonResponse, type OwnHeaders } from './response'

/** What every failed request is answered with: RFC 9457, with `code`, `requestId` and `errors` besides. */
export const Problem = Type.Object(
  {
    type: Type.String({ description: 'Always about:blank: the code says more.' }),
    title: Type.String({ description: 'The phrase of the status.' }),
    status: Type.Integer({ description: 'The HTTP status.' }),
    detail: Type.String({ description: 'What went wrong, for people.' }),
    instance: Type.String({ description: 'The path that was asked for.' }),
    code: Type.String({ description: 'What went wrong, for programs; stable.', examples: ['Conflict.EmailTaken'] }),
    requestId: Type.String({ description: 'Quote it when you report a fault.' }),
    errors: Type.Optional(
      Type.Array(
        Type.Object({
          pointer: Type.String({ description: 'JSON Pointer into the body, or the name of a query parameter or header.' }),
          detail: Type.String(),
        }),
        { description: 'One entry for each field at fault.' },
      ),
    ),
  },
  { title: 'Problem', description: 'Why the request failed (RFC 9457).' },
)

export const routeErrors = defineErrors({
  Route: ['NotFound', 'There is nothing at this path.'],
  Method: ['MethodNotAllowed', 'This path does not take this method.'],
  Accept: ['NotAcceptable', 'Answers are JSON; accept application/json.'],
  Query: ['InvalidArgument', 'The query is not valid.'],
  Header: ['InvalidArgument', 'A header is not valid.'],
  Fields: ['Unprocessable', 'Some fields are not valid.'],
})

const responseErrors = defineErrors({
  Response: ['Internal', 'Something went wrong on our side.'],
})

const bearer = 'Bearer realm="bingo"'
const [tokenCode, scopeCode, proofCode] = [accessErrors.Token().code, accessErrors.Scope().code, accessErrors.Proof().code]

/** How to ask again (RFC 6750 §3, RFC 9470 §3). @param provenMs since when a proof is old */
function challengeOf({ kind, code, message, scopes }: AppError, provenMs: number | undefined): string | undefined {
  if (code === tokenCode) return `${bearer}, error="invalid_token", error_description="${message}"`
  if (code === scopeCode) return `${bearer}, error="insufficient_scope", error_description="${message}", scope="${scopes.join(' ')}"`
  if (code === proofCode) {
    const maxAge = provenMs === undefined ? '' : `, max_age=${Math.floor(provenMs / 1000)}`
    return `${bearer}, error="insufficient_user_authentication", error_description="${message}"${maxAge}`
  }
  return kind === 'Unauthenticated' ? bearer : undefined
}

/** Any error as a response. @param provenMs since when a proof of who calls is old, for those who lack one */
export function problemResponse(error: AppError, path: string, requestId: string, own: OwnHeaders, provenMs?: number): Response {
  const body = {
    type: 'about:blank',
    title: kinds[error.kind].title,
    status: error.httpStatus,
    detail: error.message,
    instance: path,
    code: error.code,
    requestId,
    ...(error.problems.length > 0 && { errors: error.problems }),
  }
  const more: OwnHeaders = { ...own, 'content-type': 'application/problem+json' }
  if (error.retryAfterSeconds !== undefined) more['retry-after'] = error.retryAfterSeconds
  if (error.allow) more['allow'] = error.allow.join(', ')
  const challenge = challengeOf(error, provenMs)
  if (challenge) more['www-authenticate'] = challenge
  return jsonResponse(body, error.httpStatus, requestId, more)
}

/** When the app itself fails, before or after its own error handling: the process lives on and says nothing of the cause. */
export function lastResort(thrown: unknown, log: Log): Response {
  log.error('request failed outside the app', { err: thrown })
  return problemResponse(toAppError(thrown), '/', '', {})
}

/** What Elysia throws by itself, as ours; what a route throws, as it is. */
export function fromElysia(thrown: unknown): AppError {
  if (thrown instanceof ParseError) return thrown.cause instanceof AppError ? thrown.cause : bodyErrors.Json({ cause: thrown.cause })
  if (thrown instanceof ValidationError) return fromValidation(thrown)
  return toAppError(thrown)
}

function fromValidation(failed: ValidationError): AppError {
  // A response that breaks its schema is our fault, and the caller must not see it: it may hold a secret.
  if (failed.type === 'response') {
    return responseErrors.Response({ cause: new Error(`the response breaks its schema at ${fieldProblems(failed)[0]?.pointer ?? '?'}`) })
  }
  // Ids are opaque: one that cannot exist is one that does not.
  if (failed.type === 'params') return routeErrors.Route()
  // A number of a query, or of a header, out of its range, which is seen when it is made of its text. Which one it was is not said any more.
  if (failed.type === 'property') return routeErrors.Query({ problems: fieldProblems(failed) })
  if (failed.type === 'query') return routeErrors.Query({ problems: namedProblems(failed) })
  if (failed.type === 'headers') return routeErrors.Header({ problems: namedProblems(failed) })
  if (failed.value === undefined) return bodyErrors.Json()
  return routeErrors.Fields({ problems: fieldProblems(failed) })
}

/** At most so many fields are named; more help nobody. */
const problemsMax = 50

interface Fault {
  path: string
  message: string
  schema: TSchema
}

interface Validator {
  Errors(value: unknown): Iterable<Fault>
}

/** The first fault of each field. The value at fault is not repeated: it may be a password. */
function fieldProblems(failed: ValidationError): FieldProblem[] {
  const problems = new Map<string, FieldProblem>()
  const faults = failed.type === 'property' ? (failed.all as Fault[]) : (failed.validator as Validator).Errors(failed.value)
  for (const { path, message, schema } of faults) {
    if (problems.size >= problemsMax) break
    if (!problems.has(path)) problems.set(path, { pointer: path, detail: explained(message, schema) })
  }
  return [...problems.values()]
}

/** Of a query or headers, where a field has a name rather than a place. */
const namedProblems = (failed: ValidationError): FieldProblem[] =>
  fieldProblems(failed).map(({ pointer, detail }) => ({ pointer: pointer.slice(1), detail }))
