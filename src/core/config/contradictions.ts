import type { Config } from './settings'

/** What each setting allows and both together do not, as sentences that begin with the setting. */
export function contradictions({ database, redis, queue }: Config): string[] {
  const found = guessableSecrets(database, redis)
  if (redis.sentinels && redis.cluster) found.push('redis.sentinels: a Redis Cluster goes without Sentinels; unset one of the two')
  if (redis.sentinels && redis.url === undefined)
    found.push('redis.sentinels: nothing is said of the server itself; set redis.url, at least redis://localhost')
  if (!database.url.startsWith('sqlite:')) {
    // A heartbeat goes out after a third of the lease, and what is answered after five sixths of it is given back unused.
    if (queue.timeoutMs * 3 > queue.leaseMs)
      found.push(
        `queue.timeoutMs: ${queue.timeoutMs} is more than a third of queue.leaseMs, ${queue.leaseMs}: tasks would be lost while Redis may still answer; lower it, or raise queue.leaseMs in all processes`,
      )
    return found
  }
  if (database.replicaUrls)
    found.push(
      'database.replicaUrls: replicas are read beside a MySQL server, and database.url is SQLite; set BINGO_DATABASE_URL, or leave them out',
    )
  if (redis.url !== undefined)
    found.push(
      'redis.url: is set, and the database is SQLite, which goes without Redis; unset BINGO_REDIS_URL, or set BINGO_DATABASE_URL to mysql://…',
    )
  return found
}

/** What examples and images come with, and what is tried first. */
const knownPasswords = new Set(
  '123456 12345678 admin bingo change-me changeit changeme default dev example guest mysql pass password passw0rd redis root secret test toor user'.split(
    ' ',
  ),
)
const loopback = /^(?:localhost|127(?:\.\d{1,3}){3}|\[::1\])$/

/** A server on this host may do without a password, as on a developer's machine. One that others can reach may not have a guessable one. */
function guessableSecrets(database: Config['database'], redis: Config['redis']): string[] {
  const remedy = "make one with 'openssl rand -hex 24'"
  const found: string[] = []
  const look = (setting: string, text: string, mustHave: boolean) => {
    if (text.startsWith('sqlite:')) return
    const { hostname, username, password } = new URL(text)
    if (loopback.test(hostname)) return
    const plain = decoded(password)
    if (plain === '' && mustHave) found.push(`${setting}: there is no password for ${hostname}; ${remedy}`)
    else if (knownPasswords.has(plain.toLowerCase()) || (plain !== '' && plain === username))
      found.push(`${setting}: the password for ${hostname} is one that everybody tries first; ${remedy}`)
  }
  look('database.url', database.url, true)
  for (const url of database.replicaUrls ?? []) look('database.replicaUrls', url, true)
  // Some have their Redis where nobody else is, and let the network decide.
  if (redis.url !== undefined) look('redis.url', redis.url, false)
  return found
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    return text
  }
}
