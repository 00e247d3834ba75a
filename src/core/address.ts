/** Where requests come from: IPv4 and IPv6 addresses, each in one spelling, and networks of them. */

/**
 * The address of whoever has sent a request: of the connection, or the one that trusted proxies (`http.trustedProxies`) say in
 * `X-Forwarded-For`. IPv6 is in its shortest form (RFC 5952), IPv4 within IPv6 is IPv4. It is worked out when first asked for, which
 * must be before the answer is given. `unknown` when the client has gone, or there is no connection, as in tests.
 */
export function addressOf(request: Request | Located): string {
  const located = request as LocatedRequest
  if (located.address !== undefined) return located.address
  const address = located.locate?.(located) ?? unknownAddress
  located.address = address
  return address
}

export const unknownAddress = 'unknown'

/** What knows already where it comes from: a call that is no request of HTTP. */
export interface Located {
  address: string
}

/** A request whose server says where it comes from. */
export interface LocatedRequest extends Request {
  locate?: Locate
  address?: string
}
export type Locate = (request: Request) => string | undefined

/**
 * What one person has: the address, and of IPv6 its network of 64 bits, since each customer gets at least one (RFC 6177) and may
 * call from any address in it.
 */
export function networkOf(address: string): string {
  if (!address.includes(':')) return address
  const groups = groupsOf(address)
  return groups ? `${spelled([...groups.slice(0, 4), 0, 0, 0, 0])}/64` : address
}

/**
 * What one customer of a generous provider has: of IPv6 the network of 48 bits (RFC 6177), in which there are 65,536 of those that
 * `networkOf` tells apart; undefined for IPv4.
 */
export function siteOf(address: string): string | undefined {
  if (!address.includes(':')) return undefined
  const groups = groupsOf(address)
  return groups?.length === 8 ? `${spelled([...groups.slice(0, 3), 0, 0, 0, 0, 0])}/48` : undefined
}

/** So many networks of a site may do as much as each of them may, all together: some customers have one, and others all. */
export const networksPerSite = 16

/** Addresses with the same first bits: `10.0.0.0/8`, `fd00::/8`, or one address. */
export type Network = (address: string) => boolean

/** @returns undefined for what is no network, or has bits set after its length, which is a slip of somebody's hand */
export function parseNetwork(text: string): Network | undefined {
  const [base = '', length, ...more] = text.split('/')
  const bits = bitsOf(base)
  if (bits === undefined || more.length > 0 || (length !== undefined && !/^\d{1,3}$/.test(length))) return undefined
  const width = length === undefined ? bits.length : Number(length)
  if (width > bits.length || bits.slice(width).includes('1')) return undefined
  const start = bits.slice(0, width)
  return address => {
    const asked = bitsOf(address)
    return asked !== undefined && asked.length === bits.length && asked.startsWith(start)
  }
}

/** The one spelling of an address. @returns undefined for what is none */
export function parseAddress(text: string): string | undefined {
  const groups = groupsOf(text)
  return groups && spelled(groups)
}

const mappedStart = [0, 0, 0, 0, 0, 0xffff]

/** Four bytes of IPv4, or eight groups of IPv6; IPv4 within IPv6 is IPv4. */
function groupsOf(text: string): number[] | undefined {
  if (!text.includes(':')) return bytesOf(text)
  const [address = '', zone, ...more] = text.split('%')
  if (more.length > 0 || zone === '') return undefined
  const halves = address.split('::')
  const [before, after, ...others] = halves.map((half, i) => groupsIn(half, i === halves.length - 1))
  if (!before || others.length > 0) return undefined
  if (after === undefined) return halves.length === 1 && before.length === 8 ? unmapped(before) : undefined
  const gap = 8 - before.length - after.length
  return gap < 1 ? undefined : unmapped([...before, ...new Array<number>(gap).fill(0), ...after])
}

const bytePattern = /^(?:0|[1-9]\d{0,2})$/
const groupPattern = /^[\da-f]{1,4}$/i

/** No zeros before a number: some readers take it as octal then. */
function bytesOf(text: string): number[] | undefined {
  const parts = text.split('.')
  if (parts.length !== 4 || !parts.every(part => bytePattern.test(part) && Number(part) < 256)) return undefined
  return parts.map(Number)
}

/** Some groups of IPv6, of which the last two of an address may be written as IPv4. */
function groupsIn(text: string, isEnd: boolean): number[] | undefined {
  if (text === '') return []
  const groups: number[] = []
  const parts = text.split(':')
  for (const [i, part] of parts.entries()) {
    const bytes = isEnd && part.includes('.') && i === parts.length - 1 ? bytesOf(part) : undefined
    if (bytes) groups.push((bytes[0] ?? 0) * 256 + (bytes[1] ?? 0), (bytes[2] ?? 0) * 256 + (bytes[3] ?? 0))
    else if (groupPattern.test(part)) groups.push(Number.parseInt(part, 16))
    else return undefined
  }
  return groups
}

function unmapped(groups: number[]): number[] {
  if (!mappedStart.every((group, i) => groups[i] === group)) return groups
  return groups.slice(6).flatMap(group => [group >> 8, group & 255])
}

function spelled(groups: readonly number[]): string {
  if (groups.length === 4) return groups.join('.')
  // The longest row of zeros is left out, the first of equals, and never a single one (RFC 5952 §4.2).
  let [from, length] = [0, 1]
  for (let start = 0; start < 8; start++) {
    let end = start
    while (groups[end] === 0) end++
    if (end - start > length) [from, length] = [start, end - start]
  }
  const hex = groups.map(group => group.toString(16))
  return length === 1 ? hex.join(':') : `${hex.slice(0, from).join(':')}::${hex.slice(from + length).join(':')}`
}

function bitsOf(address: string): string | undefined {
  const groups = groupsOf(address)
  return groups?.map(group => group.toString(2).padStart(groups.length === 4 ? 8 : 16, '0')).join('')
}
