import type { Metrics } from '@/core/metrics'
import { type QueueStats, taskStates } from '@/core/queue/admin'
import type { QueueDriver } from '../driver'
import { depthEveryMs, jittered } from './limits'

export interface DepthOptions {
  driver: QueueDriver
  queues: readonly string[]
  metrics: Metrics
  random: () => number
}

/**
 * Shows how full queues are. Each process that works a queue says the same of it, so whoever adds up processes takes the largest. Of a queue
 * that cannot be reached nothing is shown. @returns what ends it
 */
export function showDepth({ driver, queues, metrics, random }: DepthOptions): () => void {
  const seen = new Map<string, Omit<QueueStats, 'queue'>>()
  const ends: (() => void)[] = []
  let timer: ReturnType<typeof setTimeout> | undefined
  let isOver = false

  const show = (name: string, help: string, read: (stats: Omit<QueueStats, 'queue'>) => number) => {
    for (const queue of queues) {
      ends.push(
        metrics.gauge(
          { name, help, labels: ['queue'] },
          () => {
            const stats = seen.get(queue)
            return stats && read(stats)
          },
          { queue },
        ),
      )
    }
  }
  for (const state of taskStates) {
    for (const queue of queues) {
      const spec = { name: 'bingo_queue_tasks', help: 'Tasks that are kept, by state.', labels: ['queue', 'state'] as const }
      ends.push(metrics.gauge(spec, () => seen.get(queue)?.[state], { queue, state }))
    }
  }
  show(
    'bingo_queue_oldest_seconds',
    'Since when the first task in line could have been started; 0 when none waits.',
    ({ oldestWaitingMs = 0 }) => oldestWaitingMs / 1000,
  )
  show('bingo_queue_paused', '1 while nothing of the queue is started.', ({ isPaused }) => (isPaused ? 1 : 0))

  async function look(): Promise<void> {
    for (const queue of queues) {
      try {
        seen.set(queue, await driver.stats(queue))
      } catch {
        // Its calls say loudly enough that it is away.
        seen.delete(queue)
      }
      if (isOver) return
    }
    timer = setTimeout(look, jittered(depthEveryMs, random))
    timer.unref()
  }
  void look()

  return () => {
    isOver = true
    clearTimeout(timer)
    for (const end of ends) end()
  }
}
