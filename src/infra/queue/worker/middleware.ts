import type { Attempt, TaskHandler, TaskMiddleware, TaskResult, Work } from '@/core/queue/task'

type Step = (attempt: Attempt) => Promise<TaskResult | undefined>

/** What is done in an attempt: the handler, and around it the middleware, the first outermost. Without any it is the handler itself. */
export function around({ task, work }: TaskHandler, middleware: readonly TaskMiddleware[]): Work<never> {
  if (middleware.length === 0) return work
  const handler: Step = async ({ payload, context }) => (await work(payload as never, context)) ?? undefined
  const outermost = middleware.reduceRight<Step>(
    (inner, own) => attempt => {
      let isCalled = false
      return own(attempt, async () => {
        if (isCalled) throw new Error(`a middleware around the task ${task.name} has called next twice, which would do its work twice`)
        isCalled = true
        return inner(attempt)
      })
    },
    handler,
  )
  return async (payload, context) => outermost({ task, payload, context })
}
