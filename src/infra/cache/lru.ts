/** One value in memory. */
export interface Copy {
  readonly value: unknown
  readonly version: number
  readonly endsAtMs: number
  renewAtMs: number
  readonly bytes: number
}

/** Copies up to a number of bytes; the least recently used makes room. */
export interface Lru {
  readonly bytes: number
  readonly size: number
  /** Counts as a use. */
  get(key: string): Copy | undefined
  /** Keeps nothing that alone is larger than the whole. */
  set(key: string, copy: Copy): void
  delete(key: string): void
  clear(): void
}

export function createLru(bytesMax: number, evicted: () => void): Lru {
  // A map keeps the order of insertion, and what is used is inserted again: the first is the least recently used.
  const copies = new Map<string, Copy>()
  let bytes = 0

  function remove(key: string) {
    const copy = copies.get(key)
    if (!copy) return
    copies.delete(key)
    bytes -= copy.bytes
  }

  return {
    get bytes() {
      return bytes
    },
    get size() {
      return copies.size
    },
    get(key) {
      const copy = copies.get(key)
      if (!copy) return undefined
      copies.delete(key)
      copies.set(key, copy)
      return copy
    },
    set(key, copy) {
      remove(key)
      if (copy.bytes > bytesMax) return
      copies.set(key, copy)
      bytes += copy.bytes
      for (const oldest of copies.keys()) {
        if (bytes <= bytesMax) break
        remove(oldest)
        evicted()
      }
    },
    delete: remove,
    clear() {
      copies.clear()
      bytes = 0
    },
  }
}
