import { addressOf, type Located, networkOf, networksPerSite, siteOf } from '@/core/address'
import type { Config } from '@/core/config/settings'
import { actorOf, type Anonymous, type Identity, subjectOf } from '@/core/identity'
import type { Metrics } from '@/core/metrics'
import { type RateClass, type RateLimits, rateErrors } from '@/core/rate-limit'
import type { Leases } from './leases'
import type { Span } from './ledger'

interface Tools {
  leases: Leases
  metrics: Metrics
  span: Span
  nowMs: () => number
}

type Known = Exclude<Identity, Anonymous>

/**
 * Which limits a request counts against. Of callers whom nobody knows all that come from one network share one, and those of all
 * networks of an IPv6 site have sixteen times as much; of a user all sessions and keys share one, so that making keys gives nothing; a
 * key for which a number was said has that one besides, and that of a service instead. What tries credentials counts for its address
 * whoever sends it: with many accounts nobody tries more of them.
 */
export function createRateLimits(limits: Config['limit'], { leases, metrics, span, nowMs }: Tools): RateLimits {
  const refusals = metrics.counter({
    name: 'bingo_rate_limit_refusals_total',
    help: 'Requests that were answered 429, since their caller had made too many.',
    labels: ['limit'],
  })
  const perMinute: Record<RateClass, number> = {
    read: limits.readPerMinute,
    write: limits.writePerMinute,
    credentials: limits.credentialsPerMinute,
  }
  const windowSeconds = Math.round(span.windowMs / 1000)

  function charge(name: string, whose: string, limit: number, headers: Record<string, unknown>): void | Promise<void> {
    if (limit === 0) return
    const key = `${name}:${whose}`
    const taken = leases.take(key, limit)
    if (typeof taken !== 'boolean') return taken.then(isThere => settle(isThere, name, key, limit, headers))
    settle(taken, name, key, limit, headers)
  }

  /** Its network, and of IPv6 the site that this is in, of which one network cannot use up much. */
  function chargeAddress(name: string, request: Request | Located, limit: number, headers: Record<string, unknown>): void | Promise<void> {
    if (limit === 0) return
    const address = addressOf(request)
    const charged = charge(name, networkOf(address), limit, headers)
    const site = siteOf(address)
    if (site === undefined) return charged
    const ofSite = () => charge(`${name}-site`, site, limit * networksPerSite, headers)
    return charged ? charged.then(ofSite) : ofSite()
  }

  function settle(isThere: boolean, name: string, key: string, limit: number, headers: Record<string, unknown>) {
    const { remaining, left, freedAtMs } = leases.standing(key) ?? nothing
    const freedSeconds = Math.max(1, Math.ceil((freedAtMs - nowMs()) / 1000))
    add(headers, 'ratelimit-policy', `"${name}";q=${limit};w=${windowSeconds}`)
    add(headers, 'ratelimit', `"${name}";r=${remaining + left};t=${freedSeconds}`)
    if (isThere) return
    refusals.with({ limit: name }).add()
    throw rateErrors.RateLimit({ retryAfterSeconds: freedSeconds })
  }

  function take(
    rateClass: RateClass,
    identity: Identity,
    request: Request | Located,
    headers: Record<string, unknown>,
  ): void | Promise<void> {
    if (identity.kind === 'anonymous') {
      if (rateClass === 'credentials') return chargeAddress('credentials', request, perMinute.credentials, headers)
      return chargeAddress('anonymous', request, limits.anonymousPerMinute, headers)
    }
    if (rateClass !== 'credentials') return takeOwn(rateClass, perMinute[rateClass], identity, headers)
    const ofAddress = chargeAddress('credentials', request, perMinute.credentials, headers)
    const own = () => takeOwn('credentials-caller', perMinute.credentials, identity, headers)
    return ofAddress ? ofAddress.then(own) : own()
  }

  function takeOwn(name: string, limit: number, identity: Known, headers: Record<string, unknown>): void | Promise<void> {
    if (identity.kind !== 'apiKey') return charge(name, actorOf(identity) as string, limit, headers)
    const { id, userId, requestsPerMinute } = identity
    const whose = userId === undefined ? subjectOf('apiKey', id) : subjectOf('user', userId)
    if (requestsPerMinute === undefined) return charge(name, whose, limit, headers)
    const ofKey = charge('key', subjectOf('apiKey', id), requestsPerMinute, headers)
    if (userId === undefined) return ofKey
    return ofKey ? ofKey.then(() => charge(name, whose, limit, headers)) : charge(name, whose, limit, headers)
  }

  const takeInvalid = (request: Request | Located, headers: Record<string, unknown>): void | Promise<void> =>
    chargeAddress('invalid', request, limits.anonymousPerMinute, headers)

  function admit(request: Request | Located, headers: Record<string, unknown>): void {
    const limit = limits.anonymousPerMinute
    if (limit === 0) return
    const address = addressOf(request)
    refuseSpent('invalid', networkOf(address), limit, headers)
    const site = siteOf(address)
    if (site !== undefined) refuseSpent('invalid-site', site, limit * networksPerSite, headers)
  }

  function refuseSpent(name: string, whose: string, limit: number, headers: Record<string, unknown>): void {
    const key = `${name}:${whose}`
    if (leases.isSpent(key)) settle(false, name, key, limit, headers)
  }

  return { take, admit, takeInvalid }
}

const nothing = { remaining: 0, left: 0, freedAtMs: 0 }

/** Of several limits each is an item of the list. */
function add(headers: Record<string, unknown>, name: string, item: string): void {
  headers[name] = headers[name] === undefined ? item : `${headers[name]}, ${item}`
}
