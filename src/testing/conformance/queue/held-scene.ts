import type { NewTask } from '@/infra/queue/driver'
import { heldOf, type TestQueue } from './fixture'

const named = (count: number) => Array.from({ length: count }, (_, i) => `member-${String(i).padStart(3, '0')}`)

/** Tasks that wait until others have ended, and those others. */
export function heldScene(newQueue: () => TestQueue) {
  /** Members of one task that waits for them; it comes first unless it is to come later. */
  async function together(count: number, { last = {}, isLate = false }: { last?: Partial<NewTask>; isLate?: boolean } = {}) {
    const queue = newQueue()
    const members = named(count)
    const follower = { id: 'last', wantsResult: true }
    const held = { id: 'last', after: { count, isDoneNeeded: false }, ...last }
    if (!isLate) await queue.enqueue(held)
    await queue.enqueue(...members.map(id => ({ id, follower })))
    return { ...queue, members, enqueueLast: () => queue.enqueue(held) }
  }

  const chain = (ids: readonly string[]): Partial<NewTask>[] =>
    ids.map((id, i) => {
      const next = ids[i + 1]
      return {
        id,
        ...(i > 0 && { after: { count: 1, isDoneNeeded: true } }),
        ...(next !== undefined && { follower: { id: next, wantsResult: true } }),
      }
    })

  async function endAll(queue: TestQueue, how: Parameters<TestQueue['finish']>[1] = { outcome: 'done' }): Promise<string[]> {
    const claimed = await queue.claim(1000)
    await queue.driver.exchange(queue.name, { finish: claimed.map(each => ({ ...heldOf(each), ...how })) })
    return claimed.map(({ id }) => id)
  }

  return { together, chain, endAll }
}
