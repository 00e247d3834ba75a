import type { TaskHandler } from '@/core/queue/task'
import type { Envelope } from '../envelope'

/**
 * Makes of what an envelope holds what its handler is given: a list, when that takes groups, and so a group of one of a task that was enqueued without.
 * A group of which one payload does not fit is not run in part: the others would be gone when that one is looked at.
 * @returns what is wrong, without values
 */
export function fitPayload({ task, isOfGroups }: TaskHandler, envelope: Envelope): string | undefined {
  const fault = (misfit: string, which = 'the payload') => `${which} does not fit the schema of its task: ${misfit}`
  if (!isOfGroups) {
    if (envelope.isGroup) return 'it is a group, and its handler takes one payload at a time'
    const misfit = task.check(envelope.payload)
    return misfit === undefined ? undefined : fault(misfit)
  }
  const payloads = envelope.isGroup ? (envelope.payload as unknown[]) : [envelope.payload]
  for (const [i, payload] of payloads.entries()) {
    const misfit = task.check(payload)
    if (misfit !== undefined) return fault(misfit, payloads.length > 1 ? `payload ${i + 1} of ${payloads.length} of the group` : undefined)
  }
  envelope.payload = payloads
  envelope.isGroup = true
  return undefined
}
