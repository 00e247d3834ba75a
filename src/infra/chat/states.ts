import type { ChatPlatform } from '@/core/chat'
import type { Log } from '@/core/log'
import type { Service } from '@/core/service'
import { titles } from './standing'

/**
 * Where each platform stands, for `/readyz?verbose`: one that is off or fails makes nothing else fail, so that it is shown and decides nothing.
 * Why is for the log: the page is open to anyone who reaches the port.
 */
export const stateLines = (platforms: readonly ChatPlatform[]): string[] => platforms.map(({ name, state }) => `${name}: ${state().is}`)

/** Says once, at the start, which platforms are off, and what is configured wrongly. What platforms refuse later they say themselves. */
export const tellingStates = (platforms: readonly ChatPlatform[], log: Log): Service => ({
  name: 'chat platforms',
  async start() {
    const states = platforms.map(({ name, state }) => ({ name, ...state() }))
    if (states.every(({ is }) => is === 'off')) {
      const whys = states.flatMap(({ name, why }) => (why === undefined ? [] : [[name, why]]))
      log.info('no chat platform is configured, so the bot answers nobody', Object.fromEntries(whys))
      return
    }
    for (const { name, is, why } of states)
      if (is === 'off') log.info(`${titles[name]} is off`, { platform: name, why: why ?? 'it is not configured' })
      else if (is === 'failed') log.error(`${titles[name]} is off`, { platform: name, why })
  },
  stop: async () => {},
})
