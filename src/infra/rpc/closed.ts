import { AppError } from '@/core/error'
import { defaultRetryAfterSeconds, type LiveSettings } from '@/core/live-settings'
import { usualMessage } from '../http/maintenance'

/** @returns what is answered while the house is closed for maintenance */
export function closedError(liveSettings: Pick<LiveSettings, 'now'> | undefined): AppError | undefined {
  const { maintenance } = liveSettings?.now() ?? {}
  if (!maintenance?.isOn) return undefined
  const { message = usualMessage, retryAfterSeconds = defaultRetryAfterSeconds } = maintenance
  return new AppError('Unavailable', 'Maintenance', message, { retryAfterSeconds })
}
