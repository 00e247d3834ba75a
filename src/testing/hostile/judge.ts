import { type ApiDocument, breach } from './document'
import type { HostileRequest } from './generate'

export interface Judged {
  status: number
  headers: Headers
  text: string
}

/** What nobody may learn of who answers. */
const telling = /\bat [\w.<>]+ \(|\.ts:\d+|node_modules|\/\$bunfs|sqlite|select .+ from |ER_[A-Z]+_|argon2|stack/gi
/** Bun itself refuses what is no HTTP, or longer in its head than 16 KiB, without a word: the house never sees it. */
const isRefusedByBun = ({ path, headers }: HostileRequest, { status, text }: Judged) => {
  const head = path + Object.entries(headers).flat().join('')
  // biome-ignore lint/suspicious/noControlCharactersInRegex: those are what is looked for
  return text === '' && ((status === 400 && /[\u0000-\u001f\u007f]/.test(head)) || (status === 431 && head.length > 8000))
}

/** What is wrong with an answer, by the document and by the house's rules; undefined when nothing is. */
export function fault(document: ApiDocument, request: HostileRequest, judged: Judged): string | undefined {
  const { method, operation } = request
  const { status, headers, text } = judged
  if (isRefusedByBun(request, judged)) return undefined
  const isHead = method === 'HEAD'
  if ((status >= 500 && status !== 503) || status < 200) return `status ${status}`
  if (!headers.has('x-request-id')) return 'no x-request-id'
  if (headers.get('x-content-type-options') !== 'nosniff') return 'no nosniff'
  // The name of a field that is not known is said again.
  const own = text.replaceAll(/"pointer":"(?:[^"\\]|\\.)*"/g, '')
  // Nor is it telling to say again what was sent.
  const sent = `${request.path}${typeof request.body === 'string' ? request.body : ''}`
  if (own.match(telling)?.some(told => !sent.includes(told))) return 'it tells of its inside'
  const [type = ''] = (headers.get('content-type') ?? '').split(';')
  if (status >= 400 && !isHead) {
    if (type !== 'application/problem+json') return `a problem of type ${type}`
    const problem = JSON.parse(text) as Record<string, unknown>
    const broken = breach(document, { $ref: '#/components/schemas/Problem' }, problem)
    if (broken) return `the problem breaks its schema: ${broken}`
    if (problem['status'] !== status) return 'the problem has another status'
    if (status === 401 && !headers.has('www-authenticate')) return '401 without WWW-Authenticate'
    if (status === 405 && !headers.has('allow')) return '405 without Allow'
  }
  if (!operation) return undefined
  const declared = operation.responses[String(status)]
  if (!declared) return `status ${status} is not in the document of ${operation.operationId}`
  if (isHead || status === 204) return text === '' ? undefined : 'a body where there is none'
  const content = declared.content ?? {}
  const documented = Object.hasOwn(content, type) ? content[type] : undefined
  if (!documented) return `media type ${type} is not in the document of ${operation.operationId}`
  if (type !== 'application/json') return undefined
  return breach(document, documented.schema, JSON.parse(text))
}
