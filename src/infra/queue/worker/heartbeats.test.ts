import { expect, test } from 'bun:test'
import { loadConfig } from '@/core/config/load'
import { fakeLog, fakeMetrics } from '@/testing/fakes'
import { openQueueFile } from '@/testing/sqlite-queue'
import { graceMsOf } from '.'
import { createHeartbeats } from './heartbeats'
import { heartbeatsStopMs, workerLimits } from './limits'

test('heartbeats whose store does not answer stop within what a shutdown leaves them', async () => {
  const { path, raw, close } = await openQueueFile()
  const { config } = loadConfig({ env: { BINGO_DATABASE_URL: `sqlite:${path}` }, flags: {}, readFile: () => '' })
  const heard = Promise.withResolvers<void>()
  const heartbeats = createHeartbeats(
    { config },
    {
      ...{ leaseMs: 1000, log: fakeLog(), metrics: fakeMetrics(), random: () => 0.5, liveClaims: () => [] },
      tell: () => heard.resolve(),
    },
  )
  await heartbeats.start()
  heartbeats.vouchFor({ queue: 'default', nonce: 'nonce', ids: 'a b', attempts: '1 1', limitsMs: '60000 60000' })
  await heard.promise
  heartbeats.vouchFor({ queue: 'default', nonce: 'other', ids: 'c', attempts: '1', limitsMs: '60000' })
  raw.run('begin immediate')
  // The next heartbeat is under way, and waits for the lock for ten seconds.
  await Bun.sleep(600)
  const beganMs = performance.now()
  await heartbeats.stop()
  expect(performance.now() - beganMs).toBeLessThan(heartbeatsStopMs + 500)
  raw.run('rollback')
  await close()
  const deadlineMs = 25_000
  const { lastChanceMs, farewellMs } = workerLimits
  expect(graceMsOf(deadlineMs) + lastChanceMs + farewellMs + heartbeatsStopMs).toBe(deadlineMs)
})
