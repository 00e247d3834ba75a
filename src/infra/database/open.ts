import type { Config } from '@/core/config/settings'
import type { OpenDatabase, DriverTools } from './driver'

export const isEmbedded = (config: Pick<Config, 'database'>): boolean => config.database.url.startsWith('sqlite:')
export const sqlitePath = (config: Pick<Config, 'database'>): string => config.database.url.slice('sqlite:'.length)

/** Opens the database that `database.url` names. */
export async function openDatabase(config: Pick<Config, 'database'>, tools: DriverTools): Promise<OpenDatabase> {
  // Loaded when used: a process on SQLite starts without the MySQL driver.
  if (isEmbedded(config)) return (await import('./sqlite/driver')).openSqlite(sqlitePath(config), config.database, tools)
  if (config.database.replicaUrls) return (await import('./replicas/open')).openReplicated(config.database, tools)
  return (await import('./mysql/driver')).openMysql(config.database, tools)
}
