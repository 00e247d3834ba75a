import { expect, test } from 'bun:test'
import { type Clock, systemClock } from '@/core/clock'
import type { Database } from '@/core/database'
import { onEachBacking } from '@/testing/backings'
import { openAgain } from '@/testing/conformance/fixture'
import { fakeClock } from '@/testing/fake-clock'
import { createScheduleClock } from './clock'

const hourMs = 3_600_000

onEachBacking('the clock of schedules', (open, name) => {
  test('is that of the database server, whatever the machine says; on SQLite it is that of the machine', async () => {
    const backing = await open()
    const db = await openAgain(backing)
    for (const byMs of [hourMs, -hourMs]) {
      const machine: Clock = { nowMs: () => Date.now() + byMs }
      const clock = createScheduleClock(db, machine)
      await clock.sync()
      // The servers of tests are on this machine.
      const offMs = clock.nowMs() - Date.now()
      expect(Math.abs(offMs - (name === 'sqlite' ? byMs : 0))).toBeLessThan(200)
    }
    const [one, other] = [createScheduleClock(db, systemClock), createScheduleClock(db, systemClock)]
    await Promise.all([one.sync(), other.sync()])
    expect(Math.abs(one.nowMs() - other.nowMs())).toBeLessThan(200)
    await db.close()
    await backing.dispose()
  })
})

/** A server that is reached in a time that a test says. */
function server(startMs: number) {
  const clock = fakeClock('2026-01-31T09:05:00.000Z')
  const said = { toMs: 1, backMs: 1, aheadMs: startMs, asked: 0 }
  const db = {
    dialect: { name: 'mysql' },
    async first() {
      said.asked++
      clock.advance(said.toMs)
      const ms = clock.nowMs() + said.aheadMs
      clock.advance(said.backMs)
      return { ms }
    },
  } as unknown as Database
  return { clock, said, of: createScheduleClock(db, clock, clock.nowMs), trueMs: () => clock.nowMs() + said.aheadMs }
}

test('is not moved by an answer that was under way for long, and then by one that was not', async () => {
  const { clock, said, of, trueMs } = server(hourMs)
  Object.assign(said, { toMs: 0, backMs: 800 })
  await of.sync()
  // The middle is the best guess.
  expect(Math.abs(of.nowMs() - trueMs())).toBeLessThanOrEqual(401)
  clock.advance(1000)
  Object.assign(said, { toMs: 1, backMs: 1 })
  await of.sync()
  expect(Math.abs(of.nowMs() - trueMs())).toBeLessThanOrEqual(2)
  Object.assign(said, { toMs: 0, backMs: 900 })
  for (let i = 0; i < 10; i++) {
    clock.advance(1000)
    await of.sync()
    expect(Math.abs(of.nowMs() - trueMs())).toBeLessThanOrEqual(2)
  }
})

test('goes with the server when that is set, on or back, and as its own drifts away', async () => {
  const { clock, said, of, trueMs } = server(0)
  await of.sync()
  for (const aheadMs of [hourMs, -hourMs, 0]) {
    said.aheadMs = aheadMs
    clock.advance(1000)
    await of.sync()
    expect(Math.abs(of.nowMs() - trueMs())).toBeLessThanOrEqual(2)
  }
  Object.assign(said, { toMs: 20, backMs: 20 })
  for (let second = 0; second < 600; second++) {
    said.aheadMs += 0.1
    clock.advance(1000)
    await of.sync()
    expect(Math.abs(of.nowMs() - trueMs())).toBeLessThanOrEqual(25)
  }
})

test('asks no more than twice a second, and knows the time between', async () => {
  const { clock, said, of, trueMs } = server(hourMs)
  expect(of.nowMs()).toBe(clock.nowMs())
  for (let i = 0; i < 100; i++) {
    await of.sync()
    clock.advance(50)
    expect(Math.abs(of.nowMs() - trueMs())).toBeLessThanOrEqual(2)
  }
  expect(said.asked).toBeLessThanOrEqual(11)
  expect(said.asked).toBeGreaterThan(8)
})
