import { Redis } from 'ioredis'
import type { Server } from '../../servers'

/** What follows a prefix in the names of keys. */
export async function keysOf({ url }: Pick<Server, 'url'>, prefix: string): Promise<string[]> {
  const redis = new Redis(url)
  const found = new Set<string>()
  // What braces and the like mean in a pattern is no matter here: all are looked at.
  for await (const keys of redis.scanStream({ count: 1000 }))
    for (const key of keys as string[]) if (key.startsWith(prefix)) found.add(key.slice(prefix.length))
  redis.disconnect()
  return [...found]
}
