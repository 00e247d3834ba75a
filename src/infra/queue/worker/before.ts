import { backoffMs } from '@/core/backoff'
import { type EndedTask, TaskAborted } from '@/core/queue/task'
import { isPassing, type QueueDriver } from '../driver'
import { readJson } from '../json'
import { awayMs } from './limits'
import type { Run } from './run'

/** Asks how those ended that the task of an attempt was held for; until there is an answer, or the attempt is to end. @throws TaskAborted */
export const beforeOf =
  ({ driver, queue, random }: { driver: Pick<QueueDriver, 'before'>; queue: string; random: () => number }) =>
  async (run: Run): Promise<EndedTask[]> => {
    for (let failures = 0; ; failures++) {
      if (run.abortedFor) throw new TaskAborted(run.abortedFor)
      try {
        const ended = await driver.before(queue, run.id)
        return ended.map(({ result, ...each }) => (result === undefined ? each : { ...each, result: readJson(result) }))
      } catch (thrown) {
        if (!isPassing(thrown)) throw thrown
        await Bun.sleep(backoffMs(awayMs, failures, random))
      }
    }
  }
