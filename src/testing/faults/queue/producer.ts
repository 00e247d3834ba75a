import type { ClaimLimits, NewTask } from '@/infra/queue/driver'
import type { Asked } from './audit'
import type { QueueScene } from './scene'

/**
 * Callers that enqueue until told to stop, and keep what they were told. Half of them bring ids of their own, which are kept: when
 * nobody knows, they say the same again, as callers may. The others do not, so their tasks may be there or not.
 */
export interface Producer extends Asked {
  /** Ids that are kept. */
  keptIds: ReadonlySet<string>
  readonly refused: number
  /** Resolves when so many have been accepted in all. */
  accepts(count: number): Promise<void>
  /** Enqueues at least as many as were asked for, and then no more. */
  stop(): Promise<void>
}

export interface ProducerOptions {
  callers: number
  /** So many are accepted before `stop` resolves. */
  least: number
  /** Between two calls of one caller. */
  pauseMs: number
  taskMsMax: number
  delayMsMax: number
}

/** Half of what is enqueued is of one of so many tenants, and of one call in five the last task waits for the first. */
const tenants = 5
const pairOdds = 0.2
/** For the workers of such tasks: so many of a tenant at a time. */
export const tenantLimits: ClaimLimits = { lanes: { tenant: { concurrency: 8 } } }

export function startProducer(scene: QueueScene, { callers, least, pauseMs, taskMsMax, delayMsMax }: ProducerOptions): Producer {
  const accepted = new Set<string>()
  const maybe = new Set<string>()
  const keptIds = new Set<string>()
  const waiting = new Set<{ count: number; resolve(): void }>()
  let refused = 0
  let isOver = false
  let n = 0
  const below = (most: number) => Math.floor(Math.random() * (most + 1))

  function some(isIdKept: boolean): NewTask[] {
    const tasks = Array.from({ length: 1 + below(7) }, () => {
      const over = { isIdKept, priority: below(9), delayMs: Math.random() < 0.2 ? below(delayMsMax) : 0 }
      const lane = Math.random() < 0.5 && { lane: `tenant/${below(tenants - 1)}` }
      return scene.newTask('note', { n: n++, ms: below(taskMsMax) }, { ...over, ...lane })
    })
    const [first] = tasks
    const last = tasks.at(-1)
    if (first && last && first !== last && Math.random() < pairOdds) {
      first.follower = { id: last.id, wantsResult: false }
      last.after = { count: 1, isDoneNeeded: false }
    }
    return tasks
  }

  async function call(tasks: readonly NewTask[], isIdKept: boolean): Promise<void> {
    for (;;) {
      try {
        await scene.driver.enqueue(scene.queue, tasks)
        for (const { id } of tasks) accepted.add(id)
        for (const each of waiting) if (accepted.size >= each.count) each.resolve()
        return
      } catch {
        refused++
        await Bun.sleep(pauseMs)
        if (isIdKept) continue
        for (const { id } of tasks) maybe.add(id)
        return
      }
    }
  }

  async function caller(isIdKept: boolean): Promise<void> {
    while (!isOver || accepted.size < least) {
      const tasks = some(isIdKept)
      if (isIdKept) for (const { id } of tasks) keptIds.add(id)
      await call(tasks, isIdKept)
      await Bun.sleep(pauseMs)
    }
  }

  const calling = Promise.all(Array.from({ length: callers }, (_, i) => caller(i % 2 === 0)))
  return {
    ...{ accepted, maybe, keptIds },
    get refused() {
      return refused
    },
    accepts: count => (accepted.size >= count ? Promise.resolve() : new Promise(resolve => void waiting.add({ count, resolve }))),
    async stop() {
      isOver = true
      await calling
    },
  }
}
