/** Places that are taken and left: so many of all, and so many by each who takes some, so that nobody takes those of the others. */
export interface Places {
  readonly size: number
  /** @returns how to leave the place, once; undefined when there is none */
  take(who: string): (() => void) | undefined
}

export function createPlaces({ max = Number.POSITIVE_INFINITY, eachMax }: { max?: number; eachMax: number }): Places {
  const taken = new Map<string, number>()
  let size = 0

  function leave(who: string): void {
    size--
    const left = (taken.get(who) ?? 1) - 1
    if (left > 0) taken.set(who, left)
    else taken.delete(who)
  }

  return {
    get size() {
      return size
    },
    take(who) {
      const before = taken.get(who) ?? 0
      if (size >= max || before >= eachMax) return undefined
      taken.set(who, before + 1)
      size++
      return () => leave(who)
    },
  }
}
