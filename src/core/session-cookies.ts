import { defineErrors } from './error'

/**
 * Sessions of browsers: their tokens are in cookies that no script can read, that go to this host alone and only with requests that its
 * own pages make (RFC 6265bis: `__Host-`, HttpOnly, SameSite=Strict). Browsers keep such cookies over HTTPS, and from this machine.
 */
export const sessionCookies = { access: '__Host-bingo-access', refresh: '__Host-bingo-refresh' } as const
type CookieName = (typeof sessionCookies)[keyof typeof sessionCookies]

export const cookieErrors = defineErrors({
  CrossOrigin: [
    'PermissionDenied',
    'With the cookies of a session, only pages of this origin change something. Programs send Authorization: Bearer instead.',
  ],
})

interface Tokens {
  accessToken: string
  refreshToken: string
  expiresInSeconds: number
}

const attributes = 'Path=/; Secure; HttpOnly; SameSite=Strict'
/** Of the tokens that are ours. */
const value = /^[\w.~+/-]{1,4096}={0,2}$/

/** As a request carries it; undefined when it does not, or more than one of the name, of which one is not ours. */
export function cookieOf(headers: Headers, name: CookieName): string | undefined {
  const header = headers.get('cookie')
  if (header === null || !header.includes(name)) return undefined
  const found = header.split(';').flatMap(pair => {
    const at = pair.indexOf('=')
    return at !== -1 && pair.slice(0, at).trim() === name ? [pair.slice(at + 1).trim()] : []
  })
  const [only] = found
  return found.length === 1 && only !== undefined && value.test(only) ? only : undefined
}

/** What a browser is told to keep: the access token while it is good, the other until the browser is closed. One `Set-Cookie` each. */
export const keptCookies = ({ accessToken, refreshToken, expiresInSeconds }: Tokens): string[] => [
  `${sessionCookies.access}=${accessToken}; Max-Age=${expiresInSeconds}; ${attributes}`,
  `${sessionCookies.refresh}=${refreshToken}; ${attributes}`,
]

/** What makes it forget both. */
export const removedCookies = (): string[] => Object.values(sessionCookies).map(name => `${name}=; Max-Age=0; ${attributes}`)

/** Whether a request comes with a session of a browser, rather than with a credential that a program has put in. */
export const hasCookies = ({ headers }: Request): boolean =>
  !headers.has('authorization') && Object.values(sessionCookies).some(name => headers.get('cookie')?.includes(name))

/**
 * Whether a request was made by a page of this very origin, as browsers say (Fetch Metadata, else RFC 6454): another page, also of
 * another port or a neighboring host, may make browsers send it, cookies and all.
 */
export function isOwnOrigin({ headers }: Request): boolean {
  const site = headers.get('sec-fetch-site')
  if (site !== null) return site === 'same-origin'
  const origin = headers.get('origin')
  const host = headers.get('host')
  if (origin === null || host === null) return false
  // Whether TLS ends here or at a proxy, a page that was given our cookies came by it, or from this machine.
  return origin === `https://${host}` || (origin === `http://${host}` && loopback.test(host))
}

const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])(?::\d+)?$/

/** @throws CrossOrigin for what is not of a page of this origin */
export function refuseForeign(request: Request): void {
  if (!isOwnOrigin(request)) throw cookieErrors.CrossOrigin()
}
