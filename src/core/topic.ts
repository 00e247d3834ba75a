/** What chats can subscribe to, by the names that people type. A module declares those that it sends to. */
export interface Topic {
  /** `maintenance`: 1–32 small letters, digits and -. */
  readonly name: string
  /** What who subscribes gets, as a sentence without its end, 1–100 characters: `When parts of the service are down on purpose`. */
  readonly summary: string
}

/** As it is typed, and kept with subscriptions and announcements. */
export const topicNameMax = 32

const namePattern = /^[a-z0-9-]{1,32}$/
const summaryMax = 100

/** What is wrong with a topic, as the end of a sentence; undefined when nothing is. `all` is what unsubscribing from every one is called. */
export function topicProblem({ name, summary }: Topic): string | undefined {
  if (!namePattern.test(name) || name === 'all') return `must be named by 1–${topicNameMax} small letters, digits and -, and not all`
  return summary.length === 0 || summary.length > summaryMax ? `must have a summary of 1–${summaryMax} characters` : undefined
}
