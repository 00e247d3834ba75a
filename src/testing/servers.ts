import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import mysql from 'mysql2/promise'
import { installations, removeFolder, type SingleName } from './installations'
import { startCluster } from './redis-cluster'

/**
 * Real servers for tests. A server named by `BINGO_TEST_MYSQL_URL`, `BINGO_TEST_REDIS_URL` and so on is used;
 * otherwise one is started on a free port with its data in a temporary folder, when it is on the machine, and stopped with the
 * process.
 */
export interface Server {
  /** For a database with a user that may make databases: `mysql://root@127.0.0.1:41234`. */
  url: string
  stop(): Promise<void>
}

const startTimeoutMs = 60_000
const startPauseMs = 50

/** `redis` is Debian's, 7 at present; `redisCluster` three of it. */
export type ServerName = SingleName | 'redisCluster'

export const serverVariables: Record<ServerName, string> = {
  mariadb: 'BINGO_TEST_MARIADB_URL',
  mysql: 'BINGO_TEST_MYSQL_URL',
  redis: 'BINGO_TEST_REDIS_URL',
  redis8: 'BINGO_TEST_REDIS8_URL',
  valkey: 'BINGO_TEST_VALKEY_URL',
  redisCluster: 'BINGO_TEST_REDIS_CLUSTER_URL',
}
/** All that speak Redis. */
export const redisNames = ['redis', 'redis8', 'valkey', 'redisCluster'] as const

const running = new Map<ServerName, Promise<Server | undefined>>()

/** The server that all tests share. @returns undefined when neither a URL is given nor the server installed */
export function sharedServer(name: ServerName): Promise<Server | undefined> {
  const found = running.get(name) ?? provide(name)
  running.set(name, found)
  return found
}

/** Whether a test can have this server: its URL is given, or it is installed. Starts nothing. */
export const isAvailable = (name: ServerName): boolean =>
  Boolean(process.env[serverVariables[name]]) || installations[name === 'redisCluster' ? 'redis' : name].isThere()

async function provide(name: ServerName): Promise<Server | undefined> {
  if (!isAvailable(name)) return undefined
  const given = process.env[serverVariables[name]]
  if (given) return { url: given, stop: async () => {} }
  return name === 'redisCluster' ? startCluster() : startOwn(name)
}

/** A server of one test alone, which it may kill, hang and start again. */
export interface OwnServer extends Server {
  port: number
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
  /** After `kill`: on the same port, with the same data. Resolves when it answers. */
  start(): Promise<void>
  /** SIGSTOP and SIGCONT: it keeps its connections and answers nothing. */
  pause(): void
  resume(): void
  [Symbol.asyncDispose](): Promise<void>
}

/** A port that is free may be taken before the server has it. Then it ends at once, and is started anew on another. */
const startsMax = 3
class EndedAtStart extends Error {}

/** @param options of each start, when they name ports as well */
export async function startOwn(name: SingleName, options: readonly string[] | (() => readonly string[]) = []): Promise<OwnServer> {
  for (let starts = 1; ; starts++) {
    const folder = await filledFolder(name)
    try {
      return await startIn(name, folder, typeof options === 'function' ? options() : options)
    } catch (thrown) {
      if (!(thrown instanceof EndedAtStart) || starts === startsMax) throw thrown
    }
  }
}

/** A folder with empty data in it. */
export async function filledFolder(name: SingleName): Promise<string> {
  const folder = installations[name].newFolder()
  try {
    await installations[name].fill(folder)
    return folder
  } catch (thrown) {
    Bun.spawnSync(['sh', '-c', removeFolder, 'remover', folder])
    throw thrown
  }
}

/** Starts a server on the data of `folder`, which is removed when it is stopped. @param env besides that of this process */
export async function startIn(
  name: SingleName,
  folder: string,
  options: readonly string[] = [],
  env: Readonly<Record<string, string>> = {},
): Promise<OwnServer> {
  const installation = installations[name]
  const port = freePort()
  const url = installation.url(port)
  const command = [...installation.command(folder, port), ...options]
  const process = join(folder, 'process')
  // However this process ends, its end of the pipe closes, and the watcher stops the server and removes its data.
  const watcher = Bun.spawn(['sh', '-c', `cat >/dev/null; kill -9 "$(cat "$1/process")" 2>/dev/null; ${removeFolder}`, 'watcher', folder], {
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  const launch = () => {
    const launched = Bun.spawn(command, {
      env: { ...globalThis.process.env, ...env },
      stdout: 'ignore',
      stderr: Bun.file(join(folder, 'log')),
    })
    writeFileSync(process, String(launched.pid))
    return launched
  }
  let child = launch()
  const gone = async () => {
    await child.exited
    rmSync(process, { force: true })
  }
  const stop = async () => {
    // Nobody needs its data any more, so it need not write them.
    child.kill('SIGKILL')
    await gone()
    watcher.stdin.end()
    await watcher.exited
  }
  const answering = async () => {
    const deadline = performance.now() + startTimeoutMs
    while (!(await installation.answers(url))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        const log = await Bun.file(join(folder, 'log')).text()
        const Thrown = child.exitCode === null ? Error : EndedAtStart
        await stop()
        throw new Thrown(`${name} did not start: ${log.slice(-2000)}`)
      }
      await Bun.sleep(startPauseMs)
    }
  }
  await answering()
  return {
    url,
    port,
    stop,
    async kill() {
      child.kill('SIGKILL')
      await gone()
    },
    async start() {
      child = launch()
      await answering()
    },
    pause: () => child.kill('SIGSTOP'),
    resume: () => child.kill('SIGCONT'),
    [Symbol.asyncDispose]: stop,
  }
}

export function freePort(): number {
  const listener = Bun.listen({ hostname: '127.0.0.1', port: 0, socket: { data() {} } })
  const { port } = listener
  listener.stop(true)
  return port
}

export interface TestDatabase {
  /** For `BINGO_DATABASE_URL`. */
  url: string
  drop(): Promise<void>
}

/** An empty database of its own on a server. */
export async function createTestDatabase(server: Server): Promise<TestDatabase> {
  const name = `bingo_${crypto.randomUUID().replaceAll('-', '')}`
  const say = async (sql: string) => {
    const connection = await mysql.createConnection(server.url)
    await connection.query(sql)
    await connection.end()
  }
  await say(`create database ${name}`)
  return { url: `${server.url}/${name}`, drop: () => say(`drop database ${name}`) }
}

/** Removes what an installation has left on a Redis that others use, too. */
export async function dropKeys(server: Pick<Server, 'url'>, prefix: string): Promise<void> {
  const redis = new Redis(server.url)
  for await (const keys of redis.scanStream({ match: `${prefix}:*`, count: 1000 }))
    if (keys.length > 0) await redis.unlink(...(keys as string[]))
  redis.disconnect()
}
