import type { Actor, AuditEntry } from '@/core/audit'
import { type AuditEventRow, changeMax, lengthOf } from './schema'

type Texts = 'actor' | 'actorName' | 'address' | 'requestId' | 'action' | 'object' | 'reason'
type Written = Omit<AuditEventRow, 'id' | 'seq' | 'hash' | 'createdAt' | 'updatedAt' | 'version'>

/**
 * What is kept of an entry. Some of it was chosen by strangers: whatever it is it can be stored, so that nobody does something that leaves no event
 * because of its name.
 */
export function written(by: Actor, entry: AuditEntry): Written {
  return {
    ...optional('actor', by.actor),
    ...optional('actorName', by.actorName),
    address: fitting('address', by.address),
    ...optional('requestId', by.requestId),
    action: fitting('action', entry.action),
    ...optional('object', entry.object),
    outcome: entry.outcome ?? 'done',
    ...optional('reason', entry.reason),
    ...(entry.before !== undefined && { before: changeText(entry.before) }),
    ...(entry.after !== undefined && { after: changeText(entry.after) }),
  }
}

const optional = <N extends Texts>(name: N, value: string | undefined) =>
  (value === undefined ? {} : { [name]: fitting(name, value) }) as { [K in N]?: string }

const fitting = (name: Texts, value: string): string => storable(value.slice(0, lengthOf(name)))

/** No database keeps NUL and half characters as they are. */
const storable = (text: string) => text.replaceAll('\0', '\ufffd').toWellFormed()

/** JSON. What is too long becomes a JSON text with its beginning. */
function changeText(change: object): string {
  const text = JSON.stringify(change)
  return text.length <= changeMax ? text : JSON.stringify(`${storable(text.slice(0, changeMax))}…`)
}
