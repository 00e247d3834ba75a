import { expect, test } from 'bun:test'
import { schedules } from '@/modules/housekeeping/schema'
import { userExportChunkStore, userExportStore } from '@/modules/user-export/store'
import { onEachBacking } from '../backings'
import { runBingo, startBingo } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'

const names = schedules.map(({ name }) => name)

onEachBacking('housekeeping by the executable', open => {
  test('each sweep is a schedule of its own, which finds what there is to be found when it is run', async () => {
    const backing = await open()
    const env = { ...backing.options.env, BINGO_LOG_LEVEL: 'info' }
    const scheduler = await startBingo({ ...backing.options, env, roles: 'scheduler' })
    const schedule = async (...words: string[]) => {
      const { stdout, stderr, code } = await runBingo(['schedule', ...words, '--json'], { env: { ...env, BINGO_LOG_LEVEL: 'error' } })
      expect([stderr, code]).toEqual(['', 0])
      return stdout
        .trim()
        .split('\n')
        .map(line => JSON.parse(line) as Record<string, unknown>)
    }
    const db = await openAgain(backing)
    const left = {
      format: 'csv',
      state: 'done',
      taskId: 'gone',
      chunks: 1,
      rows: 1,
      bytes: 1,
      expiresAt: '2026-01-01T00:00:00.000Z',
    } as const
    const { id } = await userExportStore(db).create(left)
    for (const exportId of [id, Bun.randomUUIDv7()])
      await userExportChunkStore(db).create({ exportId, number: 1, rows: 1, content: new Uint8Array(1) })

    // The process that fires them writes them once it is ready.
    await until(async () => (await schedule('list')).length === names.length, 20_000)
    const listed = await schedule('list')
    expect(listed.map(each => [each['name'], each['origin'], each['timeZone']])).toEqual(
      names.toSorted().map(name => [name, 'code', 'UTC']),
    )
    expect((await schedule('run', ...names)).map(each => [each['schedule'], each['result']])).toEqual(names.map(name => [name, 'enqueued']))
    for (const name of names) await until(async () => (await schedule('ticks', name))[0]?.['outcome'] === 'done', 20_000)
    expect([await userExportStore(db).count(), await userExportChunkStore(db).count()]).toEqual([0, 0])
    const removed = scheduler.log.filter(({ msg }) => msg === 'removed what was of no use any more')
    expect(removed).toMatchObject([{ task: 'housekeeping.sweepExports', what: 'exports of users', removed: 2, isMore: false }])
    expect(scheduler.log.filter(({ level }) => level === 'error')).toEqual([])
    expect(await scheduler.stop()).toBe(0)
    await db.close()
    await backing.dispose()
  }, 60_000)
})
