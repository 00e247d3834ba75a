import { expect } from 'bun:test'
import { testOn } from '../../backings'
import { isFull } from '../scene'
import { openRedisPlace } from './redis-place'
import { openQueueScene } from './scene'

/** What becomes of tasks whose workers die, or hang and come back. */
const settleLimitMs = 30_000

testOn(
  'redis',
  'A task whose worker was killed is run again within 40 seconds',
  async () => {
    const leaseMs = isFull ? 30_000 : 1000
    const limitMs = isFull ? 40_000 : leaseMs * 1.25 + 2000
    await using place = await openRedisPlace()
    await using scene = openQueueScene(place, { leaseMs })
    const [doomed] = await Promise.all([scene.work(), scene.work()])
    // Enough for both.
    const ids = await Promise.all(Array.from({ length: 16 }, (_, n) => scene.enqueue('note', { n, ms: 500 })))
    await scene.noted(({ step, pid }) => step === 'begin' && pid === doomed.pid)
    await doomed.kill()
    await scene.settled(limitMs + 1000)
    const killedMs = scene.killed.get(doomed.pid) ?? 0
    const entries = scene.ledger()
    const lostRuns = entries.filter(
      ({ step, pid, id, attempt }) =>
        step === 'begin' &&
        pid === doomed.pid &&
        !entries.some(other => other.step === 'told' && other.id === id && other.attempt === attempt),
    )
    expect(lostRuns.length).toBeGreaterThan(0)
    const tookMs = lostRuns.map(({ id, attempt }) => {
      const next = entries.find(entry => entry.step === 'begin' && entry.id === id && entry.attempt > attempt)
      return (next?.atMs ?? Number.POSITIVE_INFINITY) - killedMs
    })
    console.log(`worker kill -9 with a lease of ${leaseMs} ms: run again after ${tookMs.join(', ')} ms`)
    expect(Math.max(...tookMs)).toBeLessThan(limitMs)
    for (const id of ids) expect(entries.some(entry => entry.step === 'end' && entry.id === id)).toBe(true)
    expect(await place.leftovers(scene.queue)).toEqual([])
  },
  90_000,
)

testOn(
  'redis',
  'A worker that has lost its task changes nothing of it',
  async () => {
    await using place = await openRedisPlace()
    await using scene = openQueueScene(place, { leaseMs: 1000 })
    const hung = await scene.work()
    const rounds = isFull ? 5 : 1
    for (let i = 0; i < rounds; i++) {
      // It ends just when the worker comes back, while another is at it.
      const id = await scene.enqueue('note', { n: i, ms: 1500 })
      const failing = await scene.enqueue('deaf', { ms: 1500 })
      await scene.noted(entry => entry.step === 'begin' && entry.id === id)
      await scene.noted(entry => entry.step === 'begin' && entry.id === failing)
      hung.pause()
      const heir = await scene.work()
      for (const each of [id, failing]) await scene.noted(entry => entry.step === 'begin' && entry.id === each && entry.pid === heir.pid)
      hung.resume()
      await scene.settled(settleLimitMs)
      await scene.noted(entry => entry.step === 'told' && entry.id === failing && entry.pid === heir.pid)
      const told = scene.ledger().filter(entry => entry.step === 'told' && [id, failing].includes(entry.id))
      const words = (pid: number) => told.filter(entry => entry.pid === pid).map(({ word }) => word)
      expect(words(heir.pid)).toEqual(['ok', 'ok'])
      // It heard that it had come too late, or did not even ask.
      expect(words(hung.pid)).not.toContain('ok')
      expect(scene.ledger().filter(entry => entry.step === 'begin' && entry.id === id)).toHaveLength(2)
      await heir.stop()
    }
    const { total, dead } = await place.driver.stats(scene.queue)
    expect({ ...total, dead }).toEqual({ enqueued: 2 * rounds, done: 2 * rounds, failed: 0, crashed: 2 * rounds, dead: 0, cancelled: 0 })
    expect(await place.leftovers(scene.queue)).toEqual([])
    const lost = scene.ledger().filter(entry => entry.pid === hung.pid && entry.step === 'abort')
    console.log(
      `SIGSTOP past the lease: ${rounds} rounds, ${lost.map(({ word }) => word).join(', ') || 'nothing'} said to the handlers, 0 changes`,
    )
  },
  60_000,
)
