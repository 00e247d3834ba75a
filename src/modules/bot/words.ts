import type { AnyCommand } from '@/core/command'
import type { AppError } from '@/core/error'
import { usageOf } from './arguments'

/** What people are told besides what commands say themselves. */

export const tooMuch = 'That is too much at once. Wait a minute, then go on.'
export const tooLate = 'I could not do this when you sent it, and have not done it since. Send it again if you still want it.'
export const perhapsDone =
  'I began to do this when you sent it, and could not see it through: I do not know whether it was done. Look before you send it again.'
export const failed = 'Something went wrong on our side. Try again later.'
export const unreachable = 'What this needs cannot be reached at the moment. Try again in a while.'

/** @param allowed what the sender may give, in its order */
export function helpText(allowed: readonly AnyCommand[], isUnknown: boolean): string {
  const lines = allowed.map(command => `${usageOf(command)} – ${command.summary}`)
  return [isUnknown ? 'I do not know that. This is what I can do for you:' : 'This is what I can do for you:', ...lines].join('\n')
}

export const usageText = (command: AnyCommand, fault: string): string => `I cannot read that: ${fault}.\nUsage: ${usageOf(command)}`

/** What an error means to the sender. */
export const errorText = ({ message, problems }: Pick<AppError, 'message' | 'problems'>): string =>
  [message, ...problems.map(({ pointer, detail }) => `${pointer.replace(/^\//, '')} ${detail}`.trim())].join('\n')
