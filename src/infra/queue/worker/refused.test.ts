import { expect, test } from 'bun:test'
import { handle } from '@/core/queue/task'
import { gate, until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { openQueueFile } from '@/testing/sqlite-queue'
import { newScene } from '@/testing/worker'

/** What becomes of a worker whose store is there, and refuses something: a trigger of SQLite stands for whatever the reason may be. */

const count = numbered()

async function openScene() {
  const file = await openQueueFile()
  return {
    ...newScene({ driver: file.queue, rival: file.queue, config: undefined as never, close: file.close }),
    raw: file.raw,
    close: file.close,
  }
}

test('a store that refuses to hear how one attempt ended hears of the others, and all go on', async () => {
  const { enqueue, work, driver, queue, states, raw, close } = await openScene()
  const ids = await enqueue(count, 21)
  const odd = ids[3] as string
  raw.run(`create trigger "refuse" before delete on "queueTask" when old."id" = '${odd}' begin select raise(abort, 'not this one'); end`)
  {
    // A lease that does not end while this lasts.
    await using working = await work([handle(count, async () => {})], { leaseMs: 60_000 })
    await until(async () => (await driver.stats(queue)).total.done === 20)
    await enqueue(count, 5)
    await until(async () => (await driver.stats(queue)).total.done === 25)
    expect(await states()).toEqual({ waiting: 0, scheduled: 0, active: 1, dead: 0 })
    expect((await driver.show(queue, odd))?.state).toBe('active')
    const lines = working.log.lines.filter(({ level }) => level === 'error' || level === 'warn')
    expect(lines.map(({ level, fields }) => [level, fields['id'], fields['outcome']])).toEqual([['error', odd, 'done']])
    expect(working.metrics.count('bingo_queue_refused_total', { queue })).toBe(1)
    expect(working.metrics.count('bingo_queue_away_total', { queue })).toBe(0)
  }
  await close()
})

test('a store that refuses to give tasks hears how the attempts ended that it gave before, and gives again later', async () => {
  const { enqueue, work, driver, queue, raw, close } = await openScene()
  const { open, passed } = gate()
  let started = 0
  const wait = handle(count, async () => {
    started++
    await passed
  })
  await enqueue(count, 2)
  {
    await using working = await work([wait], { leaseMs: 60_000, limits: { pollMs: 50 } })
    await until(() => started === 2)
    raw.run(`create trigger "refuse" before update on "queueTask" when new."state" = 2 begin select raise(abort, 'none'); end`)
    await enqueue(count, 2)
    await until(() => working.metrics.count('bingo_queue_refused_total', { queue }) > 2)
    open()
    await until(async () => (await driver.stats(queue)).total.done === 2)
    expect(working.log.lines.filter(({ level }) => level === 'error')).toHaveLength(1)
    raw.run('drop trigger "refuse"')
    await until(async () => (await driver.stats(queue)).total.done === 4)
  }
  await close()
})
