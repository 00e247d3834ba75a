import type { Cache } from '@/core/cache'
import { systemClock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { ChatPlatforms } from '@/core/chat'
import type { AnyCommand } from '@/core/command'
import type { Dependencies } from '@/core/dependencies'
import { exitCodes, StartError } from '@/core/error'
import type { LiveSettings } from '@/core/live-settings'
import type { Log } from '@/core/log'
import type { Mailer } from '@/core/mailer'
import type { PortName, Ports } from '@/core/ports'
import type { ProcessFacts, Processes } from '@/core/processes'
import type { Queue } from '@/core/queue/queue'
import type { Revocations } from '@/core/revocations'
import type { RpcClients } from '@/core/rpc'
import type { ScheduleAdmin } from '@/core/schedule/admin'
import type { Throttle } from '@/core/throttle'
import type { Tokens } from '@/core/tokens'
import type { Upkeep } from '@/core/upkeep'
import { type Cipher, createCipher, createSeal } from '@/core/seal'
import { rootKey } from './auth-key'
import { cacheMetrics } from './cache/metrics'
import { memoryCache } from './cache/memory'
import type { DriverTools, OpenDatabase } from './database/driver'
import { isEmbedded, openDatabase } from './database/open'
import { openChat } from './chat/open'
import { type OpenIdentities, openIdentities } from './identity/open'
import { dependencyChecks, createDependencies } from './dependencies'
import { type OpenLiveSettings, openLiveSettings } from './live-settings/open'
import { openMailer } from './mail/open'
import { createPasswords } from './passwords'
import { openProcesses, type OpenProcesses } from './processes/registry'
import { createIntake } from './queue/intake'
import { type OpenQueue, openQueue, type QueueSurroundings } from './queue/open'
import type { RedisServer } from './redis'
import { type OpenSchedules, openSchedules, type ScheduleSurroundings } from './schedule/open'
import { openRpcClients, type OpenRpcClients } from './rpc/open'
import { createThrottle } from './throttle/throttle'
import { createTotp } from './totp'
import { refreshMacOf } from './tokens/refresh-mac'
import { createUpkeep } from './upkeep'

/** The ports of this process. What is not needed is not there. */
export interface OpenPorts {
  ports: Ports
  db: OpenDatabase | undefined
  queue: OpenQueue | undefined
  schedules: OpenSchedules | undefined
  identities: OpenIdentities | undefined
  /** Where this process says that it is there, when it has a database and says what it is. */
  registry: OpenProcesses | undefined
  /** Aborts the port `stopping`. */
  stopping: AbortController
  liveSettings: OpenLiveSettings | undefined
  /** Services of other processes, when some module calls any. */
  rpc: OpenRpcClients | undefined
  /** Says what the port `commands` has, once the modules are wired. */
  offerCommands(commands: readonly AnyCommand[]): void
  /** The one that processes share, when one is configured and something that is needed may use it. */
  redis: RedisServer | undefined
  /** Lets what is under way finish, then closes all. */
  close(): Promise<void>
}

type Observers = Pick<DriverTools, 'log' | 'metrics' | 'writePositions'>

/** What a process with the port `queue` declares, and with the ports `schedules` and `queueAdmin`. */
type Declared = Pick<QueueSurroundings, 'tasks' | 'queues' | 'rules'> &
  Pick<Ports, 'permissions' | 'topics'> & {
    scheduledTasks: ScheduleSurroundings['tasks']
    allTasks: QueueSurroundings['tasks']
    /** What this process is, when it runs roles. */
    process: Pick<ProcessFacts, 'roles' | 'version'> & Pick<Processes, 'roleNames'>
  }

/**
 * Opens what `needed` lists, and nothing else.
 * @throws StartError when the database cannot be opened, or something that is needed is not configured; Redis may come later
 */
export async function openPorts(
  config: Config,
  needed: ReadonlySet<PortName>,
  {
    log,
    metrics,
    tasks = [],
    queues = [],
    rules,
    scheduledTasks = [],
    allTasks = [],
    permissions = [],
    topics = [],
    process,
  }: Observers & Partial<Declared>,
): Promise<OpenPorts> {
  const needsSchedules = needed.has('schedules')
  // What schedules are for is enqueued.
  const needsQueue = needed.has('queue') || needed.has('queueAdmin') || needsSchedules
  refuseMissing(config, { needsQueue, needsMailer: needed.has('mailer') })
  let db: OpenDatabase | undefined
  let queue: OpenQueue | undefined
  let schedules: OpenSchedules | undefined
  let tokens: Tokens | undefined
  let identities: OpenIdentities | undefined
  let liveSettings: OpenLiveSettings | undefined
  let registry: OpenProcesses | undefined
  let rpc: OpenRpcClients | undefined
  let chat: ChatPlatforms | undefined
  let offered: readonly AnyCommand[] = []
  const commands = { all: () => offered }
  const hasDatabase = needsDatabase(needed)
  // Who only asks whether it is there asks nobody where nobody is configured.
  const asksMail = needed.has('dependencies') && config.mail.url !== undefined
  const mailer = needed.has('mailer') || asksMail ? openMailer(config) : undefined
  const stopping = new AbortController()
  const redis = hasDatabase ? await openConfiguredRedis(config, log) : undefined
  // Made before the database, since its stores use it, and asks the database when it is used.
  const cache = hasDatabase ? await openCache(config, redis, () => db, { log, metrics }) : undefined
  const close = async () => {
    await rpc?.close()
    await queue?.close()
    // Before what follows its last commits: that goes to the cache.
    await db?.close()
    await mailer?.close()
    await cache?.close()
    await redis?.close()
  }
  try {
    if (hasDatabase) {
      db = await openConfiguredDatabase(config, { log, metrics, ...(await sharedPositions(config, redis)) }, cache)
      const tools = { db, log, metrics, clock: systemClock }
      if (needed.has('liveSettings')) liveSettings = openLiveSettings(db, config, log)
      if (liveSettings || needed.has('revocations')) identities = openIdentities(db, tools, liveSettings ? [liveSettings.rememberer] : [])
      if (process) registry = openProcesses(db, { ...tools, ...process })
      if (needsQueue) queue = await openQueue(config, { ...tools, redis, tasks, queues, rules })
      if (needed.has('tokens') || needed.has('rpc')) tokens = openConfiguredTokens(config, tools)
      if (tokens && needed.has('rpc')) {
        const name = process?.roles.join('+') ?? 'command'
        rpc = openRpcClients(config, { tokens, log, metrics, name, liveSettings: liveSettings?.liveSettings })
      }
      if (needed.has('chat')) chat = openChat({ config, ...tools, redis, commands, cipher: createCipher(rootKey(config), 'chat') })
      if (needsSchedules && queue) schedules = openSchedules(config, { ...tools, queue, tasks: scheduledTasks })
    }
  } catch (thrown) {
    await close()
    throw thrown
  }
  return {
    db,
    queue,
    schedules,
    identities,
    registry,
    stopping,
    liveSettings,
    rpc,
    offerCommands(all) {
      offered = all
    },
    redis,
    close,
    ports: {
      clock: systemClock,
      log,
      metrics,
      passwords: createPasswords(config.password, metrics),
      // A module that did not list a port cannot reach for it: `create` is typed by `needs`.
      db: db as OpenDatabase,
      queue: queue?.queue as Queue,
      revocations: identities?.revocations as Revocations,
      mailer: mailer as Mailer,
      schedules: schedules?.admin as ScheduleAdmin,
      queueAdmin: (queue && { ...queue.admin, ...createIntake(queue.enqueuing(allTasks), allTasks) }) as Ports['queueAdmin'],
      throttle: (db &&
        createThrottle({ db, clock: systemClock, log, metrics, digest: createCipher(rootKey(config), 'guess').digest })) as Throttle,
      upkeep: (db && createUpkeep(db, { log, clock: systemClock })) as Upkeep,
      cipher: (needed.has('cipher') ? createCipher(rootKey(config), 'payload') : undefined) as Cipher,
      tokens: tokens as Tokens,
      totp: createTotp(),
      permissions,
      topics,
      processes: registry?.processes as Processes,
      dependencies: (needed.has('dependencies')
        ? createDependencies(dependencyChecks({ db, queue: queue?.driver, mailer: asksMail ? mailer : undefined }))
        : undefined) as Dependencies,
      stopping: stopping.signal,
      rpc: rpc?.clients as RpcClients,
      chat: chat as ChatPlatforms,
      commands,
      settings: config,
      liveSettings: liveSettings?.liveSettings as LiveSettings,
    },
  }
}

/** The queue is in the database, or its outbox is, and what is kept up is. */
const ofDatabase: readonly PortName[] = [
  'db',
  'queue',
  'schedules',
  'upkeep',
  'throttle',
  'tokens',
  'revocations',
  'liveSettings',
  'processes',
  'rpc',
  'chat',
]
export const needsDatabase = (needed: ReadonlySet<PortName>): boolean => ofDatabase.some(port => needed.has(port))

/** What SQLite goes without, and processes that share a MySQL do not. All that is missing is said at once. */
function refuseMissing(config: Config, { needsQueue, needsMailer }: Record<'needsQueue' | 'needsMailer', boolean>): void {
  if (isEmbedded(config)) return
  const missing: string[] = []
  if (needsQueue && config.redis.url === undefined)
    missing.push(
      'redis.url is not set, and with MySQL the task queue is in Redis; set BINGO_REDIS_URL or BINGO_REDIS_URL_FILE to redis://:password@host:6379',
    )
  if (needsMailer && config.mail.url === undefined)
    missing.push(
      'mail.url is not set, and with MySQL messages go through a server; set BINGO_MAIL_URL or BINGO_MAIL_URL_FILE to smtp://user:password@host:587',
    )
  if (missing.length > 0) throw new StartError(missing.join('\n'), exitCodes.configuration)
}

/** @param cache absent where rows are changed by other means than stores, as migrations do */
export const openConfiguredDatabase = (config: Config, observers: Observers, cache?: Cache): Promise<OpenDatabase> =>
  openDatabase(config, { clock: systemClock, seal: createSeal(rootKey(config), 'page-token'), cache, ...observers })

/** The library for tokens is loaded when the first one is signed or checked: a process is ready a tenth sooner without it. */
function openConfiguredTokens(config: Config, { db, log }: { db: OpenDatabase; log: Log }): Tokens {
  const key = rootKey(config)
  let opening: Promise<Tokens> | undefined
  const tokens = () => {
    opening ??= import('./tokens/open').then(({ openTokens }) => openTokens(key, db, config.auth, { clock: systemClock, log }))
    return opening
  }
  return {
    sign: async claims => (await tokens()).sign(claims),
    verify: async (token, audience) => (await tokens()).verify(token, audience),
    signService: async claims => (await tokens()).signService(claims),
    verifyService: async token => (await tokens()).verifyService(token),
    jwks: async () => (await tokens()).jwks(),
    rotate: async () => (await tokens()).rotate(),
    refreshMac: refreshMacOf(key),
  }
}

/** Loaded when used: a process on SQLite starts without the Redis driver. */
export async function openConfiguredRedis({ redis }: Config, log: Log): Promise<RedisServer | undefined> {
  if (redis.url === undefined) return undefined
  const { openRedis } = await import('./redis')
  const sentinels = redis.sentinels && { addresses: redis.sentinels, name: redis.sentinelName }
  return openRedis(redis.url, { log, isCluster: redis.cluster, sentinels })
}

/** Where reads go to replicas, an actor's next request may come to another process. */
async function sharedPositions({ database }: Config, redis: RedisServer | undefined): Promise<Pick<DriverTools, 'writePositions'>> {
  if (!redis || !database.replicaUrls) return {}
  const { sharedWritePositions } = await import('./database/replicas/shared-positions')
  return { writePositions: sharedWritePositions(redis.connect('write-positions')) }
}

/** Whether another process has changed the data since it was last asked. One that cannot tell keeps no copies. */
const changedElsewhere = (db: OpenDatabase | undefined) => db?.changedElsewhere?.() ?? true

async function openCache(
  config: Config,
  redis: RedisServer | undefined,
  db: () => OpenDatabase | undefined,
  { log, metrics }: Pick<Observers, 'log' | 'metrics'>,
): Promise<Cache | undefined> {
  const { memoryBytes, timeoutMs } = config.cache
  if (isEmbedded(config)) {
    if (memoryBytes === 0) return undefined
    return memoryCache({ bytesMax: memoryBytes, metrics: cacheMetrics(metrics) }, () => changedElsewhere(db()))
  }
  // Without Redis the processes on one MySQL could not tell each other what they change, so none keeps copies.
  if (!redis) return undefined
  // One write changes many keys at once, and a cluster has them on different servers.
  if (config.redis.cluster) {
    log.info('there is no cache of rows on a Redis Cluster')
    return undefined
  }
  const { openSharedCache } = await import('./cache/open')
  return openSharedCache(redis, { memoryBytes, timeoutMs, cipher: createCipher(rootKey(config), 'cache'), metrics: cacheMetrics(metrics) })
}
