import { sessionCookies } from '@/core/session-cookies'

/** How callers of an operation say who they are, in the words of OpenAPI. */
export type Requirement = Record<string, string[]>

/** All but the cookie are sent alike (RFC 6750 §2.1). */
const schemes: Record<string, unknown> = {
  accessToken: { type: 'http', scheme: 'bearer', bearerFormat: 'JWT', description: 'The access token of a log-in.' },
  apiKey: { type: 'http', scheme: 'bearer', description: 'An API key with the scope that is named, of a user or of a service.' },
  serviceKey: { type: 'http', scheme: 'bearer', description: 'The API key of a service, with the scope that is named.' },
  sessionCookie: {
    type: 'apiKey',
    in: 'cookie',
    name: sessionCookies.access,
    description:
      'The access token of a log-in with `transport: cookie`, which browsers keep and send by themselves. What changes something has to come from a page of this origin: with `Sec-Fetch-Site: same-origin`, or an `Origin` that is that of `Host` from browsers that do not send it; else 403 `PermissionDenied.CrossOrigin`.',
  },
}

/** Those that some route takes. */
export function schemesOf(operations: readonly { security?: Requirement[] }[]): Record<string, unknown> {
  const used = new Set(operations.flatMap(({ security = [] }) => security.flatMap(requirement => Object.keys(requirement))))
  return Object.fromEntries(Object.entries(schemes).filter(([name]) => used.has(name)))
}

/** Any of them is enough. Since 3.1 a requirement may name what is needed of a scheme that knows no scopes, too. */
export function securityOf(access: readonly string[], takesCookies: boolean): Requirement[] {
  if (access.includes('everyone')) return []
  const requirements = access.flatMap(rule => {
    const [, kind, name = ''] = /^(\w+)\((.*)\)$/.exec(rule) ?? []
    if (kind === 'apiKey' || kind === 'serviceKey') return [{ [kind]: [name] }]
    // That a proof must not be old is no permission.
    const needed = kind === 'admin' ? name.split(', ').filter(each => each !== 'proven') : []
    return [{ accessToken: needed }, ...(takesCookies ? [{ sessionCookie: needed }] : [])]
  })
  return [...new Map(requirements.map(requirement => [JSON.stringify(requirement), requirement])).values()]
}
