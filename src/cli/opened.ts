import { existsSync } from 'node:fs'
import { roles } from '@roles'
import { permissionsOf, queuesOf, scheduledTasksOf, tasksOf, topicsOf } from '@/app'
import type { Config } from '@/core/config/settings'
import { AppError, exitCodes, StartError } from '@/core/error'
import type { PortName } from '@/core/ports'
import { worksOf } from '@/core/works'
import { isEmbedded, sqlitePath } from '@/infra/database/open'
import { type OpenPorts, openPorts } from '@/infra/ports'
import { refuseOldTables, toolsOf } from './migrate'

/**
 * What commands use of a running system: its tasks are those of all roles, since a command is of none.
 * @throws StartError when there is no database yet, its tables are old, or the queue cannot be reached
 */
export async function withOpened<T>(config: Config, needed: readonly PortName[], work: (opened: OpenPorts) => Promise<T>): Promise<T> {
  if (isEmbedded(config) && !existsSync(sqlitePath(config)))
    throw new StartError(`there is no database yet; ${sqlitePath(config)} is made by the first start, or by 'bingo migrate up'`)
  const declared = {
    tasks: tasksOf(roles),
    queues: queuesOf(roles),
    rules: worksOf(roles).queues,
    scheduledTasks: scheduledTasksOf(roles),
    allTasks: tasksOf(roles),
    permissions: permissionsOf(roles),
    topics: topicsOf(roles),
  }
  const opened = await openPorts(config, new Set(needed), { ...toolsOf(config), ...declared })
  try {
    if (opened.db) await refuseOldTables(opened.db)
    return await work(opened)
  } catch (thrown) {
    if (!(thrown instanceof AppError) || thrown.code !== 'Unavailable.QueueUnavailable') throw thrown
    const where = isEmbedded(config)
      ? `${sqlitePath(config)} can be written`
      : 'Redis is running, takes writes, and is the one that BINGO_REDIS_URL names'
    throw new StartError(`the queue cannot be reached, or takes no writes; see whether ${where}`, exitCodes.failed, { cause: thrown })
  } finally {
    await opened.close()
  }
}
