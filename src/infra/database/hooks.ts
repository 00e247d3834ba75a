import { withDeadline } from '@/core/deadline'
import type { Log } from '@/core/log'
import type { Hook } from '@/core/database'

/** How long the caller of a transaction waits for each thing to be done after it. */
const hookLimitMs = 2000

/** Runs hooks one after another. One that fails or takes too long is logged: what is committed stays so. */
export async function runHooks(hooks: readonly Hook[], log: Log): Promise<void> {
  for (const hook of hooks) {
    try {
      await withDeadline(
        (async () => hook())(),
        hookLimitMs,
        () => new Error(`it took longer than ${hookLimitMs} ms, and goes on by itself`),
      )
    } catch (err) {
      log.error('an afterCommit hook failed', { err })
    }
  }
}
