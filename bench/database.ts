import mysql from 'mysql2/promise'
import type { Cache } from '@/core/cache'
import { systemClock } from '@/core/clock'
import { loadConfig } from '@/core/config/load'
import { createSeal } from '@/core/seal'
import type { OpenDatabase } from '@/infra/database/driver'
import { openDatabase } from '@/infra/database/open'
import { createLogOn } from '@/infra/log'
import { createMetrics } from '@/infra/metrics'
import { progress } from './measure'
import { freePort, must, removeFolder, start, stop, temporaryFolder, until } from './process'

/** A database of the benchmark's own, on a server that tests name or on a MariaDB started for it. */
export interface BenchDatabase {
  url: string
  /** `MySQL 9.7.0`, for the tables. */
  server: string
  remove(): Promise<void>
}

const startTimeoutMs = 60_000

export async function benchDatabase(): Promise<BenchDatabase> {
  const given = process.env['BINGO_TEST_MYSQL_URL'] || process.env['BINGO_TEST_MARIADB_URL']
  const { root, stopServer } = given ? { root: given, stopServer: async () => {} } : await ownServer()
  const name = `bingo_bench_${process.pid}`
  const url = new URL(root)
  url.pathname = `/${name}`
  await ask(root, `create database ${name}`)
  // What is compared is clients; waiting for the disk would make them all alike. The server's own way comes back with its restart.
  await ask(root, 'set global innodb_flush_log_at_trx_commit = 2, global sync_binlog = 0').catch(() => {})
  const [{ version }] = (await ask(root, 'select version() as version')) as [{ version: string }]
  return {
    url: url.href,
    server: /mariadb/i.test(version) ? `MariaDB ${version.split('-')[0]}` : `MySQL ${version}`,
    async remove() {
      await ask(root, `drop database ${name}`)
      await stopServer()
    },
  }
}

/** The product's driver on a database. */
export const openBench = (url: string, poolSize = 16, cache?: Cache): Promise<OpenDatabase> =>
  openDatabase(
    { database: { ...loadConfig({ env: {}, flags: {}, readFile: () => '' }).config.database, url, poolSize } },
    {
      clock: systemClock,
      seal: createSeal(crypto.getRandomValues(new Uint8Array(32)), 'page-token'),
      cache,
      log: createLogOn(line => process.stderr.write(line), 'warn'),
      metrics: createMetrics({ version: 'bench', roles: [] }),
    },
  )

async function ask(url: string, sql: string): Promise<unknown> {
  const connection = await mysql.createConnection({ uri: url })
  try {
    const [rows] = await connection.query(sql)
    return rows
  } finally {
    await connection.end()
  }
}

async function ownServer() {
  const install = found('mariadb-install-db')
  const server = found('mariadbd')
  const folder = temporaryFolder()
  const port = await freePort()
  const asRoot = process.getuid?.() === 0 ? ['--user=root'] : []
  progress('starting a MariaDB')
  await must([
    install,
    '--no-defaults',
    ...asRoot,
    `--datadir=${folder}/data`,
    '--auth-root-authentication-method=normal',
    '--skip-test-db',
  ])
  const child = start(
    [
      server,
      '--no-defaults',
      ...asRoot,
      `--datadir=${folder}/data`,
      `--socket=${folder}/socket`,
      `--pid-file=${folder}/pid`,
      `--port=${port}`,
      '--bind-address=127.0.0.1',
      '--innodb-buffer-pool-size=256M',
      // What is compared is clients; waiting for the disk would make them all alike.
      '--innodb-flush-log-at-trx-commit=2',
      '--log-warnings=0',
    ],
    { core: 'load' },
  )
  const root = `mysql://root@127.0.0.1:${port}/mysql`
  await until('the MariaDB', async () => Boolean(await ask(root, 'select 1')), startTimeoutMs, 100)
  const stopServer = async () => {
    await stop(child)
    removeFolder(folder)
  }
  return { root, stopServer }
}

function found(program: string): string {
  const path = Bun.which(program, { PATH: `${process.env['PATH']}:/usr/sbin:/usr/local/sbin` })
  if (path) return path
  throw new Error(
    `${program} is not there; install MariaDB's server (Debian: apt install mariadb-server), or name a server in BINGO_TEST_MYSQL_URL`,
  )
}
