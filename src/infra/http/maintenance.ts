import { AppError } from '@/core/error'
import { defaultRetryAfterSeconds, type LiveSettings } from '@/core/live-settings'
import { anonymous } from '@/core/identity'
import type { Handler, RecognizedRequest } from './recognition'
import { pathOf } from './request'

export const usualMessage = 'We are at work here. Try again later.'

/**
 * While a server is closed for maintenance, requests are refused by the first hook, as any other that is refused; and on the way there
 * nobody is recognized or counted, since that asks what may be worked at.
 * @param isBeside whether a path is no part of what is closed, such as health
 */
export function maintenance(liveSettings: Pick<LiveSettings, 'now'>, isBeside: (path: string) => boolean) {
  let bare: Handler | undefined
  return {
    /** The innermost around the app. */
    notingApp(answer: Handler): Handler {
      bare = answer
      return answer
    },
    /** Around what recognizes and counts. Elysia asks it for each request, so one that is not refused pays for this question alone. */
    around(answer: Handler): Handler {
      const { maintenance } = liveSettings.now()
      if (!maintenance.isOn) return answer
      return function maintained(request: RecognizedRequest, server) {
        if (isBeside(pathOf(request.url))) return answer(request, server)
        const { message = usualMessage, retryAfterSeconds = defaultRetryAfterSeconds } = maintenance
        request.identity = anonymous
        request.unrecognized = new AppError('Unavailable', 'Maintenance', message, { retryAfterSeconds })
        return (bare ?? answer)(request, server)
      }
    },
  }
}
