/** Tells those of this process who wait for something by its name that it may be there. Those of others look now and then. */
export function createNews() {
  const waiting = new Map<string, Set<() => void>>()
  return {
    tell(name: string): void {
      for (const wake of waiting.get(name) ?? []) wake()
    },
    /** Resolves at the next `tell`, or after so long. `stop` must be called, whatever becomes of it. */
    listen(name: string): { heard(timeoutMs: number): Promise<void>; stop(): void } {
      let next = Promise.withResolvers<void>()
      const wake = () => next.resolve()
      const all = waiting.get(name) ?? new Set()
      waiting.set(name, all.add(wake))
      return {
        async heard(timeoutMs) {
          const timer = setTimeout(wake, timeoutMs)
          await next.promise
          clearTimeout(timer)
          next = Promise.withResolvers()
        },
        stop() {
          all.delete(wake)
          if (all.size === 0 && waiting.get(name) === all) waiting.delete(name)
        },
      }
    },
  }
}
export type News = ReturnType<typeof createNews>
