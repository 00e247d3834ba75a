import { type Locate, type Network, parseAddress, parseNetwork } from '@/core/address'
import { createRecent } from '../limit/recent'

const peersMax = 1000

/** What is asked of Bun's server. */
export interface Connections {
  requestIP(request: Request): { address: string } | null
}

/**
 * Finds out who has sent a request. A proxy that is trusted writes the address of whoever called it at the end of
 * `X-Forwarded-For`, so the list is read from its end for as long as it names proxies that are trusted: what stands before was
 * written by somebody who may lie. Without trusted proxies the header is not looked at. `Forwarded` (RFC 7239) is never: proxies
 * that do not know it pass on what a client wrote.
 *
 * @param connections undefined while nothing listens
 * @param untrusted called once, when somebody who is not trusted says who called: a proxy that was forgotten, or a liar
 */
export function locator(
  trustedProxies: readonly string[],
  connections: () => Connections | null | undefined,
  untrusted?: (peer: string) => void,
): Locate {
  const from = callerOf(trustedProxies, untrusted)
  return request => {
    const peer = connections()?.requestIP(request)?.address
    return peer === undefined ? undefined : from(peer, request.headers)
  }
}

/** The same of any connection: who is behind it. @param headers those that a proxy writes into */
export function callerOf(trustedProxies: readonly string[], untrusted?: (peer: string) => void) {
  let isSaid = false
  const trusted = trustedProxies.flatMap(text => parseNetwork(text) ?? [])
  const spellings = createRecent<string>(peersMax)
  /** Of a connection, which has many requests. */
  function spelled(peer: string): string {
    const known = spellings.get(peer)
    if (known !== undefined) return known
    const address = parseAddress(peer) ?? peer
    spellings.set(peer, address)
    return address
  }
  return (peer: string, headers: { get(name: string): string | null | undefined }): string => {
    const address = spelled(peer)
    if (!isIn(trusted, address)) {
      if (!isSaid && typeof headers.get('x-forwarded-for') === 'string') {
        isSaid = true
        untrusted?.(address)
      }
      return address
    }
    return beforeProxies(headers.get('x-forwarded-for') ?? '', trusted, address)
  }
}

const isIn = (networks: readonly Network[], address: string) => networks.some(contains => contains(address))

/** No chain of proxies is longer; a header that is costs no more than this. */
const hopsMax = 32

function beforeProxies(forwardedFor: string, trusted: readonly Network[], peer: string): string {
  let known = peer
  const hops = forwardedFor.split(',')
  for (const hop of hops.slice(-hopsMax).reverse()) {
    const address = parseAddress(withoutPort(hop.trim()))
    // The last one that can be believed, if a proxy says what is no address.
    if (address === undefined) return known
    known = address
    if (!isIn(trusted, address)) return known
  }
  return known
}

/** Some proxies add the port: `192.0.2.1:4711`, `[2001:db8::1]:4711`. */
function withoutPort(hop: string): string {
  if (hop.startsWith('[')) return hop.slice(1, hop.indexOf(']'))
  const colon = hop.indexOf(':')
  return colon !== -1 && colon === hop.lastIndexOf(':') ? hop.slice(0, colon) : hop
}

const thisHost = ['127.0.0.0/8', '::1'].flatMap(text => parseNetwork(text) ?? [])
/** Whether nothing but this host carries what comes from there. */
export const isOfThisHost = (address: string): boolean => isIn(thisHost, address)
