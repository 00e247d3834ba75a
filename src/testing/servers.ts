import { existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import mysql from 'mysql2/promise'

/**
 * Real servers for tests. A server named by `BINGO_TEST_MYSQL_URL`, `BINGO_TEST_MARIADB_URL` or `BINGO_TEST_REDIS_URL` is used;
 * otherwise one is started on a free port with its data in a temporary folder, when the server is on the machine, and stopped
 * with the process.
 */
export type ServerName = 'mariadb' | 'mysql'
export const serverNames: readonly ServerName[] = ['mariadb', 'mysql']

export interface DatabaseServer {
  /** With a user that may make databases: `mysql://root@127.0.0.1:41234`. */
  url: string
  stop(): Promise<void>
}

const startTimeoutMs = 60_000
const startPauseMs = 50
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bingo-test')
/** A Debian of its own for the real MySQL, which Debian's stable release does not have. */
export const mysqlRoot = join(cache, 'mysql-root')

export const serverVariables = { mariadb: 'BINGO_TEST_MARIADB_URL', mysql: 'BINGO_TEST_MYSQL_URL', redis: 'BINGO_TEST_REDIS_URL' } as const

const running = new Map<ServerName, Promise<DatabaseServer | undefined>>()

/** @returns undefined when neither a URL is given nor the server installed */
export function databaseServer(name: ServerName): Promise<DatabaseServer | undefined> {
  const found = running.get(name) ?? provide(name)
  running.set(name, found)
  return found
}

/** Whether a test can have this server: its URL is given, or it is installed. Starts nothing. */
export function isAvailable(name: ServerName | 'redis'): boolean {
  if (process.env[serverVariables[name]]) return true
  if (name === 'redis') return Bun.which('redis-server') !== null
  return name === 'mariadb' ? Bun.which('mariadbd') !== null : existsSync(join(mysqlRoot, 'usr/sbin/mysqld'))
}

async function provide(name: ServerName): Promise<DatabaseServer | undefined> {
  if (!isAvailable(name)) return undefined
  const given = process.env[serverVariables[name]]
  if (given) return { url: given, stop: async () => {} }
  return name === 'mariadb' ? startMariadb() : startMysql()
}

async function startMariadb(): Promise<DatabaseServer> {
  const folder = mkdtempSync(join(tmpdir(), 'bingo-mariadb-'))
  const data = join(folder, 'data')
  await run([
    'mariadb-install-db',
    '--no-defaults',
    ...asRoot(),
    `--datadir=${data}`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
  ])
  return started(folder, port => [
    'mariadbd',
    '--no-defaults',
    ...asRoot(),
    `--datadir=${data}`,
    `--socket=${join(folder, 'socket')}`,
    `--pid-file=${join(folder, 'pid')}`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--max-connections=400',
    // As MySQL has it unless told otherwise: writes get a GTID.
    '--log-bin=log-bin',
  ])
}

async function startMysql(): Promise<DatabaseServer> {
  mkdirSync(join(mysqlRoot, 'data'), { recursive: true })
  const folder = mkdtempSync(join(mysqlRoot, 'data/my-'))
  const inside = folder.slice(mysqlRoot.length)
  const mysqld = ['chroot', mysqlRoot, '/usr/sbin/mysqld', '--no-defaults', '--user=root', `--datadir=${inside}/data`]
  await run([...mysqld, '--initialize-insecure'])
  return started(folder, port => [
    ...mysqld,
    // The default names a folder that is not there.
    '--secure-file-priv=NULL',
    `--socket=${inside}/socket`,
    `--pid-file=${inside}/pid`,
    `--port=${port}`,
    '--bind-address=127.0.0.1',
    '--mysqlx=OFF',
    '--max-connections=400',
  ])
}

/** The servers refuse to run as root unless told so. */
const asRoot = () => (process.getuid?.() === 0 ? ['--user=root'] : [])

async function run(command: string[]): Promise<void> {
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'pipe' })
  const [output, code] = await Promise.all([child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`${command[0]} exited with ${code}: ${output}`)
}

async function started(
  folder: string,
  command: (port: number) => string[],
  urlOf = (port: number) => `mysql://root@127.0.0.1:${port}`,
  isThere = answers,
): Promise<DatabaseServer> {
  const port = freePort()
  const child = Bun.spawn(command(port), { stdout: 'ignore', stderr: Bun.file(join(folder, 'log')) })
  // However this process ends, its end of the pipe closes, and the watcher stops the server and removes its data.
  const watcher = Bun.spawn(['sh', '-c', 'cat >/dev/null; kill -9 "$1" 2>/dev/null; rm -rf "$2"', 'watcher', String(child.pid), folder], {
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  const stop = async () => {
    child.kill()
    await child.exited
    watcher.stdin.end()
    await watcher.exited
  }
  const url = urlOf(port)
  const deadline = performance.now() + startTimeoutMs
  while (!(await isThere(url))) {
    if (child.exitCode !== null || performance.now() > deadline) {
      const log = await Bun.file(join(folder, 'log')).text()
      await stop()
      throw new Error(`the server did not start: ${log.slice(-2000)}`)
    }
    await Bun.sleep(startPauseMs)
  }
  return { url, stop }
}

async function answers(url: string): Promise<boolean> {
  try {
    const connection = await mysql.createConnection({ uri: url, connectTimeout: 1000 })
    await connection.end()
    return true
  } catch {
    return false
  }
}

let redis: Promise<DatabaseServer | undefined> | undefined

/** A Redis server for all tests; those that stop theirs start one of their own. @returns undefined when it is not installed */
export function redisServer(): Promise<DatabaseServer | undefined> {
  redis ??= provideRedis()
  return redis
}

async function provideRedis(): Promise<DatabaseServer | undefined> {
  if (!isAvailable('redis')) return undefined
  const given = process.env[serverVariables.redis]
  if (given) return { url: given, stop: async () => {} }
  const folder = mkdtempSync(join(tmpdir(), 'bingo-redis-'))
  return started(folder, port => redisCommand(port, folder), redisUrl, redisAnswers)
}

/** Keeps nothing on the disk but what `SAVE` is told to. */
export const redisCommand = (port: number, folder: string): string[] => [
  'redis-server',
  ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder, '--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
]
export const redisUrl = (port: number): string => `redis://127.0.0.1:${port}`

export async function redisAnswers(url: string): Promise<boolean> {
  const client = new Redis(url, { lazyConnect: true, retryStrategy: () => null, enableOfflineQueue: false })
  client.on('error', () => {})
  try {
    await client.connect()
    return (await client.ping()) === 'PONG'
  } catch {
    return false
  } finally {
    client.disconnect()
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
export async function createTestDatabase(server: DatabaseServer): Promise<TestDatabase> {
  const name = `bingo_${crypto.randomUUID().replaceAll('-', '')}`
  const say = async (sql: string) => {
    const connection = await mysql.createConnection(server.url)
    await connection.query(sql)
    await connection.end()
  }
  await say(`create database ${name}`)
  return { url: `${server.url}/${name}`, drop: () => say(`drop database ${name}`) }
}
