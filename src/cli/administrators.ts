import type { Log } from '@/core/log'
import { bizOf } from '@/core/module'
import type { Ports } from '@/core/ports'
import type { Role } from '@/core/role'
import type { Service } from '@/core/service'
import { administrator } from '@/modules/administrator'
import { adminSession } from '@/modules/admin-session'

/** Bundled into one file, in the executable; from source there are many. */
const isCompiled = import.meta.path === Bun.main
const remedy = `${isCompiled ? 'bingo' : 'bun src/main.ts'} admin create --username NAME`

/**
 * Says how to make the first administrator, where nobody could log in. Nothing waits for it.
 * @param hasBanner whether people read what is printed beside the log
 */
export function firstAdministrator(roles: readonly Role[], ports: Ports, log: Log, hasBanner: boolean): Service {
  const isAsked = roles.some(({ serves, modules }) => serves.includes('admin') && modules.includes(adminSession))
  const look = async () => {
    try {
      if (await bizOf({ administrator }, ports).administrator.isAnyThere()) return
      log.warn(`there is no administrator yet, so nobody can log in to the admin server; make one: ${remedy}`)
      if (hasBanner) console.error(`Nobody can log in to the admin server yet. Make the first administrator:\n\n  ${remedy}\n`)
    } catch (err) {
      log.warn('whether there is an administrator could not be looked up', { err })
    }
  }
  return {
    name: 'first administrator',
    start: async () => {
      if (isAsked) void look()
    },
    // Closing the database waits for its queries.
    stop: async () => {},
  }
}
