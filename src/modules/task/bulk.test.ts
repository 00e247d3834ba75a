import { expect, test } from 'bun:test'
import type { TaskView } from '@/core/queue/admin'
import { onEachBacking } from '@/testing/backings'
import type { Problem } from '@/testing/http-client'
import { greet, useQueueAdmin } from '@/testing/queue-admin'
import { type BulkAsked, type BulkResult, bulkTasksMax } from './schema'

onEachBacking('what administrators do with many tasks', open => {
  const scene = useQueueAdmin(open)
  let count = 0
  async function add(queue: string, many: number): Promise<string[]> {
    const made = await scene.queue.enqueuing([greet]).enqueueMany(
      greet,
      Array.from({ length: many }, () => ({ payload: { to: 'Ada' }, queue, id: `b-${String(++count).padStart(6, '0')}` })),
    )
    return made.map(({ id }) => id)
  }
  const ask = (action: string, body: BulkAsked) => scene.send<BulkResult>('POST', `/tasks/${action}`, body)
  /** As whoever asks does: the same again, until nothing is left. */
  async function askAll(action: string, body: BulkAsked): Promise<{ requests: number; matched: number; done: number; skipped: number }> {
    const sum = { requests: 0, matched: 0, done: 0, skipped: 0 }
    for (let pageToken: string | undefined; pageToken !== ''; sum.requests++) {
      const { status, body: result } = await ask(action, { ...body, ...(pageToken !== undefined && { pageToken }) })
      expect(status).toBe(200)
      // To count is no work for anybody else.
      if (!body.isDryRun) expect(result.matched).toBeLessThanOrEqual(bulkTasksMax)
      sum.matched += result.matched
      sum.done += result.done
      sum.skipped += result.skipped
      pageToken = result.nextPageToken
    }
    return sum
  }

  test('a request about many tasks does a thousand at most and says where the next goes on, until all are done, and how many is written down', async () => {
    await scene.die('bulk', await add('bulk', 2500), 'timeout')
    const filter = { states: ['dead' as const], task: greet.name, error: 'timeout' }
    expect(await askAll('retry', { queue: 'bulk', filter, isDryRun: true })).toMatchObject({ matched: 2500, done: 0 })
    expect((await scene.queueAdmin.stats('bulk')).dead).toBe(2500)
    const before = (await scene.events()).length
    const retried = await askAll('retry', { queue: 'bulk', filter })
    expect(retried).toMatchObject({ matched: 2500, done: 2500, skipped: 0 })
    expect(retried.requests).toBeGreaterThanOrEqual(3)
    const events = (await scene.events()).slice(before)
    expect(events.every(({ action, object, outcome }) => [action, object, outcome].join() === 'task.retry,queue:bulk,done')).toBe(true)
    const counted = events.map(({ after }) => after as { filter: object; done?: number }).filter(({ done }) => done !== undefined)
    expect(events.length).toBe(counted.length + retried.requests)
    expect(counted.reduce((sum, { done = 0 }) => sum + done, 0)).toBe(2500)
    expect(counted[0]).toMatchObject({ filter, matched: counted[0]?.done, isOver: false })
    expect(await askAll('move', { queue: 'bulk', filter: {}, to: 'mail' })).toMatchObject({ done: 2500 })
    expect(await askAll('delete', { queue: 'mail', filter: {} })).toMatchObject({ done: 2500 })
    expect(await scene.queueAdmin.stats('mail')).toMatchObject({ waiting: 0, dead: 0 })
  }, 60_000)

  test('a limit is kept, and what runs is told to end', async () => {
    await add('mail', 30)
    await scene.claim('mail', 10)
    expect((await ask('cancel', { queue: 'mail', filter: {}, limit: 5 })).body).toMatchObject({
      total: 30,
      matched: 5,
      done: 5,
      nextPageToken: '',
    })
    expect(await askAll('cancel', { queue: 'mail', filter: { states: ['active'] } })).toMatchObject({ matched: 10, done: 10 })
    expect(await askAll('cancel', { queue: 'mail', filter: { olderThanMs: 3_600_000 } })).toMatchObject({ matched: 0, done: 0 })
    expect(await askAll('cancel', { queue: 'mail', filter: { states: ['waiting'] } })).toMatchObject({ matched: 15, done: 15 })
    const { body } = await scene.send<{ items: TaskView[] }>('GET', '/tasks?queue=mail&state=active')
    expect(body.items.map(({ isCancelled }) => isCancelled)).toEqual(new Array(10).fill(true))
  })

  test('what makes no sense is refused, and nothing is done', async () => {
    const before = await scene.events()
    const all = { queue: 'default', filter: {} }
    await add('default', 3)
    for (const [action, body, status, pointer] of [
      // To say nothing is not to say all.
      ['delete', { queue: 'default' }, 422, '/filter'],
      ['retry', { ...all, filter: { states: ['waiting'] } }, 422, '/filter/states/0'],
      ['delete', { ...all, filter: { states: ['active'] } }, 422, '/filter/states/0'],
      ['delete', { ...all, filter: { states: [] } }, 422, '/filter/states'],
      ['delete', { ...all, filter: { olderThanMs: -1 } }, 422, '/filter/olderThanMs'],
      ['delete', { ...all, filter: { id: 'a' } }, 422, '/filter/id'],
      ['delete', { ...all, limit: 0 }, 422, '/limit'],
      ['delete', { ...all, isDryRun: 'yes' }, 422, '/isDryRun'],
      ['delete', { ...all, to: 'mail' }, 422, '/to'],
      ['move', all, 422, '/to'],
      ['move', { ...all, to: 'default' }, 400, '/to'],
      ['move', { ...all, to: 'nobody' }, 400, 'queue'],
      ['delete', { ...all, queue: 'nobody' }, 400, 'queue'],
    ] as const) {
      const { status: answered, body: problem } = await scene.send<Problem>('POST', `/tasks/${action}`, body)
      expect([action, body, answered, problem.errors?.[0]?.pointer]).toEqual([action, body, status, pointer])
    }
    const { body: first } = await ask('delete', { ...all, isDryRun: true })
    expect(first.nextPageToken).toBe('')
    expect(await scene.queueAdmin.stats('default')).toMatchObject({ waiting: 3 })
    expect((await scene.events()).filter(({ outcome }) => outcome === 'done').length - before.length).toBe(
      (await scene.events()).filter(({ outcome }) => outcome === 'failed').length,
    )
    await ask('delete', all)
  })

  test('where to go on is told for the same request alone', async () => {
    await add('default', 300)
    const bulk = { action: 'delete', filter: {}, isDryRun: true, pageToken: '' } as const
    let token = ''
    let first = 0
    for await (const { nextPageToken, matched } of scene.queueAdmin.bulk('default', bulk)) {
      token = nextPageToken ?? ''
      first = matched
      if (token !== '' && matched > 0) break
    }
    expect(token).not.toBe('')
    const asked = { queue: 'default', filter: {}, isDryRun: true, pageToken: token }
    expect((await ask('delete', asked)).body).toMatchObject({ matched: 300 - first, nextPageToken: '' })
    for (const [action, over] of [
      ['delete', { isDryRun: false }],
      ['delete', { filter: { task: 'a' } }],
      ['delete', { queue: 'mail' }],
      ['delete', { pageToken: `${token}x` }],
      ['delete', { pageToken: 'x' }],
      ['cancel', {}],
    ] as const) {
      const { status, body } = await scene.send<Problem>('POST', `/tasks/${action}`, { ...asked, ...over })
      expect([action, over, status, body.code]).toEqual([action, over, 400, 'InvalidArgument.PageToken'])
    }
    expect(await scene.queueAdmin.stats('default')).toMatchObject({ waiting: 300 })
    await askAll('delete', { queue: 'default', filter: {} })
  })
})
