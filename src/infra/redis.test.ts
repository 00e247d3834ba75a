import { afterEach, expect, test } from 'bun:test'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import { describeOnRedis } from '@/testing/backings'
import { fakeLog } from '@/testing/fakes'
import { moveSlotOf, startCluster } from '@/testing/redis-cluster'
import { newTask, openSubject, until } from '@/testing/redis-queue'
import { freePort, startOwn } from '@/testing/servers'
import { openRedis } from './redis'

const closers: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close()
})

/** A Sentinel that watches a primary and its replica. */
async function startSentinel(name: string, primaryPort: number): Promise<number> {
  const port = freePort()
  const folder = mkdtempSync(join(tmpdir(), 'bingo-sentinel-'))
  const file = join(folder, 'sentinel.conf')
  const said = [`port ${port}`, 'bind 127.0.0.1', `dir ${folder}`, `sentinel monitor ${name} 127.0.0.1 ${primaryPort} 1`]
  writeFileSync(file, `${[...said, `sentinel down-after-milliseconds ${name} 1000`].join('\n')}\n`)
  const child = Bun.spawn(['redis-server', file, '--sentinel'], { stdout: 'ignore', stderr: 'ignore' })
  closers.push(async () => {
    child.kill('SIGKILL')
    await child.exited
    rmSync(folder, { recursive: true, force: true })
  })
  const client = new Redis({ port, maxRetriesPerRequest: null })
  client.on('error', () => {})
  closers.push(() => client.disconnect())
  await until(async () => String(await client.call('SENTINEL', 'REPLICAS', name)).includes('127.0.0.1'), 20_000)
  return port
}

describeOnRedis('a server that Sentinels know', () => {
  test('is found by its name, and its successor after it was replaced', async () => {
    await using primary = await startOwn('redis')
    await using replica = await startOwn('redis', ['--replicaof', `127.0.0.1 ${primary.port}`])
    const raw = new Redis(replica.url)
    closers.push(() => raw.disconnect())
    await until(async () => (await raw.info('replication')).includes('master_link_status:up'), 20_000)
    const port = await startSentinel('main', primary.port)
    const server = openRedis('redis://localhost', { log: fakeLog(), sentinels: { addresses: [`127.0.0.1:${port}`], name: 'main' } })
    closers.push(() => server.close())
    const connection = server.connect('test')
    await until(() => connection.runId !== undefined)
    const first = connection.runId
    expect(await connection.call(1000, 'SET', 'greeting', 'hello')).toBe('OK')

    await primary.kill()
    await until(() => connection.runId !== undefined && connection.runId !== first, 40_000)
    await until(
      () =>
        connection.call(1000, 'SET', 'greeting', 'hello again').then(
          () => true,
          () => false,
        ),
      20_000,
    )
    expect(await raw.get('greeting')).toBe('hello again')
  }, 90_000)
})

describeOnRedis('a cluster', () => {
  test('a node that was killed and started anew: all queues go on', async () => {
    await using cluster = await startCluster({ options: ['--appendonly', 'yes', '--appendfsync', 'always'] })
    await using subject = await openSubject(cluster.url, { isCluster: true, timeoutMs: 3000 })
    const { driver } = subject
    const queues = Array.from({ length: 12 }, (_, i) => `queue-${i}`)
    for (const queue of queues) await driver.enqueue(queue, [newTask()])
    const tries = () =>
      Promise.all(
        queues.map(queue =>
          driver.enqueue(queue, [newTask()]).then(
            () => true,
            () => false,
          ),
        ),
      )
    const [, second] = cluster.nodes
    await second?.kill()
    const meanwhile = await tries()
    expect(meanwhile).toContain(false)
    await second?.start()
    await until(async () => (await tries()).every(Boolean), 30_000)
    for (const queue of queues) expect((await driver.stats(queue)).waiting).toBeGreaterThanOrEqual(2)
  }, 60_000)

  test('a call that is sent elsewhere when the connections are given up: others are made', async () => {
    await using cluster = await startCluster()
    const server = openRedis(cluster.url, { log: fakeLog(), isCluster: true })
    closers.push(() => server.close())
    const connection = server.connect('test')
    await until(() => connection.runId !== undefined)
    const get = () => connection.call(1000, 'GET', 'greeting')
    expect(await get()).toBeNull()
    await moveSlotOf('greeting', cluster)

    const lost = get().catch((thrown: unknown) => thrown)
    // Sent, and not answered yet.
    connection.reconnect()
    expect(await lost).toBeInstanceOf(Error)
    await until(
      () =>
        get().then(
          () => true,
          () => false,
        ),
      20_000,
    )
  }, 60_000)
})
