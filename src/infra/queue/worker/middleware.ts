import type { Attempt, TaskHandler, TaskMiddleware, TaskResult, Work } from '@/core/queue/task'

type Step = (attempt: Attempt) => Promise<TaskResult | undefined>

/** What is done in an attempt: the handler, and around it the middleware, the first outermost. Without any it is the handler itself. */
export function around({ task, work }: TaskHandler, middleware: readonly TaskMiddleware[]): Work<never> {
  if (middleware.length === 0) return work
  const handler: Step = async ({ payload, context }) => (await work(payload as never, context)) ?? undefined
  const outermost = middleware.reduceRight<Step>(
    (inner, own) => async attempt => {
      let isCalled = false
      const answer = await own(attempt, async () => {
        if (isCalled) throw new Error(`a middleware around the task ${task.name} has called next twice, which would do its work twice`)
        isCalled = true
        return inner(attempt)
      })
      // A guard that forgets to answer would lose the task: nobody would have done it, and it would be done.
      if (answer === undefined && !isCalled) throw new Error(skipped(task.name))
      return answer
    },
    handler,
  )
  return async (payload, context) => outermost({ task, payload, context })
}

const skipped = (task: string) =>
  `a middleware around the task ${task} has returned nothing without calling next: nothing was done, so it is not done; return giveUp, snooze or result to answer in its place`
