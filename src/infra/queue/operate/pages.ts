import type { TaskState } from '@/core/queue/admin'
import type { QueueDriver, StoredTask } from '../driver'

/** Few enough that a script of Redis takes a few milliseconds. */
const pageTasks = 100

/** Where a walk through a list goes on: behind the task that is kept back. */
export interface Place {
  cursor: string
  keptId: string
}

export interface TasksPage {
  tasks: StoredTask[]
  /** Absent on the last. */
  next?: Place
}

/**
 * All tasks of a state, a page at a time, while those of the pages before are taken away.
 *
 * A page begins behind the last task of the one before. So that one is kept back until its page is read: it comes first in the next.
 * Otherwise a list could only begin anew. When somebody else has taken it, some may come twice.
 * @param from what an earlier walk has said
 */
export async function* pagesOf(driver: QueueDriver, queue: string, state: TaskState, from?: Place): AsyncGenerator<TasksPage> {
  let cursor = from?.cursor
  const kept = from && (await driver.show(queue, from.keptId))
  let last: StoredTask | undefined = kept?.state === state ? kept : undefined
  let before = new Set(from ? [from.keptId] : [])
  do {
    const page: Awaited<ReturnType<QueueDriver['list']>> = await driver.list(queue, state, pageTasks, cursor)
    const tasks = page.tasks.filter(({ id }) => !before.has(id))
    before = new Set(page.tasks.map(({ id }) => id))
    if (last) tasks.unshift(last)
    cursor = page.cursor
    last = cursor === undefined ? undefined : tasks.pop()
    yield cursor === undefined || !last ? { tasks } : { tasks, next: { cursor, keptId: last.id } }
  } while (cursor !== undefined)
}
