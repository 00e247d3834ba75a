import { describe, expect, test } from 'bun:test'
import type { TaskView } from '@/core/queue/admin'
import { onEachBacking } from '@/testing/backings'
import type { Problem } from '@/testing/http-client'
import { useQueueAdmin } from '@/testing/queue-admin'
import type { TaskPage } from './schema'

interface Enqueued {
  id: string
  status: string
}

onEachBacking('what administrators do with tasks, one by one', open => {
  const scene = useQueueAdmin(open)
  let count = 0
  /** One that waits in a queue that has no other. */
  const waiting = async (over: object = {}) => {
    const id = `t-${++count}`
    const { status } = await scene.send('POST', '/tasks', { task: 'greeting.send', payload: { to: 'Ada' }, queue: 'mail', id, ...over })
    expect(status).toBe(201)
    return id
  }
  const eventsOf = async (id: string) => (await scene.events()).filter(({ object }) => object === `task:${id}`)
  const said = async (work: Promise<{ status: number; body: unknown }>) => {
    const { status, body } = await work
    return [status, (body as Problem | undefined)?.code ?? (body as { result?: string } | undefined)?.result]
  }

  test('a task that a module declares is enqueued, seen, listed and deleted', async () => {
    const made = await scene.send<Enqueued>('POST', '/tasks', { task: 'greeting.send', payload: { to: 'Ada' }, priority: 2, queue: 'mail' })
    expect(made).toMatchObject({ status: 201, body: { status: 'enqueued' } })
    const { id } = made.body
    expect(made.headers.get('location')).toBe(`/admin/v1/tasks/${id}`)
    const seen = await scene.send<TaskView>('GET', `/tasks/${id}`)
    const shown = {
      id,
      queue: 'mail',
      state: 'waiting',
      task: 'greeting.send',
      payload: { to: 'Ada' },
      priority: 2,
      attempt: 0,
      errors: [],
    }
    expect(seen).toMatchObject({ status: 200, body: shown })
    const { body: page } = await scene.send<TaskPage>('GET', '/tasks?queue=mail&state=waiting')
    expect(page).toEqual({ items: [seen.body], nextPageToken: '' })
    expect((await scene.send('DELETE', `/tasks/${id}?queue=mail`)).status).toBe(204)
    expect(await said(scene.send('GET', `/tasks/${id}`))).toEqual([404, 'NotFound.TaskNotFound'])
    expect(await eventsOf(id)).toMatchObject([
      { actor: 'admin:writer', action: 'task.enqueue', outcome: 'done', after: { task: 'greeting.send', queue: 'mail', priority: 2 } },
      {
        actor: 'admin:writer',
        action: 'task.delete',
        outcome: 'done',
        before: { task: 'greeting.send', queue: 'mail', state: 'waiting' },
      },
    ])
    // What a task is about may be personal, and what is written down stays.
    expect(JSON.stringify(await scene.events())).not.toContain('Ada')
  })

  test('the same id is enqueued once, and what is unique is told with the task that is', async () => {
    const id = await waiting({ uniqueFor: 60_000, uniqueKey: 'one' })
    const again = await scene.send('POST', '/tasks', { task: 'greeting.send', payload: { to: 'Ada' }, queue: 'mail', id })
    expect(again).toMatchObject({ status: 200, body: { id, status: 'duplicate' } })
    const other = { task: 'greeting.send', payload: { to: 'Bob' }, queue: 'mail', uniqueFor: 60_000, uniqueKey: 'one' }
    expect(await scene.send('POST', '/tasks', other)).toMatchObject({ status: 200, body: { id, status: 'unique' } })
    expect((await scene.queueAdmin.stats('mail')).waiting).toBe(1)
    await scene.send('DELETE', `/tasks/${id}`)
  })

  test('tasks that are collected join the one that is there', async () => {
    const add = (n: number) => scene.send<Enqueued>('POST', '/tasks', { task: 'greeting.gather', payload: { n }, group: 'all' })
    const [first, second] = [await add(1), await add(2)]
    expect([first.body.status, second.body]).toEqual(['enqueued', { id: first.body.id, status: 'joined' }])
    expect((await scene.send<TaskView>('GET', `/tasks/${first.body.id}`)).body).toMatchObject({
      groupSize: 2,
      payload: [{ n: 1 }, { n: 2 }],
    })
    await scene.send('DELETE', `/tasks/${first.body.id}`)
  })

  test('what cannot be enqueued is refused with where and why, and nothing is', async () => {
    const good = { task: 'greeting.send', payload: { to: 'Ada' } }
    for (const [over, pointer, status] of [
      [{ task: 'greeting.sent' }, '/task', 422],
      [{ payload: {} }, '/payload/to', 422],
      [{ payload: { to: 'Ada', copies: 0 } }, '/payload/copies', 422],
      [{ payload: { to: 'x'.repeat(300_000) } }, '/payload', 422],
      [{ queue: 'nobody' }, '/queue', 422],
      [{ queue: '' }, '/queue', 422],
      [{ id: 'with a space' }, '/id', 422],
      [{ id: '' }, '/id', 422],
      [{ priority: 10 }, '/priority', 422],
      [{ delayMs: -1 }, '/delayMs', 422],
      [{ at: 'tomorrow' }, '/at', 422],
      [{ at: '2026-01-01T00:00:00Z', delayMs: 1 }, '/at', 422],
      [{ deadline: 7 }, '/deadline', 422],
      [{ key: 'tenant' }, '/key', 422],
      [{ group: 'all' }, '/group', 422],
      [{ uniqueKey: 'alone' }, '/uniqueKey', 422],
      [{ tx: {} }, '/tx', 422],
      [{ headers: { a: 'b' } }, '/headers', 422],
    ] as const) {
      const { body, status: answered } = await scene.send<Problem>('POST', '/tasks', { ...good, ...over })
      expect([over, answered, body.errors?.map(each => each.pointer)]).toEqual([over, status, [pointer]])
    }
    const { body } = await scene.send<Problem>('POST', '/tasks', { ...good, task: 'greeting.sent' })
    expect(body.errors?.[0]?.detail).toContain('did you mean greeting.send?')
    for (const queue of ['default', 'mail']) expect(await scene.queueAdmin.stats(queue)).toMatchObject({ waiting: 0, scheduled: 0 })
  })

  test('a dead letter is retried, what waits is cancelled and moved, and each leaves its line', async () => {
    const dead = await waiting()
    await scene.die('mail', [dead], 'mailbox full')
    expect((await scene.send<TaskView>('GET', `/tasks/${dead}`)).body).toMatchObject({
      state: 'dead',
      errors: [{ message: 'mailbox full' }],
    })
    expect(await said(scene.send('POST', `/tasks/${dead}/retry`))).toEqual([200, 'retried'])
    expect(await said(scene.send('POST', `/tasks/${dead}/retry`, { queue: 'mail' }))).toEqual([412, 'FailedPrecondition.TaskNotDead'])
    expect(await said(scene.send('POST', `/tasks/${dead}/move`, { to: 'bulk' }))).toEqual([200, 'moved'])
    expect((await scene.send<TaskView>('GET', `/tasks/${dead}`)).body).toMatchObject({ queue: 'bulk', state: 'waiting' })
    expect(await said(scene.send('POST', `/tasks/${dead}/cancel`))).toEqual([200, 'cancelled'])
    expect(await eventsOf(dead)).toMatchObject([
      { action: 'task.enqueue' },
      { action: 'task.retry', outcome: 'done', before: { queue: 'mail', state: 'dead' } },
      { action: 'task.retry', outcome: 'done', before: { state: 'waiting' } },
      { action: 'task.retry', outcome: 'failed', reason: 'FailedPrecondition.TaskNotDead' },
      { action: 'task.move', outcome: 'done', before: { queue: 'mail', state: 'waiting' }, after: { queue: 'bulk' } },
      { action: 'task.cancel', outcome: 'done', before: { queue: 'bulk' } },
    ])
  })

  test('one that runs is told to end, and is not deleted', async () => {
    const id = await waiting()
    const [held] = await scene.claim('mail', 1)
    expect(held?.id).toBe(id)
    expect(await said(scene.send('DELETE', `/tasks/${id}`))).toEqual([412, 'FailedPrecondition.TaskActive'])
    expect(await said(scene.send('POST', `/tasks/${id}/cancel`))).toEqual([200, 'cancelling'])
    expect((await scene.send<TaskView>('GET', `/tasks/${id}`)).body).toMatchObject({ state: 'active', isCancelled: true, worker: 'test:1' })
    await scene.queue.driver.exchange('mail', { finish: held ? [{ ...held, outcome: 'cancelled' }] : [] })
  })

  test('what is not there is not found, whatever is asked of it, and leaves no line', async () => {
    const before = await scene.events()
    for (const [method, path, body] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/retry'],
      ['POST', '/cancel'],
      ['POST', '/move', { to: 'bulk' }],
    ] as const) {
      expect(await said(scene.send(method, `/tasks/nothing${path}`, body))).toEqual([404, 'NotFound.TaskNotFound'])
      const elsewhere = method === 'POST' ? ([path, { ...body, queue: 'nobody' }] as const) : ([`${path}?queue=nobody`] as const)
      const [where, which] = elsewhere
      expect(await said(scene.send(method, `/tasks/nothing${where}`, which))).toEqual([400, 'InvalidArgument.UnknownQueue'])
    }
    expect(await scene.events()).toEqual(before)
  })

  test('ids of every kind are found', async () => {
    for (const id of ['a/b', 'schedule:1:2', '50%', 'a?b#c&d=e', '~!@$^*()_+|`\'"<>,;[]\\', 'x'.repeat(128)]) {
      await waiting({ id })
      const path = `/tasks/${encodeURIComponent(id)}`
      expect([id, (await scene.send<TaskView>('GET', path)).body.id]).toEqual([id, id])
      expect([id, (await scene.send('DELETE', path)).status]).toEqual([id, 204])
    }
  })

  describe('the audit log is away', () => {
    test('and nothing is changed', async () => {
      const id = await waiting()
      scene.loseAudit(true)
      try {
        const before = await scene.queueAdmin.show(id)
        for (const [method, path, body] of [
          ['DELETE', `/${id}`],
          ['POST', `/${id}/cancel`],
          ['POST', `/${id}/move`, { to: 'bulk' }],
          ['POST', '', { task: 'greeting.send', payload: { to: 'Ada' }, queue: 'mail' }],
          ['POST', '/cancel', { queue: 'mail', filter: {} }],
          ['POST', '/delete', { queue: 'mail', filter: {} }],
          ['POST', '/move', { queue: 'mail', to: 'bulk', filter: {} }],
        ] as const)
          expect([method, path, (await scene.send(method, `/tasks${path}`, body)).status]).toEqual([method, path, 500])
        expect(await scene.queueAdmin.show(id)).toEqual(before)
        expect(await scene.queueAdmin.stats('mail')).toMatchObject({ waiting: 1 })
      } finally {
        scene.loseAudit(false)
      }
      await scene.send('DELETE', `/tasks/${id}`)
    })
  })

  test('what another permission guards is enqueued by whoever has that one too, and what is for code alone by nobody', async () => {
    const before = await scene.events()
    const enqueue = (task: string, as: string) =>
      said(scene.send('POST', '/tasks', { task, payload: {}, queue: 'mail', id: `by-${as}` }, { authorization: `Bearer ${as}` }))
    expect(await enqueue('greeting.export', 'writer')).toEqual([403, 'PermissionDenied.TaskPermission'])
    for (const as of ['writer', 'exporter']) expect(await enqueue('greeting.sweep', as)).toEqual([403, 'PermissionDenied.TaskOfSystem'])
    expect(await scene.events()).toEqual(before)
    expect(await enqueue('greeting.export', 'exporter')).toEqual([201, undefined])
    await scene.send('DELETE', '/tasks/by-exporter')
    expect(scene.queueAdmin.tasks).toContainEqual({ name: 'greeting.sweep', queue: 'default', byHand: 'never' })
  })

  test('who may only read changes nothing', async () => {
    const before = await scene.events()
    const headers = { authorization: 'Bearer reader' }
    for (const [method, path, body] of [
      ['POST', '', { task: 'greeting.send', payload: { to: 'Ada' } }],
      ['DELETE', '/a'],
      ['POST', '/a/retry'],
      ['POST', '/delete', { queue: 'mail', filter: {} }],
    ] as const)
      expect(await said(scene.send(method, `/tasks${path}`, body, headers))).toEqual([403, 'PermissionDenied.Permission'])
    expect((await scene.send('GET', '/tasks?queue=mail&state=dead', undefined, headers)).status).toBe(200)
    expect(await scene.events()).toEqual(before)
  })
})
