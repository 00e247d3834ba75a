import { expect, setDefaultTimeout, test } from 'bun:test'
import { systemClock } from '@/core/clock'
import { onEachBacking } from '@/testing/backings'
import { fakeLog } from '@/testing/fakes'
import { useMigrated } from '@/testing/migrated'
import { createGates } from './gates'

setDefaultTimeout(30_000)

onEachBacking('gates', open => {
  const scene = useMigrated(open, ['chatPlatform'])
  const newGates = (bot = '7') => createGates('telegram', { db: scene.db, clock: systemClock, log: fakeLog(), bot })

  test('what a platform says of the whole bot all processes learn; a shorter time changes nothing', async () => {
    const [told, other] = [newGates(), newGates()]
    await other.refresh()
    expect([told.closedForMs(), other.closedForMs()]).toEqual([0, 0])
    told.close(undefined, 60_000)
    told.close(undefined, 1000)
    await told.settled()
    expect(told.closedForMs()).toBeGreaterThan(59_000)
    await Bun.sleep(250)
    await other.refresh()
    expect(other.closedForMs()).toBeGreaterThan(58_000)
    expect(other.closedForMs()).toBeLessThan(60_100)
    const later = newGates()
    await later.refresh()
    expect(later.closedForMs()).toBeGreaterThan(58_000)
  })

  test('what is said of one bot is nothing to another, such as one with another token', async () => {
    const told = newGates()
    told.close(undefined, 60_000)
    await told.settled()
    const [other, long] = [newGates('8'), newGates('12345678901234567890')]
    await other.refresh()
    expect(other.closedForMs()).toBe(0)
    long.close(undefined, 60_000)
    await long.settled()
    const again = newGates('12345678901234567890')
    await again.refresh()
    expect(again.closedForMs()).toBeGreaterThan(58_000)
  })

  test('what it says of a chat holds up that chat', () => {
    const gates = newGates()
    gates.close('-5', 5000)
    expect(gates.closedForMs('-5')).toBeGreaterThan(4000)
    expect([gates.closedForMs(), gates.closedForMs('-6')]).toEqual([0, 0])
  })

  test('it is open again when the time is over', async () => {
    const gates = newGates()
    gates.close(undefined, 50)
    expect(gates.closedForMs()).toBeGreaterThan(50)
    await Bun.sleep(80)
    expect(gates.closedForMs()).toBe(0)
    await gates.settled()
  })
})

test('a database that is away changes nothing but that others do not learn it', async () => {
  const away = async () => {
    throw new Error('away')
  }
  const db = { dialect: { name: 'sqlite' }, run: away, first: away } as never
  const gates = createGates('telegram', { db, clock: systemClock, log: fakeLog(), bot: '7' })
  gates.close(undefined, 5000)
  await gates.settled()
  await gates.refresh()
  expect(gates.closedForMs()).toBeGreaterThan(4000)
})
