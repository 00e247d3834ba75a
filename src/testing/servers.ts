import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import mysql from 'mysql2/promise'

/**
 * Real database servers for tests. A server named by `BINGO_TEST_MYSQL_URL` or `BINGO_TEST_MARIADB_URL` is used; otherwise one is
 * started on a free port with its data in a temporary folder, when the server is on the machine, and stopped with the process.
 */
export type ServerName = 'mariadb' | 'mysql'

export interface DatabaseServer {
  /** With a user that may make databases: `mysql://root@127.0.0.1:41234`. */
  url: string
  stop(): Promise<void>
}

const startTimeoutMs = 60_000
const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bingo-test')
/** A Debian of its own for the real MySQL, which Debian's stable release does not have. */
export const mysqlRoot = join(cache, 'mysql-root')

export const serverVariables = { mariadb: 'BINGO_TEST_MARIADB_URL', mysql: 'BINGO_TEST_MYSQL_URL' } as const

const running = new Map<ServerName, Promise<DatabaseServer | undefined>>()

/** @returns undefined when neither a URL is given nor the server installed */
export function databaseServer(name: ServerName): Promise<DatabaseServer | undefined> {
  const found = running.get(name) ?? provide(name)
  running.set(name, found)
  return found
}

/** Whether a test can have this server: its URL is given, or it is installed. Starts nothing. */
export function isAvailable(name: ServerName): boolean {
  if (process.env[serverVariables[name]]) return true
  return name === 'mariadb' ? Bun.which('mariadbd') !== null : existsSync(join(mysqlRoot, 'usr/sbin/mysqld'))
}

async function provide(name: ServerName): Promise<DatabaseServer | undefined> {
  if (!isAvailable(name)) return undefined
  const given = process.env[serverVariables[name]]
  if (given) return { url: given, stop: async () => {} }
  return startNew(name)
}

/** A server of this test alone, which it may kill, hang and start again. */
export interface OwnServer extends DatabaseServer {
  port: number
  /** SIGKILL, and waits until it is gone. */
  kill(): Promise<void>
  /** After `kill`: on the same port, with the same data. Resolves when it answers. */
  start(): Promise<void>
  /** SIGSTOP and SIGCONT: it keeps its connections and answers nothing. */
  pause(): void
  resume(): void
}

/** How each server is installed, and called. `folder` is one of its own, where `data` is its data. */
interface Installation {
  newFolder(): string
  /** Makes an empty `data`. */
  fill(folder: string): Promise<void>
  command(folder: string, port: number): string[]
}

export const installations: Record<ServerName, Installation> = {
  mariadb: {
    newFolder: () => mkdtempSync(join(tmpdir(), 'bingo-mariadb-')),
    fill: folder =>
      run([
        'mariadb-install-db',
        '--no-defaults',
        ...asRoot(),
        `--datadir=${join(folder, 'data')}`,
        '--auth-root-authentication-method=normal',
        '--skip-test-db',
      ]),
    command: (folder, port) => [
      'mariadbd',
      '--no-defaults',
      ...asRoot(),
      `--datadir=${join(folder, 'data')}`,
      `--socket=${join(folder, 'socket')}`,
      `--pid-file=${join(folder, 'pid')}`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--max-connections=400',
      // As MySQL has it unless told otherwise: writes get a GTID.
      '--log-bin=log-bin',
    ],
  },
  mysql: {
    newFolder: () => {
      mkdirSync(join(mysqlRoot, 'data'), { recursive: true })
      return mkdtempSync(join(mysqlRoot, 'data/my-'))
    },
    fill: folder => run([...mysqldIn(folder), '--initialize-insecure']),
    command: (folder, port) => [
      ...mysqldIn(folder),
      // The default names a folder that is not there.
      '--secure-file-priv=NULL',
      `--socket=${insideRoot(folder)}/socket`,
      `--pid-file=${insideRoot(folder)}/pid`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--mysqlx=OFF',
      '--max-connections=400',
    ],
  },
}

const insideRoot = (folder: string) => folder.slice(mysqlRoot.length)
const mysqldIn = (folder: string) => [
  'chroot',
  mysqlRoot,
  '/usr/sbin/mysqld',
  '--no-defaults',
  '--user=root',
  `--datadir=${insideRoot(folder)}/data`,
]

async function startNew(name: ServerName): Promise<DatabaseServer> {
  return startIn(name, await filledFolder(name))
}

/** A folder with empty data in it. */
export async function filledFolder(name: ServerName): Promise<string> {
  const folder = installations[name].newFolder()
  try {
    await installations[name].fill(folder)
    return folder
  } catch (thrown) {
    rmSync(folder, { recursive: true, force: true })
    throw thrown
  }
}

/** The servers refuse to run as root unless told so. */
const asRoot = () => (process.getuid?.() === 0 ? ['--user=root'] : [])

async function run(command: string[]): Promise<void> {
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'pipe' })
  const [output, code] = await Promise.all([child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`${command[0]} exited with ${code}: ${output}`)
}

/** Starts a server on the data of `folder`, which is removed when it is stopped. */
export async function startIn(name: ServerName, folder: string, options: readonly string[] = []): Promise<OwnServer> {
  const port = freePort()
  const url = `mysql://root@127.0.0.1:${port}`
  const command = [...installations[name].command(folder, port), ...options]
  const process = join(folder, 'process')
  // However this process ends, its end of the pipe closes, and the watcher stops the server and removes its data.
  const watcher = Bun.spawn(['sh', '-c', 'cat >/dev/null; kill -9 "$(cat "$1/process")" 2>/dev/null; rm -rf "$1"', 'watcher', folder], {
    stdin: 'pipe',
    stdout: 'ignore',
    stderr: 'ignore',
  })
  const launch = () => {
    const launched = Bun.spawn(command, { stdout: 'ignore', stderr: Bun.file(join(folder, 'log')) })
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
    while (!(await answers(url))) {
      if (child.exitCode !== null || performance.now() > deadline) {
        const log = await Bun.file(join(folder, 'log')).text()
        await stop()
        throw new Error(`the database server did not start: ${log.slice(-2000)}`)
      }
      await Bun.sleep(50)
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
  }
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
