import type { ClaimLimits, QueueDriver } from '@/infra/queue/driver'

/** One call of the queue on Redis, of which only a part of the writes is kept. */
export interface TornScene {
  name: string
  /** @returns what `act` needs */
  prepare(driver: QueueDriver): Promise<unknown>
  act(driver: QueueDriver, prepared: never): Promise<unknown>
  /**
   * How often each task, or line of a group, may be worked on afterwards, the least and the most: `[1, 1]` of what must neither be lost nor
   * doubled.
   */
  runs: Record<string, [number, number]>
  /** Tasks that may be dead letters, or done and kept, instead. */
  mayDie?: readonly string[]
  /** Whether `act` is said again after the cut, as the driver does when no answer came. */
  isSaidAgain?: boolean
  /** Of those who work afterwards. */
  limits?: ClaimLimits
}
