import type { SqlRow } from '@/core/database'
import type { Held } from '../driver'

/** In which lanes those are that this process has claimed and not finished, so that their ends need not ask the table. */
export interface KnownAttempts {
  keep(queue: string, nonce: string, row: SqlRow, lane: string): void
  /** @returns undefined when it is not known */
  laneOf(queue: string, held: Held): string | undefined
  forget(queue: string, held: Held): void
}

/** Those of other processes are not known either. */
const attemptsMax = 20_000

export function knownAttempts(): KnownAttempts {
  const lanes = new Map<string, string>()
  return {
    keep(queue, nonce, row, lane) {
      const [oldest] = lanes.size >= attemptsMax ? lanes.keys() : []
      if (oldest !== undefined) lanes.delete(oldest)
      lanes.set(keyOf(queue, nonce, String(row['id'])), lane)
    },
    laneOf: (queue, { nonce, id }) => lanes.get(keyOf(queue, nonce, id)),
    forget: (queue, { nonce, id }) => void lanes.delete(keyOf(queue, nonce, id)),
  }
}

const keyOf = (queue: string, nonce: string, id: string) => `${queue} ${nonce} ${id}`
