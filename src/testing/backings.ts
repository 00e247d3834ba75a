import { beforeAll, describe, test } from 'bun:test'
import { type BingoOptions, temporaryFolder } from './bingo'
import type { DatabaseName } from './installations'
import { createTestDatabase, isAvailable, redisNames, type ServerName, sharedServer } from './servers'

/** A database that every suite runs on, unchanged. */
export interface Backing {
  /** For `BINGO_DATABASE_URL`; of this use alone. */
  url: string
  /** For the executable. */
  options: Pick<BingoOptions, 'env' | 'args'>
  dispose(): Promise<void>
}

const serverStartTimeoutMs = 60_000

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
  if (!server) return undefined
  const { url, drop } = await createTestDatabase(server)
  return { url, options: { env: { BINGO_DATABASE_URL: url, BINGO_AUTH_KEY: testKey }, args: ['--migrate'] }, dispose: drop }
}

/** A test that needs one server. Where it is missing the test is skipped loudly; under `CI=true` that is an error. */
export function testOn(name: ServerName, title: string, work: () => Promise<void>, timeoutMs = 60_000): void {
  if (isAvailable(name)) test(title, work, timeoutMs)
  else refuseOrSkip(name, title)
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
    const isMissing = name !== 'sqlite' && !isAvailable(name)
    if (!isMissing) {
      describe(`${title} on ${name}`, () => {
        // Its own step, since a server takes longer to start than a suite may.
        if (name !== 'sqlite') beforeAll(() => sharedServer(name).then(() => {}), serverStartTimeoutMs)
        suite(async () => (await openBacking(name)) as Backing, name)
      })
    } else {
      refuseOrSkip(name, `${title} on ${name}`)
    }
  }
}
