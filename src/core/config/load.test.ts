import { expect, test } from 'bun:test'
import { loadConfig } from './load'

const load = (env: Record<string, string>) => loadConfig({ env, flags: {}, readFile: () => '' }).config

test('a queue that may take so long to answer that leases are over by then cannot be started', () => {
  const redis = { BINGO_DATABASE_URL: 'mysql://u:Vb0tXq83@h/d', BINGO_REDIS_URL: 'redis://h' }
  const said = { BINGO_QUEUE_LEASE_MS: '5999', BINGO_QUEUE_TIMEOUT_MS: '2000' }
  expect(() => load({ ...redis, ...said })).toThrow(
    expect.objectContaining({
      exitCode: 78,
      message: expect.stringContaining('queue.timeoutMs: 2000 is more than a third of queue.leaseMs, 5999'),
    }),
  )
  expect(load({ ...redis, ...said, BINGO_QUEUE_LEASE_MS: '6000' }).queue).toMatchObject({ leaseMs: 6000, timeoutMs: 2000 })
  // The setting is of Redis alone.
  expect(load({ ...said, BINGO_QUEUE_LEASE_MS: '1000' }).queue.leaseMs).toBe(1000)
})

test('a password that everybody tries first is refused for a server that others can reach', () => {
  const refused = (env: Record<string, string>) => {
    try {
      load({ BINGO_REDIS_URL: 'redis://cache', ...env })
      return []
    } catch (thrown) {
      return (thrown as Error).message.split('\n').slice(1, -1)
    }
  }
  const remedy = "make one with 'openssl rand -hex 24'"
  expect(refused({ BINGO_DATABASE_URL: 'mysql://bingo@db/bingo', BINGO_REDIS_URL: 'redis://:changeme@cache' })).toEqual([
    `  database.url: there is no password for db; ${remedy}`,
    `  redis.url: the password for cache is one that everybody tries first; ${remedy}`,
  ])
  for (const password of ['root', 'PassWord', 'secret', 'bingo', 'ada', 'change%2Dme'])
    expect(refused({ BINGO_DATABASE_URL: `mysql://ada:${password}@db/bingo` })).toHaveLength(1)
  const replica = { BINGO_DATABASE_URL: 'mysql://u:Vb0tXq83@db/bingo', BINGO_DATABASE_REPLICA_URLS: 'mysql://u:root@replica/bingo' }
  expect(refused(replica)).toEqual([`  database.replicaUrls: the password for replica is one that everybody tries first; ${remedy}`])
  for (const url of [
    'mysql://u:Vb0tXq83@db/bingo',
    'mysql://root@127.0.0.1/bingo',
    'mysql://root:root@localhost/b',
    'mysql://root@[::1]/b',
  ])
    expect([url, refused({ BINGO_DATABASE_URL: url })]).toEqual([url, []])
})
