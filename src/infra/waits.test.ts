import { expect, test } from 'bun:test'
import { createWaits, type Wait, type Waits } from './waits'

/** Resolves once it is late, with how long that took. */
function late(waits: Waits, limitMs?: number): Promise<number> {
  const begunMs = performance.now()
  return new Promise(resolve => waits.begin(() => resolve(performance.now() - begunMs), limitMs))
}

test('a wait is over after the usual time, not before, and the next ones after theirs', async () => {
  const waits = createWaits(60)
  const first = late(waits)
  await Bun.sleep(30)
  const second = late(waits)
  expect(await first).toBeGreaterThanOrEqual(59)
  expect(await second).toBeGreaterThanOrEqual(59)
})

test('a shorter one does not wait for those before it, and a longer one is cut', async () => {
  const order: string[] = []
  const waits = createWaits(200)
  await Promise.all([
    late(waits).then(() => order.push('usual')),
    late(waits, 10).then(() => order.push('short')),
    late(waits, Number.POSITIVE_INFINITY).then(() => order.push('cut')),
  ])
  expect(order).toEqual(['short', 'usual', 'cut'])
})

test('what has ended is never late, wherever it stood, and the others are', async () => {
  const waits = createWaits(20)
  const heard: number[] = []
  const all: Wait[] = Array.from({ length: 7 }, (_, i) => waits.begin(() => heard.push(i), i === 5 ? 5 : undefined))
  for (const i of [0, 3, 5, 6, 3]) waits.end(all[i] as Wait)
  await late(waits)
  expect(heard).toEqual([1, 2, 4])
  for (const wait of all) waits.end(wait)
  await late(waits)
  expect(heard).toEqual([1, 2, 4])
})

test('one that ends others when it is late has them end in peace', async () => {
  const waits = createWaits(20)
  let others = 0
  const later: Wait[] = []
  waits.begin(() => {
    for (const wait of later) waits.end(wait)
  })
  for (let i = 0; i < 3; i++) later.push(waits.begin(() => others++))
  await late(waits)
  expect(others).toBe(0)
})
