import { defineErrors } from '@/core/error'
import { checkText } from './body'

export const queryErrors = defineErrors({
  DuplicateParameter: ['InvalidArgument', 'A query parameter stands twice.'],
  Encoding: ['InvalidArgument', 'The query is not valid percent-encoded UTF-8.'],
})

/**
 * Refuses queries that two readers would read differently: a parameter that stands twice, text that is not UTF-8.
 * @param query what stands after the question mark
 */
export function checkQuery(query: string): void {
  const seen = new Set<string>()
  for (const pair of query.split('&')) {
    const [name = '', ...rest] = pair.split('=')
    if (pair === '') continue
    const decoded = decode(name)
    checkText(decode(rest.join('=')))
    if (seen.has(decoded)) {
      throw queryErrors.DuplicateParameter({ problems: [{ pointer: decoded.slice(0, 64), detail: 'stands twice' }] })
    }
    seen.add(decoded)
  }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text.replaceAll('+', ' '))
  } catch (cause) {
    throw queryErrors.Encoding({ cause })
  }
}
