import type { NewTask, QueueDriver } from '@/infra/queue/driver'
import { newKey, newTask } from './redis-queue'
import type { TornScene } from './torn-scene'

const queue = 'q'

/** Lines of groups that start when nothing has come for an hour; then their time is made to come. */
const line = (n: number, said: Partial<NewTask> = {}): NewTask =>
  newTask({ id: `task-${n}`, isIdKept: true, envelope: `line-${n}`, group: collecting, ...said })
const collecting = { key: newKey(), countMax: 3, bytesMax: 100, delayMs: 3_600_000, delayMaxMs: 3_600_000 }
const lines = (said: readonly [number, number][]) => Object.fromEntries(said.map((times, i) => [`line-${i + 1}`, times]))

/** Groups, of which a call that adds to them is kept in part. */
export const tornGroups: TornScene[] = [false, true].flatMap(isSaidAgain => {
  const name = (text: string) => `${text}${isSaidAgain ? ', said again' : ''}`
  const added: [number, number] = isSaidAgain ? [1, 1] : [0, 1]
  const opened = (driver: QueueDriver) => driver.enqueue(queue, [line(1)])
  return [
    {
      name: name('a group that is opened'),
      prepare: async () => {},
      act: (driver: QueueDriver) => driver.enqueue(queue, [line(1)]),
      runs: lines([added]),
      isSaidAgain,
    },
    {
      name: name('groups that are opened and filled in one call'),
      prepare: async () => {},
      act: (driver: QueueDriver) =>
        driver.enqueue(
          queue,
          [1, 2, 3, 4, 5].map(n => line(n)),
        ),
      runs: lines([added, added, added, added, added]),
      isSaidAgain,
    },
    {
      name: name('a join, of an id that is kept and of one that is not'),
      prepare: opened,
      act: (driver: QueueDriver) => driver.enqueue(queue, [line(2), line(3, { isIdKept: false, group: { ...collecting, countMax: 9 } })]),
      runs: lines([[1, 1], added, isSaidAgain ? [1, 2] : [0, 1]]),
      isSaidAgain,
    },
    {
      name: name('joins that fill a group, and one that opens another'),
      prepare: opened,
      act: (driver: QueueDriver) =>
        driver.enqueue(
          queue,
          [2, 3, 4].map(n => line(n)),
        ),
      runs: lines([[1, 1], added, added, added]),
      isSaidAgain,
    },
    {
      name: name('one that does not fit into a group any more'),
      prepare: opened,
      act: (driver: QueueDriver) => driver.enqueue(queue, [line(2, { group: { ...collecting, bytesMax: 10 } })]),
      runs: lines([[1, 1], added]),
      isSaidAgain,
    },
  ]
})
