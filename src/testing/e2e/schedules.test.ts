import { afterAll, beforeAll, expect, test } from 'bun:test'
import type { SqlRow } from '@/core/database'
import type { OpenDatabase } from '@/infra/database/driver'
import type { Schedule, SchedulePage, Tick, TickPage } from '@/modules/schedule/schema'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo, temporaryFolder } from '../bingo'
import { until } from '../conformance/cache-fixture'
import { openAgain } from '../conformance/fixture'
import type { Problem } from '../http-client'
import { type Client, newAdministrator } from '../clients'
import { badFields } from '../schedules'

/** What a change may take to be known everywhere. */
const knownWithinMs = 2000
/** A machine that does much else may be late now and then, so the middle of some counts. */
const attempts = 3

/** Does nothing for a user that there is not. */
const payload = { userId: '01890a5d-ac96-774b-bcce-b302099a8057', purpose: 'welcome' }
let count = 0
const everySecond = (over: object = {}) => ({ name: `e2e-${++count}`, cron: '* * * * * *', task: 'email.send', payload, ...over })

onEachBacking('schedules of the executable, the API in one process and the scheduler in another', open => {
  let backing: Backing
  let admin: RunningBingo
  let scheduler: RunningBingo
  let db: OpenDatabase
  let url: string
  let operator: Client
  const send: Client['send'] = (method, to, body, headers) => operator.send(method, to, body, headers)
  const folder = temporaryFolder()
  beforeAll(async () => {
    backing = await open()
    const options = { ...backing.options, cwd: folder.path }
    admin = await startBingo({ ...options, roles: 'admin' })
    scheduler = await startBingo({ ...options, roles: 'scheduler' })
    url = `${admin.urls['admin']}/admin/v1/schedules`
    operator = await newAdministrator(admin.urls['admin'] ?? '', backing.options.env)
    db = await openAgain(backing)
  }, 60_000)
  afterAll(async () => {
    const codes = await Promise.all([admin, scheduler].map(each => each.stop()))
    await db.close()
    await backing.dispose()
    folder[Symbol.dispose]()
    expect(codes).toEqual([0, 0])
    expect([...admin.log, ...scheduler.log].filter(({ level }) => level === 'error')).toEqual([])
  }, 30_000)

  const ticksOf = async (id: string) => (await send<TickPage>('GET', `${url}/${id}/ticks?pageSize=100`)).body.items
  const firedOf = async (id: string) => (await ticksOf(id)).filter(({ what }) => what === 'fired')
  const msOf = ({ tick }: Tick) => Date.parse(tick)
  const kept = async (): Promise<SqlRow[][]> =>
    Promise.all(
      // Of those in code processes say now and then that they have them.
      [`"schedule" where "origin" = 'database'`, '"scheduleTick"'].map(rows =>
        db.all(`select * from ${rows} order by 1, 2`, [], { from: 'primary' }),
      ),
    )
  /** Until the scheduler sleeps, and knows of nothing that comes: it was awake for what it has fired last. */
  const sleeping = () => Bun.sleep(1100 + Math.random() * 1000)
  /** @param attempt says how long it took */
  async function expectSoon(attempt: () => Promise<number>): Promise<void> {
    const took: number[] = []
    for (let i = 0; i < attempts; i++) took.push(await attempt())
    expect([took, (took.toSorted((a, b) => a - b)[attempts >> 1] ?? 0) <= knownWithinMs]).toEqual([took, true])
  }
  /** How long after an instant a tick of it was fired that was decided later. */
  async function firedAfterMs(id: string, instant: string): Promise<number> {
    const fromMs = Date.parse(instant)
    const first = async () => (await firedOf(id)).map(({ at }) => Date.parse(at) - fromMs).findLast(ms => ms > 0)
    await until(async () => (await first()) !== undefined, 30_000)
    return (await first()) ?? Number.NaN
  }

  test('one that is made is fired within two seconds, each tick once, and a change, a pause, and its end are as soon', async () => {
    await expectSoon(async () => {
      await sleeping()
      const { body: made } = await send<Schedule>('POST', url, everySecond())
      const tookMs = await firedAfterMs(made.id, made.createdAt)
      await send('DELETE', `${url}/${made.id}`)
      return tookMs
    })
    const { id } = (await send<Schedule>('POST', url, everySecond({ overlap: 'allow', catchUp: 'none' }))).body
    await until(async () => (await firedOf(id)).length >= 3, 30_000)

    // From the time on that the answer says, as all tell it, no tick is fired; what was being fired just then may still be.
    const { body: paused } = await send<Schedule>('POST', `${url}/${id}/pause`)
    await Bun.sleep(knownWithinMs)
    const untilPause = await firedOf(id)
    expect(msOf(untilPause[0] as Tick)).toBeLessThan(Date.parse(paused.updatedAt) + knownWithinMs)
    await Bun.sleep(knownWithinMs)
    expect(await firedOf(id)).toEqual(untilPause.map(({ outcome: _, ...tick }) => ({ ...tick, outcome: expect.any(String) })))

    await expectSoon(async () => {
      await send<Schedule>('POST', `${url}/${id}/pause`)
      await sleeping()
      const { body: resumed } = await send<Schedule>('POST', `${url}/${id}/resume`)
      return firedAfterMs(id, resumed.updatedAt)
    })

    const { body: rare } = await send<Schedule>('PATCH', `${url}/${id}`, { cron: '0 0 1 1 *' })
    await Bun.sleep(knownWithinMs)
    const fired = await firedOf(id)
    expect(msOf(fired[0] as Tick)).toBeLessThan(Date.parse(rare.updatedAt) + knownWithinMs)
    await send('PATCH', `${url}/${id}`, { cron: '* * * * * *' })
    await until(async () => (await firedOf(id)).length > fired.length, 30_000)

    const all = await ticksOf(id)
    const ids = all.flatMap(({ taskId, tick, what }) => (what === 'fired' ? [[taskId, `schedule:${id}:${Date.parse(tick)}`]] : []))
    for (const [taskId, expected] of ids) expect(taskId).toBe(expected as string)
    expect(new Set(all.map(({ tick }) => tick)).size).toBe(all.length)
    await until(async () => (await firedOf(id)).some(({ outcome }) => outcome === 'done'), 30_000)

    expect((await send('DELETE', `${url}/${id}`)).status).toBe(204)
    await Bun.sleep(knownWithinMs)
    const left = await tasksOf(id)
    await Bun.sleep(knownWithinMs)
    expect((await tasksOf(id)).filter(task => !left.includes(task))).toEqual([])
    expect(left.length).toBeGreaterThan(3)
    expect(left.length).toBe(new Set(left).size)
  }, 180_000)

  /** What is there of the tasks of its ticks, by id. They are kept for a minute. */
  async function tasksOf(id: string): Promise<string[]> {
    const { stdout } = await runBingo(['task', 'list', '--queue=mail', '--limit=10000', '--json'], { env: backing.options.env ?? {} })
    const tasks = stdout.split('\n').filter(line => line.includes(`"schedule:${id}:`))
    return tasks.map(line => (JSON.parse(line) as { id: string }).id)
  }

  test('one that is run by hand is worked, and its history says how it has ended', async () => {
    const { body: made } = await send<Schedule>('POST', url, everySecond({ cron: '0 0 1 1 *' }))
    const { body: run } = await send<{ taskId: string }>('POST', `${url}/${made.name}/run`)
    await until(async () => (await ticksOf(made.id))[0]?.outcome === 'done', 30_000)
    expect(await ticksOf(made.id)).toMatchObject([{ what: 'manual', count: 1, lateMs: 0, taskId: run.taskId, outcome: 'done' }])
    await send('DELETE', `${url}/${made.id}`)
  }, 60_000)

  test('whatever is wrong is refused over HTTP with where and why, and nothing of it is saved', async () => {
    const { body: made } = await send<Schedule>('POST', url, everySecond({ cron: '0 0 1 1 *', overlap: 'allow' }))
    const before = await kept()
    const good = everySecond()
    const cases = badFields([
      {},
      { ...payload, userId: 'ada' },
      { ...payload, purpose: 'spam' },
      { ...payload, more: 1 },
      'x',
      { x: 'x'.repeat(300_000) },
    ])
    for (const [field, value] of cases) {
      const requests: [string, string, unknown][] = [
        ['POST', url, { ...good, [field]: value }],
        ['POST', `${url}/preview`, { ...good, [field]: value }],
        // In a patch null takes back, and what is said of a payload is merged.
        ...(value === null || field === 'payload' ? [] : [['PATCH', `${url}/${made.id}`, { [field]: value }] as [string, string, unknown]]),
      ]
      for (const [method, path, body] of requests) {
        const answer = await send<Problem>(method, path, body)
        const which = `${method} ${JSON.stringify({ [field]: value }).slice(0, 200)}`
        expect([which, answer.status, answer.headers.get('content-type')]).toEqual([which, 422, 'application/problem+json'])
        expect(answer.body.errors?.every(({ pointer, detail }) => pointer.startsWith(`/${field}`) && detail.length > 5)).toBe(true)
      }
    }
    for (const [method, path, body, headers, status] of [
      ['POST', url, '{', {}, 400],
      ['POST', url, 'name=x', { 'content-type': 'text/plain' }, 415],
      ['POST', url, { ...good, name: made.name }, {}, 409],
      ['PATCH', `${url}/${made.id}`, { jitterMs: 5 }, { 'if-match': '"7"' }, 412],
      ['DELETE', `${url}/${made.id}`, undefined, { 'if-match': '"7"' }, 412],
      ['PATCH', `${url}/nobody`, { jitterMs: 5 }, {}, 404],
      ['DELETE', `${url}/nobody`, undefined, {}, 404],
      ['POST', `${url}/nobody/run`, undefined, {}, 404],
      ['GET', `${url}?pageSize=-1`, undefined, {}, 400],
      ['GET', `${url}/${made.id}/ticks?pageToken=x`, undefined, {}, 400],
      ['PUT', `${url}/${made.id}`, good, {}, 405],
    ] as const)
      expect([method, path, (await send(method, path, body, headers)).status]).toEqual([method, path, status])
    expect(await kept()).toEqual(before)
    expect((await send<SchedulePage>('GET', url)).body.items.filter(({ origin }) => origin === 'database')).toEqual([made])
    await send('DELETE', `${url}/${made.id}`)
  }, 60_000)

  test('the example of the document is a schedule that can be made', async () => {
    const { body } = await send<Document>('GET', `${admin.urls['admin']}/swagger/json`)
    const schema = body.paths['/admin/v1/schedules']?.['post']?.requestBody.content['application/json'].schema
    const example = Object.fromEntries(Object.entries(schema?.properties ?? {}).map(([name, { examples }]) => [name, examples?.[0]]))
    expect(Object.values(example)).not.toContain(undefined)
    const made = await send<Schedule>('POST', url, example)
    expect([made.status, made.body]).toEqual([201, expect.objectContaining(example)])
    expect((await send('DELETE', `${url}/${example['name']}`)).status).toBe(204)
  })
})

interface Document {
  paths: Record<string, Record<string, { requestBody: { content: { 'application/json': { schema: Schema } } } }>>
}
interface Schema {
  properties: Record<string, { examples?: unknown[] }>
}
