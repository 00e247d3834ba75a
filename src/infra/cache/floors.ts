import { type Known, rememberedMs, type Timing } from './timing'

/**
 * What the last writes said, for longer than any load takes: what is older is not kept, even where the copy itself had to make
 * room meanwhile.
 */
export interface Floors {
  get(key: string): Known | undefined
  set(key: string, known: Known): void
  /** Whether a write of a key that is not here may have been forgotten: for want of room, or with everything else. */
  isForgetful(): boolean
  clear(): void
}

/** About 2 MB of them. */
const floorsMax = 10_000

export function createFloors(timing: Timing): Floors {
  // In the order of their time, since all are kept as long.
  const floors = new Map<string, Known & { untilMs: number }>()
  let forgetfulUntilMs = 0

  return {
    get(key) {
      const found = floors.get(key)
      return found && timing.nowMs() < found.untilMs ? found : undefined
    },
    set(key, { version, isAbsent }) {
      const now = timing.nowMs()
      floors.delete(key)
      for (const [oldest, { untilMs }] of floors) {
        if (untilMs > now && floors.size < floorsMax) break
        if (untilMs > now) forgetfulUntilMs = untilMs
        floors.delete(oldest)
      }
      floors.set(key, { version, isAbsent, untilMs: now + rememberedMs })
    },
    isForgetful: () => timing.nowMs() < forgetfulUntilMs,
    clear() {
      floors.clear()
      forgetfulUntilMs = timing.nowMs() + rememberedMs
    },
  }
}
