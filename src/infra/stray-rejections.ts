import type { Log } from '@/core/log'

/**
 * A promise that was rejected and that nobody waited for is somebody's mistake, and is logged as one. It ends nothing: what it
 * belonged to has been answered, and what else is under way is not at fault.
 */
export function logStrayRejections(log: Log): void {
  process.on('unhandledRejection', thrown => log.error('a promise was rejected, and nobody waited for it', { err: thrown }))
}
