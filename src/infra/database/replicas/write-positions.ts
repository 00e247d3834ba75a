import { ownWritesMs, type WritePositions, type Written } from '@/core/caller'
import type { Clock } from '@/core/clock'
import { laterWrite } from './position'

/** Beyond it the actor whose last write is longest ago is forgotten, and may for a moment not see that write. */
const actorsMax = 10_000

/** The last writes of the actors of this process alone. */
export function memoryWritePositions(clock: Clock): WritePositions {
  // In the order of writing, so the first is the oldest.
  const last = new Map<string, Written>()
  const isOver = ({ atMs }: Written) => clock.nowMs() - atMs >= ownWritesMs
  return {
    async note(actor, written) {
      const before = last.get(actor)
      last.delete(actor)
      last.set(actor, before && !isOver(before) ? laterWrite(before, written) : written)
      for (const [oldest, its] of last) {
        if (last.size <= actorsMax && !isOver(its)) break
        last.delete(oldest)
      }
    },
    async of(actor) {
      const written = last.get(actor)
      return written && !isOver(written) ? written : undefined
    },
  }
}
