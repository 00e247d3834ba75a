import { beforeAll, describe, test } from 'bun:test'
import { type BingoOptions, temporaryFolder } from './bingo'
import type { DatabaseName } from './installations'
import { createTestDatabase, dropKeys, isAvailable, redisNames, type Server, type ServerName, sharedServer } from './servers'

/** A database that every suite runs on, unchanged. */
export interface Backing {
  /** For `BINGO_DATABASE_URL`; of this use alone. */
  url: string
  /** For the executable. */
  options: Pick<BingoOptions, 'env' | 'args'>
  dispose(): Promise<void>
}

const serverStartTimeoutMs = 60_000
/** Nobody listens there: what is to be sent waits. */
const nowhere = 'smtp://127.0.0.1:1'

export type BackingName = 'sqlite' | DatabaseName
export const backingNames: readonly BackingName[] = ['sqlite', 'mariadb', 'mysql']

const testKey = Buffer.from(Array.from({ length: 32 }, (_, i) => i * 7 + 1)).toString('base64')

/** An empty database of this kind, or undefined when its server is not on the machine. */
export async function openBacking(name: BackingName): Promise<Backing | undefined> {
  if (name === 'sqlite') {
    const folder = temporaryFolder()
    const url = `sqlite:${folder.path}/bingo.db`
    return { url, options: { env: { BINGO_DATABASE_URL: url } }, dispose: async () => folder[Symbol.dispose]() }
  }
  const server = await sharedServer(name)
  const redis = await sharedServer('redis')
  if (!server || !redis) return undefined
  const { url, drop } = await createTestDatabase(server)
  const env = besideMysql(redis)
  return {
    url,
    options: { env: { BINGO_DATABASE_URL: url, ...env }, args: ['--migrate'] },
    async dispose() {
      await drop()
      await dropKeys(redis, env.BINGO_REDIS_PREFIX)
    },
  }
}

/** What a process on MySQL needs besides its database. The queue's keys begin with a word of their own. */
export const besideMysql = ({ url }: Pick<Server, 'url'>) => ({
  BINGO_AUTH_KEY: testKey,
  BINGO_REDIS_URL: url,
  BINGO_REDIS_PREFIX: `test-${crypto.randomUUID().slice(0, 13)}`,
  BINGO_MAIL_URL: nowhere,
})

/** A test that needs servers. Where one is missing the test is skipped loudly; under `CI=true` that is an error. */
export function testOn(names: ServerName | readonly ServerName[], title: string, work: () => Promise<void>, timeoutMs = 60_000): void {
  const missing = [names].flat().find(name => !isAvailable(name))
  if (missing === undefined) test(title, work, timeoutMs)
  else refuseOrSkip(missing, title)
}

function refuseOrSkip(name: string, title: string): void {
  if (process.env['CI'] === 'true') {
    test(title, () => {
      throw new Error(`${name} is not on this machine, and CI skips nothing`)
    })
  } else {
    console.warn(`SKIPPED: ${title}: ${name} is not on this machine`)
    test.skip(title, () => {})
  }
}

/** A suite that needs a server, or none. Where it is missing the suite is skipped loudly; under `CI=true` that is an error. */
export function describeOn(name: ServerName | undefined, title: string, suite: () => void): void {
  if (name === undefined || isAvailable(name)) describe(title, suite)
  else refuseOrSkip(name, title)
}

export const describeOnRedis = (title: string, suite: () => void): void => describeOn('redis', title, suite)

export type RedisName = (typeof redisNames)[number]

/** Runs a suite once for each server that speaks Redis; where one is missing, as above. */
export function onEachRedis(
  title: string,
  suite: (open: () => Promise<{ url: string; isCluster: boolean }>, name: RedisName) => void,
): void {
  for (const name of redisNames) {
    describeOn(name, `${title} on ${name}`, () => {
      beforeAll(() => sharedServer(name).then(() => {}), serverStartTimeoutMs)
      suite(async () => ({ url: (await sharedServer(name))?.url ?? '', isCluster: name === 'redisCluster' }), name)
    })
  }
}

/**
 * Runs a suite once for each database. Where a server is missing its suite is skipped loudly; under `CI=true` that is an error.
 */
export const onEachBacking = (title: string, suite: Suite): void => onEachOf(backingNames, title, suite)

/** Runs a suite once for each database server: for what SQLite does without. */
export const onEachServer = (title: string, suite: Suite): void => onEachOf(['mariadb', 'mysql'], title, suite)

type Suite = (open: () => Promise<Backing>, name: BackingName) => void

function onEachOf(names: readonly BackingName[], title: string, suite: Suite): void {
  for (const name of names) {
    const isMissing = name !== 'sqlite' && !(isAvailable(name) && isAvailable('redis'))
    if (!isMissing) {
      describe(`${title} on ${name}`, () => {
        // Its own step, since a server takes longer to start than a suite may.
        if (name !== 'sqlite')
          beforeAll(() => Promise.all([sharedServer(name), sharedServer('redis')]).then(() => {}), serverStartTimeoutMs)
        suite(async () => (await openBacking(name)) as Backing, name)
      })
    } else {
      refuseOrSkip(name, `${title} on ${name}`)
    }
  }
}
