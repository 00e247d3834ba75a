import { expect, test } from 'bun:test'
import { ownWritesMs } from '@/core/caller'
import { systemClock } from '@/core/clock'
import { openRedis } from '@/infra/redis'
import { describeOnRedis } from '@/testing/backings'
import { fakeLog } from '@/testing/fakes'
import { startOwn } from '@/testing/servers'
import { sharedWritePositions } from './shared-positions'
import { memoryWritePositions } from './write-positions'

const source = '3e11fa47-71ca-11e1-9e33-c80aa9429562'
const written = (n: number) => ({ position: `${source}:${n}`, atMs: Date.now() })

test('the last write of an actor is remembered, whichever was noted last, and of no other', async () => {
  const positions = memoryWritePositions(systemClock)
  for (const n of [5, 7, 6]) await positions.note('ada', written(n))
  expect((await positions.of('ada'))?.position).toContain(':7')
  expect(await positions.of('bob')).toBeUndefined()
})

describeOnRedis('in Redis', () => {
  test('what one process notes another finds, the latest first, until it is forgotten; without Redis nothing is known', async () => {
    await using redis = await startOwn('redis')
    const servers = [openRedis(redis.url, { log: fakeLog() }), openRedis(redis.url, { log: fakeLog() })]
    const connections = servers.map(server => server.connect('test'))
    await Promise.all(connections.map(({ onChange, runId }) => new Promise<void>(done => (runId ? done() : onChange(id => id && done())))))
    const [one, other] = connections.map(sharedWritePositions)
    for (const n of [5, 7, 6]) await one?.note('ada', written(n))
    expect((await other?.of('ada'))?.position).toContain(':7')
    expect(await other?.of('bob')).toBeUndefined()
    const left = Number(await connections[0]?.call(1000, 'PTTL', 'bingo:written:ada'))
    expect(left > 0 && left <= ownWritesMs).toBe(true)
    await redis.kill()
    await one?.note('ada', written(8))
    await expect(other?.of('ada') as Promise<unknown>).rejects.toThrow()
    await Promise.all(servers.map(server => server.close()))
  })
})
