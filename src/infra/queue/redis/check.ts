/** What a queue asks of a server, from what it says of itself: managed servers let nobody read their settings. */
export interface ServerCheck {
  /** Why the queue must not be used there, with the remedy. */
  problem?: string
  /** What puts tasks at risk. */
  warning?: string
}

const versionMin = 7

/** @param info of the sections server, memory and persistence */
export function checkServer(info: string): ServerCheck {
  const field = (name: string) => new RegExp(`^${name}:(.*?)\\r?$`, 'm').exec(info)?.[1]
  const version = field('redis_version')
  if (version !== undefined && Number.parseInt(version, 10) < versionMin)
    return { problem: `the task queue needs Redis 7 or later, or Valkey, and this is Redis ${version}; upgrade the server` }
  const policy = field('maxmemory_policy')
  if (policy !== undefined && policy !== 'noeviction')
    return {
      problem: `Redis has maxmemory-policy ${policy}, which throws tasks away when memory is short; set maxmemory-policy noeviction on the server`,
    }
  if (field('aof_enabled') === '0')
    return { warning: 'Redis has no append-only file, so tasks are lost when it stops; set appendonly yes on the server' }
  return {}
}

export const infoSections = ['server', 'memory', 'persistence'] as const
