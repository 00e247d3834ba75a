import { type EnqueueReply, isPassing, type NewTask } from '../driver'

/** Joins what is enqueued within one turn of the event loop into few calls: many at a time cost Redis a fraction of each alone. */
export interface Batches {
  add(tasks: readonly NewTask[]): Promise<EnqueueReply[]>
}

/** So many of both in one call, since nothing else runs on the server meanwhile; one task at least. */
const tasksMax = 500
const charactersMax = 1024 * 1024

interface Call {
  replies: EnqueueReply[]
  left: number
  resolve(replies: EnqueueReply[]): void
  reject(thrown: unknown): void
}
interface Place {
  call: Call
  index: number
}

/** @param send replies in the order of the tasks */
export function createBatches(send: (tasks: readonly NewTask[]) => Promise<EnqueueReply[]>): Batches {
  let tasks: NewTask[] = []
  let places: Place[] = []
  let characters = 0

  function flush() {
    if (tasks.length === 0) return
    const [sent, at] = [tasks, places]
    tasks = []
    places = []
    characters = 0
    send(sent).then(
      replies => reply(at, replies),
      thrown => {
        const calls = new Set(at.map(({ call }) => call))
        if (calls.size === 1 || isPassing(thrown)) for (const call of calls) call.reject(thrown)
        else apart(sent, at)
      },
    )
  }

  function reply(at: readonly Place[], replies: readonly EnqueueReply[]) {
    for (const [i, { call, index }] of at.entries()) {
      call.replies[index] = replies[i] as EnqueueReply
      if (--call.left === 0) call.resolve(call.replies)
    }
  }

  /** One of the callers is at fault, and the others must not hear of it. What was half done is done again. */
  function apart(sent: readonly NewTask[], at: readonly Place[]) {
    const byCall = Map.groupBy(
      at.map((place, i) => ({ place, task: sent[i] as NewTask })),
      ({ place }) => place.call,
    )
    for (const [call, own] of byCall)
      send(own.map(({ task }) => task)).then(
        replies =>
          reply(
            own.map(({ place }) => place),
            replies,
          ),
        call.reject,
      )
  }

  return {
    add: added =>
      new Promise((resolve, reject) => {
        if (added.length === 0) return resolve([])
        const call: Call = { replies: new Array(added.length), left: added.length, resolve, reject }
        // After the callers that the last reply has woken have said theirs.
        if (tasks.length === 0) setImmediate(flush)
        for (const [index, task] of added.entries()) {
          const isFull = tasks.length >= tasksMax || characters + task.envelope.length > charactersMax
          if (isFull && tasks.length > 0) {
            flush()
            setImmediate(flush)
          }
          tasks.push(task)
          places.push({ call, index })
          characters += task.envelope.length
        }
      }),
  }
}
