import { defineErrors } from '@/core/error'
import type { Handler } from './recognition'

export const deadlineErrors = defineErrors({
  Request: ['Timeout', 'This has taken too long. It may still be done: look before you try again, or send an Idempotency-Key.'],
})

/** What a request is answered with when its time is over. */
export type Overdue = (request: Request, elapsedMs: number) => Response

/** One of a list, in the order in which they began. A Set would cost a request three times as much. */
interface Waiting {
  request: Request
  endsAtMs: number
  answer(response: Response): void
  before: Waiting | undefined
  behind: Waiting | undefined
}

/** How late a deadline may be noticed. */
const lookEveryMs = 250

/**
 * Around the whole request: it is answered in time, whatever it waits for, also its own body. The work itself cannot be taken back: it
 * goes on, what it writes is written, and its answer is thrown away. What it waits for has limits of its own (statements, connections,
 * mail), so it does not go on for ever. All have the same time, so they end in the order in which they began, and one timer is enough.
 */
export function deadline(timeoutMs: number, overdue: Overdue): (answer: Handler) => Handler {
  let first: Waiting | undefined
  let last: Waiting | undefined
  let timer: Timer | undefined

  function leave({ before, behind }: Waiting): void {
    if (before) before.behind = behind
    else first = behind
    if (behind) behind.before = before
    else last = before
  }

  function look() {
    const now = performance.now()
    while (first !== undefined && first.endsAtMs <= now) {
      const overdueOne = first
      leave(overdueOne)
      // Its own answer, which comes later, finds it gone.
      overdueOne.endsAtMs = Number.POSITIVE_INFINITY
      overdueOne.answer(overdue(overdueOne.request, timeoutMs))
    }
    if (first !== undefined) return
    clearInterval(timer)
    timer = undefined
  }

  return answer =>
    function intime(request, server) {
      const answered = answer(request, server)
      if (!(answered instanceof Promise)) return answered
      return new Promise((resolve, reject) => {
        const own: Waiting = { request, endsAtMs: performance.now() + timeoutMs, answer: resolve, before: last, behind: undefined }
        if (last) last.behind = own
        else first = own
        last = own
        timer ??= setInterval(look, lookEveryMs)
        answered.then(
          response => {
            if (own.endsAtMs !== Number.POSITIVE_INFINITY) leave(own)
            resolve(response)
          },
          thrown => {
            if (own.endsAtMs !== Number.POSITIVE_INFINITY) leave(own)
            reject(thrown)
          },
        )
      })
    }
}
