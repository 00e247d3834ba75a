/**
 * The outcome of `work`, or what `late` makes when it takes longer than `limitMs`. The work itself goes on; whoever starts it
 * must be able to live with that.
 */
export async function withDeadline<T>(work: Promise<T>, limitMs: number, late: () => Error): Promise<T> {
  const over = Promise.withResolvers<never>()
  const timer = setTimeout(() => over.reject(late()), limitMs)
  try {
    return await Promise.race([work, over.promise])
  } finally {
    clearTimeout(timer)
  }
}
