import { expect, test } from 'bun:test'
import { onEachQueueStore, testQueue } from '@/testing/conformance/queue/fixture'
import { errorsOf, kindOf } from './errors'

onEachQueueStore('what dead letters died of', store => {
  test('is told in groups, the largest first, with who died when', async () => {
    const queue = testQueue(store())
    const { enqueue, claimOne, finish, driver, name, show } = queue
    for (let i = 0; i < 12; i++) {
      await enqueue({ id: `d${i}`, envelope: JSON.stringify([i < 9 ? 'order.ship' : 'email.send', 1, {}]) })
      const error =
        i % 3 === 0 ? `the carrier answered ${500 + i}` : `no parcel "p${i}" for 0${i}8f3c1e-1111-7222-8333-94445555666${i % 10}`
      await finish(await claimOne(), { outcome: 'dead', isFailure: true, error })
      await queue.store.advance(2)
    }
    await enqueue({ id: 'damaged', envelope: 'damaged' })
    await finish(await claimOne(), { outcome: 'dead', isFailure: false, error: 'undecodable' })
    const { groups, ...rest } = await errorsOf(driver, name, 1000)
    expect(rest).toEqual({ scanned: 13, others: 0, isPartial: false })
    const diedAt = async (id: string) => new Date((await show(id))?.atMs ?? 0).toISOString()
    expect(groups[0]).toEqual({
      ...{ task: 'order.ship', error: 'no parcel <text> for <id>', count: 6, sampleId: 'd8' },
      ...{ oldest: await diedAt('d1'), newest: await diedAt('d8') },
    })
    expect(groups.map(({ task, error, count }) => [task, error, count]).slice(1)).toEqual([
      ['order.ship', 'the carrier answered <n>', 3],
      ['email.send', 'no parcel <text> for <id>', 2],
      [undefined, 'undecodable', 1],
      ['email.send', 'the carrier answered <n>', 1],
    ])
    expect(await errorsOf(driver, name, 12)).toMatchObject({ scanned: 12, isPartial: true })
    expect(await errorsOf(driver, name, 13)).toMatchObject({ scanned: 13, isPartial: false })
  })

  test('is at most a hundred groups, and the number of all others', async () => {
    const { enqueue, claim, driver, name } = testQueue(store())
    const word = (i: number) => [26, 1].map(by => String.fromCharCode(97 + (Math.floor(i / by) % 26))).join('')
    await enqueue(...Array.from({ length: 150 }, () => ({})), ...Array.from({ length: 3 }, () => ({})))
    const held = await claim(153)
    const finish = held.map(({ id, attempt, nonce }, i) => ({
      ...{ id, attempt, nonce, outcome: 'dead' as const, isFailure: true },
      error: i < 150 ? word(i) : 'again',
    }))
    await driver.exchange(name, { finish })
    const { groups, scanned, others } = await errorsOf(driver, name, 1000)
    expect([groups.length, groups[0]?.error, groups[0]?.count, scanned, others]).toEqual([100, 'again', 3, 153, 51])
  })
})

const kinds: readonly (readonly [string, string])[] = [
  ['timeout after 30000 ms', 'timeout after <n> ms'],
  ["can't connect to 10.0.3.17:6379, won't retry", "can't connect to <n>, won't retry"],
  [`Unexpected token '<', "<html>..." is not valid JSON`, 'Unexpected token <text>, <text> is not valid JSON'],
  ['user 0192f3c1-1111-7222-8333-944455556666 is gone', 'user <id> is gone'],
  ['no task 01J9ZK3V8M2Q4T6X', 'no task <id>'],
  ['segfault at 0xdeadBEEF', 'segfault at <n>'],
  ['the payload does not fit the schema', 'the payload does not fit the schema'],
  ['x'.repeat(1000), 'x'.repeat(200)],
  ['', ''],
]
for (const [message, kind] of kinds) {
  test(`${JSON.stringify(message.slice(0, 40))} is of the kind ${kind.slice(0, 40)}`, () => expect(kindOf(message)).toBe(kind))
}

test('a hostile text takes no long time', () => {
  const sinceMs = performance.now()
  for (const text of ['-', 'a-1', '1.', '"', "'", '0x', 'aaaa1111-']) kindOf(text.repeat(1000).slice(0, 1000))
  expect(performance.now() - sinceMs).toBeLessThan(1000)
})
