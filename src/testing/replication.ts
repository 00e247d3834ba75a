import { cpSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import mysql from 'mysql2/promise'
import { type DatabaseName, installations } from './installations'
import { filledFolder, type OwnServer, startIn } from './servers'

/** A primary and its replicas, real servers that replicate on loopback, of one test file alone. */
export interface Replication {
  primary: OwnServer
  replicas: OwnServer[]
  /** Makes a replica apply each change so many seconds late; 0 = at once. Resolves when it replicates again. */
  delay(replica: OwnServer, seconds: number): Promise<void>
  /** Resolves when the replica has applied all that the primary has now. */
  caughtUp(replica: OwnServer): Promise<void>
  /** Runs `work` while nobody gives a write a position. MySQL only: MariaDB has no such switch. */
  withoutPositions(work: () => Promise<void>): Promise<void>
  stop(): Promise<void>
}

const user = 'replica'
const catchUpTimeoutMs = 10_000

/** Statements by server, where the two have other words. */
const words = {
  mysql: {
    options: ['--gtid-mode=ON', '--enforce-gtid-consistency=ON', '--sync-binlog=0', '--innodb-redo-log-capacity=8388608'],
    follow: (port: number) =>
      `change replication source to source_host = '127.0.0.1', source_port = ${port}, source_user = '${user}', source_password = '${user}',
       source_auto_position = 1, source_connect_retry = 1, source_retry_count = 1000, get_source_public_key = 1`,
    delay: (seconds: number) => `change replication source to source_delay = ${seconds}`,
    position: 'select @@gtid_executed as position',
    wait: 'select wait_for_executed_gtid_set(?, ?) as late',
  },
  mariadb: {
    options: ['--sync-binlog=0', '--innodb-log-file-size=8M'],
    follow: (port: number) =>
      `change master to master_host = '127.0.0.1', master_port = ${port}, master_user = '${user}', master_password = '${user}',
       master_use_gtid = slave_pos, master_connect_retry = 1`,
    delay: (seconds: number) => `change master to master_delay = ${seconds}`,
    position: 'select @@gtid_binlog_pos as position',
    wait: 'select master_gtid_wait(?, ?) as late',
  },
} as const

/** Takes a few seconds, more on MySQL. */
export async function startReplication(name: DatabaseName, count: number): Promise<Replication> {
  const said = words[name]
  // Filled once, since that takes seconds, and copied before anything runs on it.
  const first = await filledFolder(name)
  const others = Array.from({ length: count }, installations[name].newFolder)
  for (const folder of others) {
    cpSync(join(first, 'data'), join(folder, 'data'), { recursive: true })
    rmSync(join(folder, 'data/auto.cnf'), { force: true })
  }
  const servers = await Promise.all([first, ...others].map((folder, i) => startIn(name, folder, [...said.options, `--server-id=${i + 1}`])))
  const [primary, ...replicas] = servers as [OwnServer, ...OwnServer[]]
  await say(primary, `create user ${user}@'%' identified by '${user}'`, `grant replication slave on *.* to ${user}@'%'`)
  const { caughtUp } = follow(name, primary)
  for (const replica of replicas) {
    await say(replica, said.follow(primary.port), 'start replica')
    await replicates(replica)
    await caughtUp(replica)
  }
  return {
    primary,
    replicas,
    caughtUp,
    async delay(replica, seconds) {
      await say(replica, 'stop replica', said.delay(seconds), 'start replica')
      await replicates(replica)
    },
    async withoutPositions(work) {
      const step = async (mode: string) => {
        for (const server of servers) await say(server, `set global gtid_mode = ${mode}`)
      }
      const follow = async (change: string) => {
        for (const replica of replicas) {
          await say(replica, 'stop replica', `change replication source to ${change}`, 'start replica')
          await replicates(replica)
        }
      }
      await follow('source_auto_position = 0')
      for (const mode of ['ON_PERMISSIVE', 'OFF_PERMISSIVE', 'OFF']) await step(mode)
      try {
        await work()
      } finally {
        for (const mode of ['OFF_PERMISSIVE', 'ON_PERMISSIVE', 'ON']) await step(mode)
        await follow('source_auto_position = 1, source_delay = 0')
      }
    },
    stop: async () => void (await Promise.all(servers.map(server => server.stop()))),
  }
}

function follow(name: DatabaseName, primary: OwnServer) {
  const { position, wait } = words[name]
  return {
    async caughtUp(replica: OwnServer) {
      const [row] = await ask(primary, position)
      const [{ late } = { late: -1 }] = await ask(replica, wait, [row?.['position'], catchUpTimeoutMs / 1000])
      if (Number(late) !== 0) throw new Error(`the replica is still behind after ${catchUpTimeoutMs} ms`)
    },
  }
}

/** Resolves when the replica receives and applies. */
async function replicates(replica: OwnServer): Promise<void> {
  const deadline = performance.now() + catchUpTimeoutMs
  for (;;) {
    const [status = {}] = await ask(replica, 'show replica status')
    const running = Object.entries(status).filter(([name]) => /_(IO|SQL)_Running$/.test(name))
    if (running.every(([, value]) => value === 'Yes')) return
    if (performance.now() > deadline) throw new Error(`the replica does not replicate: ${JSON.stringify(status)}`)
    await Bun.sleep(10)
  }
}

/** Says statements to a server, in a session of their own. */
export async function say(server: Pick<OwnServer, 'url'>, ...statements: string[]): Promise<void> {
  await connected(server, async connection => {
    for (const statement of statements) await connection.query(statement)
  })
}

export async function ask(server: OwnServer, sql: string, values: unknown[] = []): Promise<Record<string, unknown>[]> {
  const [rows] = await connected(server, connection => connection.query<mysql.RowDataPacket[]>(sql, values))
  return rows
}

async function connected<T>(server: Pick<OwnServer, 'url'>, work: (connection: mysql.Connection) => Promise<T>): Promise<T> {
  const connection = await mysql.createConnection(server.url)
  try {
    return await work(connection)
  } finally {
    await connection.end()
  }
}
