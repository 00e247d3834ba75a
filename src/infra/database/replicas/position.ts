import type { Written } from '@/core/caller'

/**
 * Positions in a primary's log, as servers write them: `uuid:23` or `uuid:tag:23` on MySQL, `domain-server-23` on MariaDB,
 * several with commas. Each source counts on its own, and a replica commits what is of one source in its order: so who has the
 * later one has the earlier ones.
 */
interface Step {
  source: string
  count: number
  text: string
}

function stepsOf(position: string): Step[] {
  return position.split(',').map(part => {
    const text = part.trim()
    const colon = text.lastIndexOf(':')
    const source = text.slice(0, colon === -1 ? text.indexOf('-') : colon)
    // `uuid:5-9` has come as far as 9.
    const count = Number(text.slice(Math.max(colon, text.lastIndexOf('-')) + 1))
    return { source, count, text }
  })
}

/**
 * What must be there for whoever has made both. A write whose position nobody said has been committed before one that comes
 * after it, so the position of the next will do for both.
 */
export function laterWrite(before: Written, next: Written): Written {
  if (before.position === undefined || next.position === undefined) return next
  return { position: laterPosition(before.position, next.position), atMs: Math.max(before.atMs, next.atMs) }
}

function laterPosition(one: string, other: string): string {
  const steps = new Map(stepsOf(one).map(step => [step.source, step]))
  for (const step of stepsOf(other)) {
    if (step.count > (steps.get(step.source)?.count ?? -1)) steps.set(step.source, step)
  }
  return [...steps.values()].map(({ text }) => text).join(',')
}

/** How far a server is known to have come. */
export interface Progress {
  has(position: string): boolean
  learn(position: string): void
  forget(): void
}

export function createProgress(): Progress {
  const counts = new Map<string, number>()
  return {
    has: position => stepsOf(position).every(({ source, count }) => count <= (counts.get(source) ?? -1)),
    learn(position) {
      for (const { source, count } of stepsOf(position)) counts.set(source, Math.max(count, counts.get(source) ?? -1))
    },
    forget: () => counts.clear(),
  }
}
