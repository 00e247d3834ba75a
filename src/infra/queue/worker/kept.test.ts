import { expect, test } from 'bun:test'
import { handle, result } from '@/core/queue/task'
import { until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { onEachStore } from '@/testing/worker'

const count = numbered()
const keeping = numbered('number.keep', { keepForMs: 60_000 })

onEachStore('what is done', newScene => {
  test('is kept for as long as its declaration says, or whoever enqueued it, with its result', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const [kept = ''] = await enqueue(keeping)
    const [brief = ''] = await enqueue(keeping, 1, { said: { keepForMs: 0 } })
    const [said = ''] = await enqueue(count, 1, { said: { keepForMs: 120_000 } })
    const [plain = ''] = await enqueue(count)
    const work1 = async ({ n }: { n: number }) => result({ n, twice: 2 * n, none: null })
    await using working = await work([handle(keeping, work1), handle(count, work1)])
    await until(() => working.ended('done', 'number.keep') + working.ended('done') === 4)
    await until(async () => (await driver.stats(queue)).active === 0)
    expect((await driver.list(queue, 'done', 9)).tasks.map(({ id }) => id).toSorted()).toEqual([kept, said].toSorted())
    const show = (id: string) => driver.show(queue, id)
    expect((await show(kept))?.result).toBe('{"n":0,"twice":0,"none":null}')
    expect(((await show(said))?.atMs ?? 0) - ((await show(kept))?.atMs ?? 0)).toBeGreaterThan(50_000)
    expect([await show(brief), await show(plain)]).toEqual([undefined, undefined])
  })

  test('may have no result; nothing, undefined and what is no result are none', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const answers: unknown[] = [undefined, result(undefined), 'text', { is: 'nothing' }]
    const ids: string[] = []
    for (const n of answers.keys()) ids.push(...(await enqueue(keeping, 1, { payload: { n } })))
    await using working = await work([handle(keeping, (async ({ n }: { n: number }) => answers[n]) as never)])
    await until(() => working.ended('done', 'number.keep') === answers.length)
    await until(async () => (await driver.stats(queue)).done === answers.length)
    for (const id of ids) expect(await driver.show(queue, id)).not.toHaveProperty('result')
  })

  test('with a result that cannot be kept has failed, and says why', async () => {
    const { enqueue, work, driver, queue } = newScene()
    const odd: unknown[] = ['é'.repeat(32_768), { at: new Date(0) }, [1, undefined]]
    const fits = 'é'.repeat(32_767)
    const ids: string[] = []
    for (const n of odd.keys()) ids.push(...(await enqueue(count, 1, { payload: { n }, said: { maxRetries: 0 } })))
    const [large = ''] = await enqueue(count, 1, { payload: { n: 9 }, said: { keepForMs: 60_000 } })
    await using working = await work([handle(count, async ({ n }) => result(odd[n] ?? fits))])
    await until(() => working.ended('dead') === odd.length && working.ended('done') === 1)
    await until(async () => (await driver.stats(queue)).active === 0)
    const errors = []
    for (const id of ids) errors.push((await driver.show(queue, id))?.errors[0]?.message)
    expect(errors).toEqual([
      'RangeError: the result is 65538 bytes of JSON, and may be 65536: keep what is large elsewhere and name it',
      'RangeError: the result cannot be kept: /at a Date comes back from JSON as something else',
      'RangeError: the result cannot be kept: /1 undefined cannot be said in JSON; leave the field out, or say null',
    ])
    expect(JSON.parse((await driver.show(queue, large))?.result ?? '')).toBe(fits)
  })

  test('goes when its time is over, and dead letters when theirs is: both are counted, and the log says so', async () => {
    const { enqueue, work, driver, queue } = newScene()
    await enqueue(count, 3, { said: { keepForMs: 1 } })
    await enqueue(count, 2, { payload: { n: -1 }, said: { maxRetries: 0 } })
    const odd = handle(count, async ({ n }) => {
      if (n < 0) throw new Error('no')
    })
    await using working = await work([odd], { queues: { [queue]: { concurrency: 4, keepDeadMs: 100 } } })
    const expired = (state: string) => working.metrics.count('bingo_task_expired_total', { queue, state })
    await until(() => expired('done') === 3 && expired('dead') === 2)
    expect(await driver.stats(queue)).toMatchObject({ done: 0, dead: 0, total: { done: 3, dead: 2 } })
    const lines = working.log.lines.filter(({ message }) => message.startsWith('tasks were removed since'))
    const sum = (state: string) => lines.reduce((all, { level, fields }) => all + (level === 'info' ? Number(fields[state]) : 0), 0)
    expect([sum('done'), sum('dead'), lines[0]?.fields['queue']]).toEqual([3, 2, queue])
  })

  test('leaves dead letters when nobody says for how long they are kept', async () => {
    const { enqueue, work, driver, queue } = newScene()
    await enqueue(count, 1, { said: { maxRetries: 0 } })
    await enqueue(keeping, 1, { said: { keepForMs: 1 } })
    const fail = handle(count, async () => {
      throw new Error('no')
    })
    await using working = await work([fail, handle(keeping, async () => {})])
    // The reaper has been there when the other is gone.
    await until(() => working.metrics.count('bingo_task_expired_total', { queue, state: 'done' }) === 1)
    await until(async () => (await driver.stats(queue)).dead === 1)
  })
})
