import { expect, test } from 'bun:test'
import { loadConfig } from './load'

const load = (env: Record<string, string>) => loadConfig({ env, flags: {}, readFile: () => '' }).config

test('a queue that may take so long to answer that leases are over by then cannot be started', () => {
  const redis = { BINGO_DATABASE_URL: 'mysql://u@h/d', BINGO_REDIS_URL: 'redis://h' }
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
