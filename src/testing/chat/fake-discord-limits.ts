import type { DiscordCall } from './fake-discord'

/** What a fake Discord says of its limits, whether a test has asked for it or somebody asks too much, and who does not heed it. */
export interface DiscordLimits {
  /** Calls that came while they were to wait. */
  early: DiscordCall[]
  /** Of each wait that is over, how many milliseconds after its end the first call came. */
  lateMs: number[]
  script(count: number, where: string, script: Script): void
  /** @returns undefined where the connection is to end without one */
  answer(call: DiscordCall, work: () => Answer): Promise<Answer | undefined>
}

export interface Answer {
  status: number
  body?: unknown
  headers?: Record<string, string>
}

export interface Script {
  /** 500, 403, 429 …; what the call deserves when absent. */
  status?: number
  /** Of 429, as a fraction. The header says whole seconds, as Discord's. */
  retryAfterSeconds?: number
  /** Whose limit it is; `user`, which is of the route, when absent. `global` is of the whole bot. */
  scope?: 'user' | 'shared' | 'global'
  body?: unknown
  /** Waits before it does anything. */
  delayMs?: number
  /** Does what was asked, and ends the connection without an answer. */
  drops?: boolean
}

export type LimitSizes = Record<'channelMessages' | 'channelWindowMs' | 'globalCalls', number>

interface Wait {
  sinceMs: number
  untilMs: number
  isOver: boolean
}
interface Bucket {
  startMs: number
  used: number
}

const underWayMs = 50
const globalWindowMs = 1000

export function createDiscordLimits({ channelMessages, channelWindowMs, globalCalls }: LimitSizes): DiscordLimits {
  const scripts: { left: number; where: string; script: Script }[] = []
  const waits = new Map<string, Wait>()
  const buckets = new Map<string, Bucket>()
  const early: DiscordCall[] = []
  const lateMs: number[] = []

  /** Of the token in a path there is no limit of the bot. */
  const keysOf = ({ method, path }: DiscordCall) => (path.startsWith('/webhooks/') ? [] : ['global']).concat(`${method} ${path}`)

  function heed(call: DiscordCall): Wait | undefined {
    const own = keysOf(call).flatMap(key => waits.get(key) ?? [])
    const active = own.find(({ untilMs }) => call.atMs < untilMs)
    if (active) return active
    // Whoever waits for two waits for the longer one.
    if (own.some(({ isOver }) => !isOver)) lateMs.push(call.atMs - Math.max(...own.map(({ untilMs }) => untilMs)))
    for (const wait of own) wait.isOver = true
    return undefined
  }

  function limited(call: DiscordCall, seconds: number, scope: NonNullable<Script['scope']>): Answer {
    const key = scope === 'global' ? 'global' : `${call.method} ${call.path}`
    const untilMs = performance.now() + seconds * 1000
    waits.set(key, { sinceMs: performance.now(), untilMs: Math.max(untilMs, waits.get(key)?.untilMs ?? 0), isOver: false })
    const headers = {
      'retry-after': String(Math.ceil(seconds)),
      'x-ratelimit-scope': scope,
      ...(scope === 'global' && { 'x-ratelimit-global': 'true' }),
      // What others use up is not in the numbers of the bot.
      ...(scope === 'shared' && { 'x-ratelimit-limit': '5', 'x-ratelimit-remaining': '4', 'x-ratelimit-reset-after': '0.1' }),
    }
    const body = { message: 'You are being rate limited.', retry_after: seconds, global: scope === 'global' }
    return { status: 429, headers, body }
  }

  /** @returns whether one is left */
  function take(key: string, limit: number, windowMs: number): { left: number; resetMs: number } {
    const now = performance.now()
    const found = buckets.get(key)
    const bucket = found && now < found.startMs + windowMs ? found : { startMs: now, used: 0 }
    buckets.set(key, bucket)
    bucket.used++
    return { left: limit - bucket.used, resetMs: bucket.startMs + windowMs - now }
  }

  function natural(call: DiscordCall, work: () => Answer): Answer {
    const isOfChannel = /^\/channels\/\d+\/messages$/.test(call.path)
    if (!call.path.startsWith('/webhooks/')) {
      const { left, resetMs } = take('global', globalCalls, globalWindowMs)
      if (left < 0) return limited(call, resetMs / 1000, 'global')
    }
    const bucket = isOfChannel ? take(call.path, channelMessages, channelWindowMs) : undefined
    if (bucket && bucket.left < 0) return limited(call, bucket.resetMs / 1000, 'user')
    const { status, body } = work()
    const headers = bucket && {
      'x-ratelimit-limit': String(channelMessages),
      'x-ratelimit-remaining': String(bucket.left),
      'x-ratelimit-reset-after': (bucket.resetMs / 1000).toFixed(3),
      'x-ratelimit-bucket': 'abcd1234',
    }
    return { status, body, ...(headers && { headers }) }
  }

  function next({ method, path }: DiscordCall): Script | undefined {
    const found = scripts.find(({ left, where }) => left > 0 && `${method} ${path}`.startsWith(where))
    if (found) found.left--
    return found?.script
  }

  return {
    early,
    lateMs,
    script: (count, where, script) => void scripts.push({ left: count, where, script }),
    async answer(call, work) {
      const wait = heed(call)
      if (wait) {
        // Of other chats some were under way when the bot was told.
        const isKnown = wait !== waits.get('global') || call.atMs - wait.sinceMs > underWayMs
        if (isKnown) early.push(call)
        return limited(call, (wait.untilMs - performance.now()) / 1000, 'user')
      }
      const script = next(call)
      if (script?.delayMs !== undefined) await Bun.sleep(script.delayMs)
      if (script?.drops) {
        work()
        return undefined
      }
      if (script?.status === 429) return limited(call, script.retryAfterSeconds ?? 1, script.scope ?? 'user')
      if (script?.status !== undefined) return { status: script.status, body: script.body ?? { message: 'no' } }
      return natural(call, work)
    },
  }
}
