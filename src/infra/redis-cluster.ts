import { createHash } from 'node:crypto'
import { Cluster, type Redis, type RedisOptions } from 'ioredis'
import { withDeadline } from '@/core/deadline'

/** What a Redis Cluster asks of its client besides what one server does. */

const retryPauseMs = 50
const slotsTimeoutMs = 1000

/** How each of its nodes is spoken to. */
type NodeOptions = Pick<
  RedisOptions,
  | 'connectionName'
  | 'connectTimeout'
  | 'disconnectTimeout'
  | 'socketTimeout'
  | 'reconnectOnError'
  | 'autoResendUnfulfilledCommands'
  | 'autoResubscribe'
  | 'maxRetriesPerRequest'
>

/** @param url one of its nodes, with what all of them ask for: user, password, TLS */
export function clusterClient(url: string, options: NodeOptions, retryStrategy: (attempt: number) => number): Cluster {
  const { hostname, port, username, password, protocol } = new URL(url)
  const cluster = new Cluster([{ host: hostname.replace(/^\[|\]$/g, ''), port: Number(port || 6379) }], {
    redisOptions: {
      ...options,
      ...(username ? { username: decodeURIComponent(username) } : {}),
      ...(password ? { password: decodeURIComponent(password) } : {}),
      ...(protocol === 'rediss:' ? { tls: {} } : {}),
    },
    // Certificates are for names.
    dnsLookup: (address, found) => found(null, address),
    clusterRetryStrategy: retryStrategy,
    enableOfflineQueue: false,
    slotsRefreshTimeout: slotsTimeoutMs,
    retryDelayOnFailover: retryPauseMs,
    retryDelayOnClusterDown: retryPauseMs,
  })
  // An answer that sends a call elsewhere and comes when all nodes have been given up adds that node anew. It never connects, so it
  // would never end, and the driver connects again only when all have ended.
  cluster.on('+node', (node: Redis) => {
    if (cluster.status === 'disconnecting') node.disconnect()
  })
  return cluster
}

export const primariesOf = (cluster: Cluster): Redis[] => cluster.nodes('master')

/** One word for the run ids of all primaries that answer. @throws Error when none does */
export async function clusterId(cluster: Cluster, limitMs: number): Promise<string> {
  const infos = await Promise.allSettled(
    primariesOf(cluster).map(node => withDeadline(node.info('server'), limitMs, () => new Error('a node does not answer'))),
  )
  const ids = infos.flatMap(info => (info.status === 'fulfilled' ? (/^run_id:(\w+)/m.exec(info.value)?.[1] ?? []) : []))
  if (ids.length === 0) throw new Error('no node of the cluster answers')
  return createHash('sha1').update(ids.toSorted().join()).digest('hex')
}
