/** Values of keys that were used lately: of the last `max` keys at least, and of no more than twice as many. */
export interface Recent<V> {
  get(key: string): V | undefined
  set(key: string, value: V): void
}

/** Two generations instead of an order of use: one that is in use costs a single look. */
export function createRecent<V>(max: number): Recent<V> {
  let young = new Map<string, V>()
  let old = new Map<string, V>()
  function set(key: string, value: V) {
    if (young.size >= max) [old, young] = [young, new Map()]
    young.set(key, value)
  }
  return {
    set,
    get(key) {
      const found = young.get(key)
      if (found !== undefined) return found
      const older = old.get(key)
      if (older !== undefined) set(key, older)
      return older
    },
  }
}
