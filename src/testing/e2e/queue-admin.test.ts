import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { TaskView } from '@/core/queue/admin'
import type { Queue } from '@/modules/queue/schema'
import type { BulkResult, TaskPage } from '@/modules/task/schema'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { type AdministratorClient, newAdministrator } from '../clients'
import { until } from '../conformance/cache-fixture'
import type { Problem } from '../http-client'

/** Does nothing for a user that there is not, and stays for a while so that it can be looked at. */
const mail = { task: 'email.send', payload: { userId: '01890a5d-ac96-774b-bcce-b302099a8057', purpose: 'welcome' }, keepForMs: 600_000 }
const past = '2026-01-01T00:00:00Z'
interface Event {
  actor: string
  action: string
  object: string
  outcome: string
}

onEachBacking('queues and tasks over HTTP, the API in one process and the worker in another', open => {
  let backing: Backing
  let admin: RunningBingo
  let worker: RunningBingo
  let administrator: AdministratorClient
  let at: string
  const folder = temporaryFolder()
  beforeAll(async () => {
    backing = await open()
    const options = { ...backing.options, cwd: folder.path }
    admin = await startBingo({ ...options, roles: 'admin' })
    worker = await startBingo({ ...options, roles: 'scheduler' })
    administrator = await newAdministrator(admin.urls['admin'] ?? '', backing.options.env)
    at = `${admin.urls['admin']}/admin/v1`
  }, 60_000)
  afterAll(async () => {
    const codes = await Promise.all([admin, worker].map(each => each.stop()))
    await backing.dispose()
    folder[Symbol.dispose]()
    expect(codes).toEqual([0, 0])
    expect([...admin.log, ...worker.log].filter(({ level }) => level === 'error')).toEqual([])
  }, 30_000)

  const send = <T>(method: string, path: string, body?: unknown, headers?: Record<string, string>) =>
    administrator.send<T>(method, `${at}${path}`, body, headers)
  const enqueue = async (over: object = {}) => (await send<{ id: string }>('POST', '/tasks', { ...mail, ...over })).body.id
  const stateOf = async (id: string) => (await send<TaskView>('GET', `/tasks/${id}`)).body.state
  const is = (id: string, state: string) => until(async () => (await stateOf(id)) === state, 20_000)
  const eventsOf = async (object: string) =>
    (await send<{ items: Event[] }>('GET', `/audit-events?object=${encodeURIComponent(object)}`)).body.items.toReversed()

  test('a task is done by the other process, and not while its queue is paused, whoever pauses it', async () => {
    const first = await enqueue()
    await is(first, 'done')
    expect((await send<Queue>('POST', '/queues/mail/pause')).body.isPaused).toBe(true)
    const second = await enqueue()
    // Tasks of another queue are done meanwhile, so the worker has looked.
    await is(await enqueue({ queue: 'default' }), 'done')
    expect(await stateOf(second)).toBe('waiting')
    const resumed = await runBingo(['task', 'resume', 'mail'], { env: backing.options.env ?? {}, cwd: folder.path })
    expect([resumed.code, resumed.stdout]).toEqual([0, 'mail  resumed\n'])
    await is(second, 'done')
    expect(await eventsOf('queue:mail')).toMatchObject([
      { actor: expect.stringMatching(/^admin:/), action: 'queue.pause', outcome: 'done' },
      { actor: 'commandLine', action: 'queue.resume', outcome: 'done' },
    ])
  }, 60_000)

  test('the same request with the same Idempotency-Key enqueues once', async () => {
    const headers = { 'idempotency-key': 'enqueue-once' }
    const [first, again] = [await send('POST', '/tasks', mail, headers), await send('POST', '/tasks', mail, headers)]
    expect([first.status, again.status, again.headers.get('idempotency-replayed')]).toEqual([201, 201, 'true'])
    expect(again.body).toEqual(first.body)
    expect(again.headers.get('location')).toBe(first.headers.get('location'))
  })

  test('dead letters are looked at, retried and deleted, one by one and all that fit', async () => {
    const ids = await Promise.all(Array.from({ length: 3 }, () => enqueue({ queue: 'bulk', deadline: past })))
    for (const id of ids) await is(id, 'dead')
    const { body: dead } = await send<TaskPage>('GET', '/tasks?queue=bulk&state=dead')
    expect(dead.items.map(({ id }) => id).toSorted()).toEqual(ids.toSorted())
    const { body: errors } = await send<{ items: { count: number; task: string }[] }>('GET', '/queues/bulk/errors')
    expect(errors.items).toMatchObject([{ count: 3, task: mail.task }])
    const [one = ''] = ids
    const all = { queue: 'bulk', filter: { states: ['dead'], task: mail.task } }
    const { body: counted } = await send<BulkResult>('POST', '/tasks/delete', { ...all, isDryRun: true })
    expect(counted).toMatchObject({ matched: 3, done: 0, nextPageToken: '' })
    expect((await send('POST', `/tasks/${one}/retry`)).status).toBe(200)
    await is(one, 'dead')
    const { body: deleted } = await send<BulkResult>('POST', '/tasks/delete', all)
    expect(deleted).toMatchObject({ matched: 3, done: 3, skipped: 0, nextPageToken: '' })
    expect((await send<Problem>('GET', `/tasks/${one}`)).body.code).toBe('NotFound.TaskNotFound')
    expect((await eventsOf('queue:bulk')).map(({ action, outcome }) => `${action} ${outcome}`)).toEqual([
      'task.delete done',
      'task.delete done',
    ])
  }, 60_000)

  test('a healthy queue has no findings, and figures come from what the worker does', async () => {
    for (const queue of ['default', 'mail', 'bulk'])
      expect((await send(`GET`, `/queues/${queue}/findings`)).body).toEqual({ items: [], nextPageToken: '' })
    expect((await send<Queue>('GET', '/queues/mail')).body.total.done).toBeGreaterThanOrEqual(2)
  })

  test('what the command line does is written down as well', async () => {
    const run = (...args: string[]) => runBingo(args, { env: backing.options.env ?? {}, cwd: folder.path })
    await send('POST', '/queues/mail/pause')
    const made = await run('task', 'enqueue', mail.task, `--payload=${JSON.stringify(mail.payload)}`, '--json')
    const { id } = JSON.parse(made.stdout) as { id: string }
    const moved = await run('task', 'move', id, '--to=bulk')
    expect(moved.code).toBe(0)
    const wrong = await run('task', 'enqueue', mail.task, '--payload={}', '--id=wrong-one')
    expect(wrong.code).toBe(64)
    await send('POST', '/queues/mail/resume')
    const created = await run(
      'schedule',
      'create',
      'by-hand',
      '--cron=0 3 1 1 *',
      `--task=${mail.task}`,
      `--payload=${JSON.stringify(mail.payload)}`,
      '--yes',
    )
    expect(created.code).toBe(0)
    const { body: schedule } = await send<{ id: string }>('GET', '/schedules/by-hand')
    const told = async (object: string) => (await eventsOf(object)).map(({ actor, action, outcome }) => `${actor} ${action} ${outcome}`)
    expect(await told(`task:${id}`)).toEqual(['commandLine task.enqueue done', 'commandLine task.move done'])
    expect(await told('task:wrong-one')).toEqual(['commandLine task.enqueue done', 'commandLine task.enqueue failed'])
    expect(await told(`schedule:${schedule.id}`)).toEqual(['commandLine schedule.create done'])
  }, 60_000)
})
