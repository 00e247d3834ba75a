import { type Cache, type CacheChange, type CacheEntry, type CacheRule, renewAfter } from '@/core/cache'
import type { Cipher } from '@/core/seal'
import { type RedisConnection, type RedisScript, RedisTimeout } from '../redis'
import { createBreaker } from './breaker'
import { createFlights } from './flights'
import type { Found } from './memory'
import { type CacheMetrics, countedLoad } from './metrics'
import { fillScript, readScript, writeScript } from './scripts'
import { createSuspects, type Suspect } from './suspects'
import { isOlder, type Known, lifeOf, rememberedMs, saysVersion, systemTiming, type Timing, unknownVersion } from './timing'
import { absent, createWire, versionOnly } from './wire'

/** Copies in Redis, for all processes. Whatever becomes of Redis, what is asked here is answered, from `load` if need be. */
export interface RedisCache extends Cache {
  /** Like `fetch`, for a level above that joins by itself those who ask at the same time. */
  find<T>(key: string, load: () => Promise<CacheEntry<T>>, rule: CacheRule<T>): Promise<Found<T>>
  /** Where the writes of all processes on a server are said. */
  channelOf(runId: string): string
  /** The keys that a message on the channel says are changed: none when it is our own, undefined when it cannot be read. */
  changedKeys(message: string): readonly string[] | undefined
}

export interface RedisCacheOptions {
  connection: RedisConnection
  /** Hides what belongs to secret rules, and what is said on the channel. */
  cipher: Cipher
  /** How long one call may take. */
  timeoutMs: number
  metrics: CacheMetrics
  timing?: Timing
}

/** How long one loader may take before others no longer wait for it; what it brings later fills nothing. */
const leaseMs = 3000
/** How long a reader waits for another process that loads; then it loads for itself. */
const leaseWaitMs = 1000
/** Between two looks at a lease: doubled up to the most, and up to a half less. */
const leasePauseMs = { min: 4, max: 50 }
const failuresMax = 5
const breakerPauseMs = 500
/** Between two attempts to tell Redis what it missed; up to a half less. */
const retellPauseMs = 500
/** After a renewal that failed, how long before the next. */
const renewPauseMs = 1000
/** So many keys in one script, since nothing else runs on the server meanwhile. */
const keysMax = 100

type Load<T> = () => Promise<CacheEntry<T>>

interface Lease {
  token: string
  /** What Redis knows of the row, while it has no copy of it. */
  known: Known | undefined
}
interface Hit {
  kind: 'hit'
  version: number
  leftMs: number
  data: string
  /** Of the lease under which this reader is to renew it. */
  token: string | undefined
}
type Look = Hit | ({ kind: 'leased' } & Lease) | ({ kind: 'busy' | 'full' } & Pick<Lease, 'known'>)

/** What is known to be old is nothing to keep. */
const judged = <T>(entry: CacheEntry<T>, known: Known | undefined): Found<T> =>
  known && entry.value !== undefined && isOlder(entry.version, known) ? { ...entry, keepMs: 0 } : entry

export function redisCache({ connection, cipher, timeoutMs, metrics, timing = systemTiming }: RedisCacheOptions): RedisCache {
  const instance = crypto.randomUUID()
  const wire = createWire(cipher)
  const flights = createFlights(timing)
  const suspects = createSuspects(timing)
  const breaker = createBreaker({ failuresMax, pauseMs: breakerPauseMs, onOpen: metrics.breakerOpened.add, timing })
  let leases = 0
  let retelling: Timer | undefined
  let isRetelling = false
  let isClosed = false

  metrics.gauge({ name: 'bingo_cache_breaker_state', help: '0 closed, 1 half-open, 2 open: Redis is not asked.' }, () =>
    ['closed', 'half-open', 'open'].indexOf(breaker.state),
  )
  metrics.gauge({ name: 'bingo_cache_suspects', help: 'Keys of whose change Redis has not been told.' }, () => suspects.size)

  interface Words {
    script: RedisScript
    keys: string[]
    args: (string | number)[]
    /** Takes an answer that came too late. */
    late?: (reply: unknown) => void
  }
  /** What Redis answers, or undefined when it is not asked, fails, or takes too long. */
  async function ask(words: (runId: string) => Words): Promise<unknown> {
    if (isClosed || !breaker.allows()) return undefined
    try {
      if (connection.runId === undefined) throw new Error('there is no server')
      const { script, keys, args, late } = words(connection.runId)
      const reply = await connection.run(timeoutMs, script, keys, args, late)
      breaker.succeeded()
      return reply
    } catch (thrown) {
      breaker.failed()
      if (thrown instanceof RedisTimeout) metrics.timeout.add()
      else metrics.failed.add()
      return undefined
    }
  }

  async function look(key: string, isSecret: boolean): Promise<Look | undefined> {
    const token = `${instance}:${leases++}`
    const reply = await ask(runId => ({
      script: readScript,
      keys: wire.keysOf(runId, key, isSecret),
      args: [token, leaseMs],
      // Nobody will use the lease, and others would wait for it.
      late: answer => {
        const [kind, , , , isMine] = answer as unknown[]
        if (kind === 2 || isMine === 1) void endLease(key, isSecret, token)
      },
    }))
    if (!Array.isArray(reply)) return undefined
    const [kind, version, data, leftMs, isMine] = reply
    if (kind === 1) return { kind: 'hit', version: Number(version), leftMs: Number(leftMs), data, token: isMine === 1 ? token : undefined }
    const known = version === '' || Number(version) === unknownVersion ? undefined : { version: Number(version), isAbsent: data === absent }
    return kind === 2 ? { kind: 'leased', token, known } : { kind: kind === 3 ? 'busy' : 'full', known }
  }

  const endLease = (key: string, isSecret: boolean, token: string) =>
    ask(runId => ({ script: fillScript, keys: wire.keysOf(runId, key, isSecret), args: [token, leaseMs, renewPauseMs] }))

  /** Loads under a lease and fills. The reader does not wait for the filling. */
  async function loadLeased<T>(key: string, load: Load<T>, rule: CacheRule<T>, { token, known }: Lease): Promise<Found<T>> {
    try {
      const entry = await countedLoad(load, metrics)
      // What cannot be packed is not kept.
      fill(key, entry, rule, token).catch(metrics.unreadable.add)
      return judged(entry, known)
    } catch (thrown) {
      void endLease(key, rule.isSecret, token)
      throw thrown
    }
  }

  async function fill<T>(key: string, entry: CacheEntry<T>, rule: CacheRule<T>, token: string): Promise<void> {
    const data = wire.dataOf(key, entry.value, rule)
    if (data === undefined) return void (await endLease(key, rule.isSecret, token))
    const lifeMs = Math.floor(lifeOf(entry, rule, timing.random))
    const reply = await ask(runId => ({
      script: fillScript,
      keys: wire.keysOf(runId, key, rule.isSecret),
      args: [token, leaseMs, renewPauseMs, entry.version, lifeMs, Math.floor(lifeMs * renewAfter), data],
    }))
    if (reply === 0) metrics.redis.refused.add()
  }

  async function find<T>(key: string, load: Load<T>, rule: CacheRule<T>): Promise<Found<T>> {
    const deadlineMs = timing.nowMs() + leaseWaitMs
    for (let pauseMs = leasePauseMs.min; ; pauseMs = Math.min(2 * pauseMs, leasePauseMs.max)) {
      const seen = suspects.has(key) ? undefined : await look(key, rule.isSecret)
      if (seen?.kind === 'leased') {
        metrics.redis.miss.add()
        return loadLeased(key, load, rule, seen)
      }
      if (seen?.kind === 'hit') {
        const found = await read(key, seen, rule)
        if (!found) return countedLoad(load, metrics)
        metrics.redis.hit.add()
        // Whoever reads after the copy has ended sees the failure, if it lasts.
        if (seen.token) loadLeased(key, load, rule, { token: seen.token, known: undefined }).catch(() => {})
        return found
      }
      if (seen?.kind !== 'busy' || timing.nowMs() >= deadlineMs) {
        metrics.redis.bypass.add()
        return judged(await countedLoad(load, metrics), seen?.known)
      }
      await Bun.sleep(pauseMs * (1 - timing.random() / 2))
    }
  }

  async function read<T>(key: string, hit: Hit, rule: CacheRule<T>): Promise<Found<T> | undefined> {
    try {
      return { version: hit.version, value: wire.valueOf(key, hit.data, rule), keepMs: hit.leftMs }
    } catch {
      metrics.unreadable.add()
      await tell([{ key, isSecret: rule.isSecret, version: undefined, isAbsent: false, untilMs: 0 }])
      return undefined
    }
  }

  type Said = [key: string, isSecret: boolean, words: (string | number)[]]

  function said<T>({ key, entry, rule }: CacheChange<T>): Said {
    if (!saysVersion(entry)) return [key, rule.isSecret, ['', 0, 0, '']]
    const data = wire.dataOf(key, entry.value, rule)
    if (data === undefined) return [key, rule.isSecret, [entry.version, 0, 0, versionOnly]]
    const lifeMs = Math.floor(lifeOf(entry, rule, timing.random))
    return [key, rule.isSecret, [entry.version, lifeMs, Math.floor(lifeMs * renewAfter), data]]
  }

  /** @returns whether Redis has done it; it says the keys on the channel then */
  async function change(changes: readonly Said[]): Promise<boolean> {
    const message = wire.messageOf(
      instance,
      changes.map(([key]) => key),
    )
    const reply = await ask(runId => ({
      script: writeScript,
      keys: changes.flatMap(([key, isSecret]) => wire.keysOf(runId, key, isSecret)),
      args: [wire.channelOf(runId), message, rememberedMs, ...changes.flatMap(([, , words]) => words)],
    }))
    return reply === 1
  }

  /** Only that there was a change: what has become of it meanwhile is not known here. */
  const tell = (missed: readonly Suspect[]) =>
    change(missed.map(({ key, isSecret, version = '', isAbsent }) => [key, isSecret, [version, 0, 0, isAbsent ? absent : versionOnly]]))

  function retellSoon() {
    if (isClosed || retelling || isRetelling || suspects.size === 0) return
    retelling = setTimeout(retell, retellPauseMs * (1 - timing.random() / 2))
    retelling.unref()
  }

  async function retell() {
    clearTimeout(retelling)
    retelling = undefined
    if (isRetelling) return
    isRetelling = true
    for (let batch = suspects.next(keysMax); batch.length > 0; batch = suspects.next(keysMax)) {
      if (!(await tell(batch))) break
      suspects.clear(batch)
    }
    isRetelling = false
    retellSoon()
  }

  connection.onChange(runId => {
    if (runId !== undefined && suspects.size > 0) void retell()
  })

  return {
    find,
    fetch: async (key, load, rule) => {
      const { value } = await flights.join(key, () => find(key, load, rule))
      return value === undefined ? undefined : rule.copy(value)
    },
    async write(changes) {
      metrics.changedHere.add(changes.length)
      for (let i = 0; i < changes.length; i += keysMax) {
        const some = changes.slice(i, i + keysMax)
        if (await change(some.map(said))) continue
        for (const missed of some) suspects.add(missed)
      }
      // Only now: who began to read before Redis knew may have been given what was there before.
      for (const { key } of changes) flights.void(key)
      retellSoon()
    },
    channelOf: wire.channelOf,
    changedKeys(message) {
      const read = wire.readMessage(message)
      return read?.from === instance ? [] : read?.keys
    },
    async close() {
      isClosed = true
      clearTimeout(retelling)
      flights.voidAll()
    },
  }
}
