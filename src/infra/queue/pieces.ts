import { TaskRefused } from '@/core/queue/queue'
import { enqueueMax, type NewTask } from './driver'

/** Many tasks, in as many calls of the driver as they take. */

/** Characters of the envelopes in one call of the driver, since it is one script or statement. */
const batchCharsMax = 4 * 1024 * 1024

/** What goes to the driver in one call. */
interface Batch {
  queue: string
  made: NewTask[]
  /** Which of the items they are. */
  places: number[]
  chars: number
}

/** In the order of the items, and cut where one call would be too large. */
export function batchesOf(prepared: readonly [string, NewTask][]): Batch[] {
  const full: Batch[] = []
  const open = new Map<string, Batch>()
  for (const [place, [queue, task]] of prepared.entries()) {
    let batch = open.get(queue)
    if (!batch || batch.made.length === enqueueMax || batch.chars + task.envelope.length > batchCharsMax) {
      batch = { queue, made: [], places: [], chars: 0 }
      open.set(queue, batch)
      full.push(batch)
    }
    batch.made.push(task)
    batch.places.push(place)
    batch.chars += task.envelope.length
  }
  return full
}

/** Says of which item it is. */
export function placed(thrown: unknown, at: number): unknown {
  if (!(thrown instanceof TaskRefused)) return thrown
  // Places in the payload begin with a slash, and options have names.
  const here = (pointer: string) => (pointer === '' || pointer.startsWith('/') ? `/${at}/payload${pointer}` : `/${at}/${pointer}`)
  const problems = thrown.problems.map(({ pointer, detail }) => ({ pointer: here(pointer), detail }))
  return new TaskRefused(thrown.code, problems, { cause: thrown })
}
