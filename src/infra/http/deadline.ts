import { defineErrors } from '@/core/error'
import { createWaits } from '../waits'
import type { Handler } from './recognition'

export const deadlineErrors = defineErrors({
  Request: ['Timeout', 'This has taken too long. It may still be done: look before you try again, or send an Idempotency-Key.'],
})

/** What a request is answered with when its time is over. */
export type Overdue = (request: Request, elapsedMs: number) => Response

/**
 * Around the whole request: it is answered in time, whatever it waits for, also its own body. The work itself cannot be taken back: it
 * goes on, what it writes is written, and its answer is thrown away. What it waits for has limits of its own (statements, connections,
 * mail), so it does not go on for ever.
 */
export function deadline(timeoutMs: number, overdue: Overdue): (answer: Handler) => Handler {
  const waits = createWaits(timeoutMs)
  return answer =>
    function intime(request, server) {
      const answered = answer(request, server)
      if (!(answered instanceof Promise)) return answered
      return new Promise((resolve, reject) => {
        const wait = waits.begin(() => resolve(overdue(request, timeoutMs)))
        answered.then(
          response => {
            waits.end(wait)
            resolve(response)
          },
          thrown => {
            waits.end(wait)
            reject(thrown)
          },
        )
      })
    }
}
