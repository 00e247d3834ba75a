import { defineErrors } from '@/core/error'
import type { KeyedRequest } from '@/core/idempotency'

/**
 * Request bodies, read more strictly than `Request.json` does. Refused are: other media types, since a form or plain text can
 * be sent by any page (cross-site request forgery); bytes that are not UTF-8; a name that stands twice in an object, which two
 * readers would read differently (RFC 8259 §4); text that databases or hashes would change: NUL and unpaired surrogates.
 */
export const bodyErrors = defineErrors({
  MediaType: ['UnsupportedMediaType', 'Send the body as application/json.'],
  Body: ['TooLarge', 'The body is too large.'],
  Json: ['InvalidArgument', 'The body is not JSON.'],
  Encoding: ['InvalidArgument', 'The body is not UTF-8, or holds U+FFFD, which stands for what is not: write that character as \\ufffd.'],
  DuplicateKey: ['InvalidArgument', 'A name stands twice in an object of the body.'],
  Text: ['InvalidArgument', 'The request holds text with a NUL character or an unpaired surrogate.'],
  Depth: ['InvalidArgument', 'The body is nested too deeply.'],
})

const depthMax = 32
const mediaTypes = new Set(['application/json', 'application/merge-patch+json'])
const utf8 = new TextDecoder()

/**
 * Checks what the headers say of the body, before a byte of it is read.
 * @returns whether they say its length
 */
export function checkBodyHeaders(headers: Headers, limitBytes: number): boolean {
  const type = headers.get('content-type')
  const length = headers.get('content-length')
  if (type === null) {
    const isEmpty = length === null ? !headers.has('transfer-encoding') : length === '0'
    if (!isEmpty) throw bodyErrors.MediaType()
  } else if (type !== 'application/json' && !mediaTypes.has(type.split(';', 1)[0]?.trim().toLowerCase() ?? '')) {
    throw bodyErrors.MediaType()
  }
  if (length !== null && Number(length) > limitBytes) throw tooLarge(limitBytes)
  return length !== null
}

/** What is less has come with its headers, or soon after. */
const smallBytes = 64 * 1024

/**
 * Whether a request is answered while its body is still coming: then its connection is of no more use. Bun would wait for the rest of
 * it before it stops, as long as the client likes.
 */
export function leavesBody(request: Request): boolean {
  if (request.bodyUsed) return false
  return request.headers.has('transfer-encoding') || Number(request.headers.get('content-length') ?? 0) > smallBytes
}

const tooLarge = (limitBytes: number) =>
  bodyErrors.Body({ problems: [{ pointer: '', detail: `must not be longer than ${limitBytes} bytes` }] })

/** Reads a body that says its length, which has been checked. Stands in for `Request.json`. */
export function readWhole(this: KeyedRequest): Promise<unknown> {
  // As text at once: a decoder of our own, which refuses what is not UTF-8, would cost a sixth of a small request.
  if (this.claimKey === undefined) return this.text().then(parse)
  return this.text().then(text => keptAndParsed(this, text))
}

/** What was sent is kept, for telling whether a request is the same as one before. */
function keptAndParsed(request: KeyedRequest, text: string): unknown {
  request.bodyText = text
  return parse(text)
}

/** What decoders put where bytes are not UTF-8, so that a body with it may have been damaged. */
const replacement = '\ufffd'

function parse(text: string): unknown {
  if (text.includes(replacement)) throw bodyErrors.Encoding()
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch (cause) {
    throw bodyErrors.Json({ cause })
  }
  // UTF-8 holds no surrogates and JSON no bare NUL: only an escape can bring them in.
  const mayHoldBadText = text.includes('\\')
  // JSON.parse keeps the last of two members with one name, so the text has more names than the value.
  if (countNames(text) !== checkedMembers(value, 1, mayHoldBadText)) throw bodyErrors.DuplicateKey()
  return value
}

/** Reads a body that does not say its length, until it is too long. */
export async function readCounted(request: KeyedRequest, limitBytes: number): Promise<unknown> {
  const chunks: Uint8Array[] = []
  let length = 0
  for await (const chunk of request.body ?? []) {
    length += chunk.byteLength
    if (length > limitBytes) throw tooLarge(limitBytes)
    chunks.push(chunk)
  }
  const text = utf8.decode(Buffer.concat(chunks))
  return request.claimKey === undefined ? parse(text) : keptAndParsed(request, text)
}

const quote = 34
const backslash = 92
const colon = 58
const lastSpace = 32

/** How many names of members stand in a JSON text: strings that a colon follows. The text is known to be valid. */
function countNames(text: string): number {
  let names = 0
  let at = text.indexOf('"')
  while (at !== -1) {
    let end = at
    let isEscaped: boolean
    do {
      end = text.indexOf('"', end + 1)
      let before = end - 1
      while (text.charCodeAt(before) === backslash) before--
      isEscaped = (end - before) % 2 === 0
    } while (isEscaped)
    let next = end + 1
    while (text.charCodeAt(next) <= lastSpace) next++
    if (text.charCodeAt(next) === colon) names++
    at = text.charCodeAt(next) === quote ? next : text.indexOf('"', next)
  }
  return names
}

/** How many members the objects of a value have, in all; throws for depth, and for text when it has to be looked at. */
function checkedMembers(value: unknown, depth: number, checksText: boolean): number {
  if (typeof value === 'string') {
    if (checksText) checkText(value)
    return 0
  }
  if (typeof value !== 'object' || value === null) return 0
  if (depth > depthMax) throw bodyErrors.Depth()
  let members = 0
  if (Array.isArray(value)) {
    for (const item of value) members += checkedMembers(item, depth + 1, checksText)
    return members
  }
  for (const name in value) {
    if (checksText) checkText(name)
    members += 1 + checkedMembers((value as Record<string, unknown>)[name], depth + 1, checksText)
  }
  return members
}

/** @throws InvalidArgument for text that does not survive hashing and storing as it is */
export function checkText(text: string): void {
  if (text.includes('\0') || !text.isWellFormed()) throw bodyErrors.Text()
}
