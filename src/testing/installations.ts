import { existsSync, mkdirSync, mkdtempSync } from 'node:fs'
import { homedir, tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import mysql from 'mysql2/promise'
import { isMemoryFree } from './memory-folder'

/** How each server is installed, filled and called. */
export type SingleName = DatabaseName | 'redis' | 'redis8' | 'valkey'
export type DatabaseName = 'mariadb' | 'mysql'

/** `folder` is one of its own, where its data is. */
export interface Installation {
  isThere(): boolean
  newFolder(): string
  /** Makes it empty, but ready to be started on. */
  fill(folder: string): Promise<void>
  command(folder: string, port: number): string[]
  url(port: number): string
  answers(url: string): Promise<boolean>
}

const cache = join(process.env['XDG_CACHE_HOME'] ?? join(homedir(), '.cache'), 'bingo-test')
/** A Debian of its own for what Debian's stable release does not have: the real MySQL, Redis 8 and Valkey. */
export const unstableRoot = join(cache, 'mysql-root')
const insideRoot = (folder: string) => folder.slice(unstableRoot.length)
export const isInRoot = (program: string): boolean => existsSync(join(unstableRoot, program))
const newFolderInRoot = (prefix: string) => {
  mkdirSync(join(unstableRoot, 'data'), { recursive: true })
  return mkdtempSync(join(unstableRoot, 'data', prefix))
}
/** In memory where it can be: a table takes it a tenth of the time there. Whoever removes the folder ends the mount first. */
const newMemoryFolderInRoot = (prefix: string) => {
  const folder = newFolderInRoot(prefix)
  if (isMemoryFree()) Bun.spawnSync(['mount', '-t', 'tmpfs', 'tmpfs', folder], { stderr: 'ignore' })
  return folder
}
/** For `sh`: `$1` is a folder of a server that has ended. */
export const removeFolder = 'umount --lazy "$1" 2>/dev/null; rm -rf "$1"'
/** Where each is, and how it is packaged. */
export const inRoot = {
  mysql: { program: 'usr/sbin/mysqld', package: 'mysql-server-core' },
  redis8: { program: 'usr/bin/redis-server', package: 'redis-server' },
  valkey: { program: 'usr/bin/valkey-server', package: 'valkey-server' },
} as const
const mysqldIn = (folder: string) => [
  'chroot',
  unstableRoot,
  '/usr/sbin/mysqld',
  '--no-defaults',
  '--user=root',
  `--datadir=${insideRoot(folder)}/data`,
  // That of the environment is outside.
  '--tmpdir=/tmp',
]
/** No machine of tests loses its power, so no commit waits for a disk: what has been written is there when a server alone is killed. */
const withoutSync = ['--innodb-flush-method=nosync', '--innodb-flush-log-at-trx-commit=2', '--sync-binlog=0']

/** The servers refuse to run as root unless told so. */
const asRoot = () => (process.getuid?.() === 0 ? ['--user=root'] : [])

const speaksMysql: Pick<Installation, 'url' | 'answers'> = {
  url: port => `mysql://root@127.0.0.1:${port}`,
  async answers(url) {
    try {
      const connection = await mysql.createConnection({ uri: url, connectTimeout: 1000 })
      await connection.end()
      return true
    } catch {
      return false
    }
  },
}

/** Keeps nothing on the disk but what `SAVE` is told to. */
const redisOptions = (folder: string, port: number) => [
  ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
  ...['--save', '', '--appendonly', 'no', '--loglevel', 'warning'],
]

const speaksRedis: Pick<Installation, 'fill' | 'url' | 'answers'> = {
  fill: async () => {},
  url: port => `redis://127.0.0.1:${port}`,
  async answers(url) {
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
  },
}

const redisInRoot = (name: 'redis8' | 'valkey'): Installation => ({
  ...speaksRedis,
  isThere: () => isInRoot(inRoot[name].program),
  newFolder: () => newFolderInRoot(`${name}-`),
  command: (folder, port) => ['chroot', unstableRoot, `/${inRoot[name].program}`, ...redisOptions(insideRoot(folder), port)],
})

export const installations: Record<SingleName, Installation> = {
  mariadb: {
    ...speaksMysql,
    isThere: () => Bun.which('mariadbd') !== null,
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
      ...withoutSync,
      // As MySQL has it unless told otherwise: writes get a GTID.
      '--log-bin=log-bin',
    ],
  },
  mysql: {
    ...speaksMysql,
    isThere: () => isInRoot(inRoot.mysql.program),
    newFolder: () => newMemoryFolderInRoot('my-'),
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
      ...withoutSync,
    ],
  },
  redis: {
    ...speaksRedis,
    isThere: () => Bun.which('redis-server') !== null,
    newFolder: () => mkdtempSync(join(tmpdir(), 'bingo-redis-')),
    command: (folder, port) => ['redis-server', ...redisOptions(folder, port)],
  },
  redis8: redisInRoot('redis8'),
  valkey: redisInRoot('valkey'),
}

async function run(command: string[]): Promise<void> {
  const child = Bun.spawn(command, { stdout: 'pipe', stderr: 'pipe' })
  const [output, code] = await Promise.all([child.stderr.text(), child.exited])
  if (code !== 0) throw new Error(`${command[0]} exited with ${code}: ${output}`)
}
