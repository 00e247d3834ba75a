import { expect, test } from 'bun:test'
import { giveUp, handle, result, snooze, type TaskMiddleware } from '@/core/queue/task'
import { until } from '@/testing/conformance/cache-fixture'
import { numbered } from '@/testing/numbered'
import { onEachStore, type Scene } from '@/testing/worker'
import { around } from './middleware'

const count = numbered()
const quick = { backoff: { minMs: 1, maxMs: 1, factor: 1 } }

test('without any, the handler is called itself', () => {
  const handler = handle(count, async () => {})
  expect(around(handler, [])).toBe(handler.work)
})

onEachStore('middleware', newScene => {
  const workWith = ({ work, queue }: Scene, handlers: Parameters<Scene['work']>[0], ...middleware: TaskMiddleware[]) =>
    work(handlers, { queues: { [queue]: { concurrency: 1, middleware } } })

  test('is around each attempt, the first outermost, and knows what the handler knows', async () => {
    const scene = newScene()
    const seen: string[] = []
    const named =
      (name: string): TaskMiddleware =>
      async ({ task, payload, context }, next) => {
        seen.push(`${name} ${task.name} ${JSON.stringify(payload)} ${context.attempt}`)
        const answer = await next()
        seen.push(`${name} over`)
        return answer
      }
    const fail = handle(count, async (_, { attempt }) => {
      seen.push('handler')
      if (attempt === 1) throw new Error('once')
    })
    await scene.enqueue(count, 1, { said: quick })
    await using working = await workWith(scene, [fail], named('outer'), named('inner'))
    await until(() => working.ended('done') === 1)
    expect(seen).toEqual([
      ...['outer number.count {"n":0} 1', 'inner number.count {"n":0} 1', 'handler'],
      ...['outer number.count {"n":0} 2', 'inner number.count {"n":0} 2', 'handler', 'inner over', 'outer over'],
    ])
  })

  test('lets through what the handler returns: a result, a snooze, and that it gives up', async () => {
    const scene = newScene()
    const { enqueue, driver, queue } = scene
    const through: TaskMiddleware = (_, next) => next()
    const various = handle(count, async ({ n }, { attempt }) => {
      if (n === 0) return result('what')
      if (n === 1) return giveUp('never')
      return attempt === 1 ? snooze(1) : undefined
    })
    const [kept = ''] = await enqueue(count, 1, { payload: { n: 0 }, said: { keepForMs: 60_000 } })
    const [dead = ''] = await enqueue(count, 1, { payload: { n: 1 } })
    await enqueue(count, 1, { payload: { n: 2 } })
    await using working = await workWith(scene, [various], through, through)
    await until(() => working.ended('done') === 2 && working.ended('dead') === 1)
    expect(working.ended('snooze')).toBe(1)
    await until(async () => (await driver.stats(queue)).active === 0)
    expect(await driver.show(queue, kept)).toMatchObject({ state: 'done', result: '"what"' })
    expect((await driver.show(queue, dead))?.errors).toMatchObject([{ message: 'gave up: never' }])
  })

  test('may answer in the place of the handler, or change its answer', async () => {
    const scene = newScene()
    let ran = 0
    const skip: TaskMiddleware = async ({ payload }, next) => ((payload as { n: number }).n === 0 ? result('skipped') : next())
    const louder: TaskMiddleware = async (_, next) => {
      const answer = await next()
      return answer?.is === 'result' ? result(`${answer.value}!`) : answer
    }
    const said = { keepForMs: 60_000 }
    const [skipped = ''] = await scene.enqueue(count, 1, { payload: { n: 0 }, said })
    const [worked = ''] = await scene.enqueue(count, 1, { payload: { n: 1 }, said })
    const work = handle(count, async () => {
      ran++
      return result('worked')
    })
    await using working = await workWith(scene, [work], louder, skip)
    await until(() => working.ended('done') === 2)
    await until(async () => (await scene.driver.stats(scene.queue)).done === 2)
    const resultOf = async (id: string) => (await scene.driver.show(scene.queue, id))?.result
    expect([await resultOf(skipped), await resultOf(worked), ran]).toEqual(['"skipped!"', '"worked!"', 1])
  })

  test('fails the attempt with what it throws, at once or later, before or after the handler', async () => {
    const scene = newScene()
    const { enqueue, driver, queue } = scene
    let ran = 0
    const throwing: TaskMiddleware[] = [
      () => {
        throw new TypeError('at once')
      },
      async () => Promise.reject(new TypeError('later')),
      async (_, next) => {
        await next()
        throw new TypeError('after it')
      },
      async (_, next) => {
        await next()
        return next()
      },
      async () => undefined,
    ]
    const pick: TaskMiddleware = (attempt, next) => (throwing[(attempt.payload as { n: number }).n] as TaskMiddleware)(attempt, next)
    const ids: string[] = []
    for (const n of throwing.keys()) ids.push(...(await enqueue(count, 1, { payload: { n }, said: { maxRetries: 0 } })))
    const work = handle(count, async () => void ran++)
    await using working = await workWith(scene, [work], pick)
    await until(() => working.ended('dead') === throwing.length)
    await until(async () => (await driver.stats(queue)).active === 0)
    const errors = []
    for (const id of ids) errors.push((await driver.show(queue, id))?.errors[0]?.message)
    expect(errors).toEqual([
      ...['TypeError: at once', 'TypeError: later', 'TypeError: after it'],
      'Error: a middleware around the task number.count has called next twice, which would do its work twice',
      'Error: a middleware around the task number.count has returned nothing without calling next: nothing was done, so it is not done; return giveUp, snooze or result to answer in its place',
    ])
    // Each that called next once, and the first call of the one that did so twice.
    expect(ran).toBe(2)
  })
})
