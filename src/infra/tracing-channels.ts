import { tracingChannel } from 'node:diagnostics_channel'

/**
 * Node's tracing channels say whether anybody listens, so that who has nothing to tell prepares nothing. Bun's do not (1.4), and
 * ioredis takes that for yes: it would copy all arguments of every command, and wrap every promise, for nobody.
 */
export function sayWhoListens(): void {
  const channels = Object.getPrototypeOf(tracingChannel('bingo')) as object
  if ('hasSubscribers' in channels) return
  Object.defineProperty(channels, 'hasSubscribers', {
    get(this: ReturnType<typeof tracingChannel>) {
      return [this.start, this.end, this.asyncStart, this.asyncEnd, this.error].some(channel => channel.hasSubscribers)
    },
  })
}
