import { hostname, userInfo } from 'node:os'
import type { CommandLine } from '@/core/asking'
import type { Actor } from '@/core/audit'

/** Who does something on the command line, as far as the machine knows: for the audit log. */
export const commandLineActor = (): Actor => ({ actor: 'commandLine', actorName: userName(), address: hostname() })

/** The same, where permissions are decided: whoever sits here may do everything. */
export const commandLine = (): CommandLine => ({ kind: 'commandLine', actor: commandLineActor() })

/** In a container the number of the user may have no name. */
function userName(): string {
  try {
    return userInfo().username
  } catch {
    return `user ${process.getuid?.() ?? 'unknown'}`
  }
}
