import { backoffMs } from '@/core/backoff'
import { TaskAborted } from '@/core/queue/task'
import { isPassing } from '../driver'
import { awayMs } from './limits'
import type { Run } from './run'

/** Asks on behalf of an attempt until there is an answer, or the attempt is to end, as its lease does when it takes too long, or has. @throws TaskAborted */
export async function untilAnswered<T>(run: Run, random: () => number, ask: () => Promise<T>): Promise<T> {
  for (let failures = 0; ; failures++) {
    if (run.abortedFor || run.isOver) throw new TaskAborted(run.abortedFor ?? 'leaseLost')
    try {
      return await ask()
    } catch (thrown) {
      if (!isPassing(thrown)) throw thrown
      await Bun.sleep(backoffMs(awayMs, failures, random))
    }
  }
}
