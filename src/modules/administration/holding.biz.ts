import { type By, isCommandLine } from '@/core/asking'
import type { Database } from '@/core/database'
import { everything } from '@/core/permission'
import type { AdministratorBiz } from '@/modules/administrator'
import { administrationErrors } from './schema'

/**
 * Nobody gives or takes what they do not hold: what is about permissions is done by those who hold them all at this moment, in its
 * transaction: else whoever was root until a moment ago would make another one.
 * @param wanted permissions that something has, or is to have
 * @throws NotHeld
 */
export async function refuseUnheld(
  tx: Database,
  by: By,
  wanted: readonly string[],
  administrators: Pick<AdministratorBiz, 'unheld'>,
): Promise<void> {
  if (isCommandLine(by)) return
  const { identity } = by
  const lacking = identity.kind === 'admin' ? await administrators.unheld(tx, identity.id, wanted) : undefined
  if (lacking?.length === 0) return
  throw administrationErrors.NotHeld({
    problems: (lacking ?? [...new Set(wanted)]).map(permission => ({
      pointer: 'authorization',
      detail: permission === everything ? 'does not have the role root' : `does not have the permission ${permission}`,
    })),
  })
}
