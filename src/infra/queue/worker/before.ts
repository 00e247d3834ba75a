import type { EndedTask } from '@/core/queue/task'
import type { QueueDriver } from '../driver'
import { readJson } from '../json'
import { untilAnswered } from './ask'
import type { Run } from './run'

/** How those ended that the task of an attempt was held for. */
export const beforeOf =
  ({ driver, queue, random }: { driver: Pick<QueueDriver, 'before'>; queue: string; random: () => number }) =>
  async (run: Run): Promise<EndedTask[]> => {
    const ended = await untilAnswered(run, random, () => driver.before(queue, run.id))
    return ended.map(({ result, ...each }) => (result === undefined ? each : { ...each, result: readJson(result) }))
  }
