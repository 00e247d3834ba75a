import type { Log } from '@/core/log'
import { beatMax, type Held, type QueueDriver } from '../driver'
import { beatAgainMs, beatEveryMs, jittered } from './limits'

/**
 * Tells the queue that this process still works on its tasks. It lives in a thread of its own, which is told of each claim before
 * a handler of it starts, so that a handler that blocks its thread loses no lease. It knows nothing of handlers: each attempt
 * comes with the time after which nobody vouches for it any more.
 */
export interface Beater {
  vouchFor(claim: LiveClaim): void
  /** All of these claims have ended. */
  over(nonces: readonly string[]): void
  /** Resolves when no call is under way. */
  stop(): Promise<void>
}

/**
 * The tasks of one claim. Texts with a space between, since these pass from thread to thread in a third of the time that lists take,
 * and most are over before anybody looks.
 */
export interface LiveClaim {
  queue: string
  nonce: string
  ids: string
  attempts: string
  /** How long each may be vouched for. */
  limitsMs: string
}

/** What the queue has said. */
export interface BeatNews {
  queue: string
  beaten: Held[]
  lost: Held[]
  cancelled: Held[]
  /** When it was asked, by the monotonic clock of the thread that asked. */
  sentAtMs: number
}

export interface BeaterOptions {
  driver: QueueDriver
  leaseMs: number
  tell(news: BeatNews): void
  log: Log
  random?: () => number
}

/** Of one claim, what has not ended as far as is known. Read when it is looked at for the first time. */
interface Kept {
  claim: LiveClaim
  sinceMs: number
  items?: Item[]
}
interface Item extends Held {
  untilMs: number
}

export function createBeater({ driver, leaseMs, tell, log, random = Math.random }: BeaterOptions): Beater {
  const kept = new Map<string, Kept>()
  let isStopped = false
  let isAway = false
  // The first comes soon, since this one may be in the place of one that has died.
  let timer = setTimeout(beat, jittered(beatAgainMs(leaseMs), random))
  let beating: Promise<unknown> = Promise.resolve()

  function beat(): void {
    beating = Promise.all([...due()].flatMap(([queue, held]) => chunks([...held.values()]).map(chunk => beatOnce(queue, chunk)))).then(
      said => {
        const isAnswered = said.every(Boolean)
        if (isAnswered && isAway) log.info('leases are prolonged again')
        isAway = !isAnswered
        if (!isStopped) timer = setTimeout(beat, jittered(isAnswered ? beatEveryMs(leaseMs) : beatAgainMs(leaseMs), random))
      },
    )
  }

  /** Of each queue what may still be worked on. Of two attempts at one task the later: the one before it has ended. */
  function due(): Map<string, Map<string, Item>> {
    const nowMs = performance.now()
    const queues = new Map<string, Map<string, Item>>()
    for (const [nonce, each] of kept) {
      const { queue } = each.claim
      each.items = (each.items ?? itemsOf(each)).filter(({ untilMs }) => nowMs < untilMs)
      if (each.items.length === 0) kept.delete(nonce)
      const held = queues.get(queue) ?? new Map<string, Item>()
      for (const item of each.items) held.set(item.id, item)
      queues.set(queue, held)
    }
    return queues
  }

  /** @returns whether there was an answer */
  async function beatOnce(queue: string, items: readonly Item[]): Promise<boolean> {
    const held = items.map(({ id, attempt, nonce }) => ({ id, attempt, nonce }))
    const sentAtMs = performance.now()
    try {
      const reply = await driver.beat(queue, leaseMs, held)
      const lost = new Set(reply.lost)
      const cancelled = new Set(reply.cancelled)
      for (const { id, nonce } of held) if (lost.has(id)) drop(nonce, id)
      tell({
        queue,
        beaten: held.filter(({ id }) => !lost.has(id)),
        lost: held.filter(({ id }) => lost.has(id)),
        cancelled: held.filter(({ id }) => cancelled.has(id)),
        sentAtMs,
      })
      return true
    } catch (thrown) {
      if (!isAway) log.warn('leases cannot be prolonged', { queue, err: thrown })
      isAway = true
      return false
    }
  }

  /** Lost, or ended long ago: nobody said so, since most claims are over as a whole before the next beat. */
  function drop(nonce: string, id: string): void {
    const found = kept.get(nonce)
    if (!found?.items) return
    found.items = found.items.filter(item => item.id !== id)
    if (found.items.length === 0) kept.delete(nonce)
  }

  return {
    vouchFor: claim => void kept.set(claim.nonce, { claim, sinceMs: performance.now() }),
    over(nonces) {
      for (const nonce of nonces) kept.delete(nonce)
    },
    async stop() {
      isStopped = true
      clearTimeout(timer)
      await beating
    },
  }
}

function itemsOf({ claim, sinceMs }: Kept): Item[] {
  const attempts = claim.attempts.split(' ')
  const limitsMs = claim.limitsMs.split(' ')
  return claim.ids
    .split(' ')
    .map((id, i) => ({ id, attempt: Number(attempts[i]), nonce: claim.nonce, untilMs: sinceMs + Number(limitsMs[i]) }))
}

const chunks = <T>(items: readonly T[]): T[][] =>
  Array.from({ length: Math.ceil(items.length / beatMax) }, (_, i) => items.slice(i * beatMax, (i + 1) * beatMax))
