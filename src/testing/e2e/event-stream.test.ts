import { afterAll, beforeAll, expect, test } from 'bun:test'
import { revocationMaxMs } from '@/core/revocations'
import { type Backing, onEachBacking } from '../backings'
import { type RunningBingo, runBingo, startBingo } from '../bingo'
import { type AdministratorClient, newAdministrator } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openEvents, type ReceivedEvent } from '../event-source'
import { send } from '../http-client'

/** What administrators are told as it changes, by two processes of the executable, to a client that does what a browser does. */

const eventsOf = (origin: string, topics?: string) => `${origin}/admin/v1/events${topics === undefined ? '' : `?topics=${topics}`}`
const of = (topic: string) => (event: ReceivedEvent) => event.event === topic
const queueIn = (event: ReceivedEvent, name: string) => event.data.items.find(each => each['name'] === name)

onEachBacking('events of the admin server', (open, name) => {
  let backing: Backing
  let running: RunningBingo[]
  let here: string
  let there: string
  let root: AdministratorClient
  const env = () => backing.options.env ?? {}
  const start = async () => {
    // One after another, since with --migrate both would.
    const bingo = await startBingo({ roles: 'admin', ...backing.options })
    running.push(bingo)
    return bingo
  }
  beforeAll(async () => {
    backing = await open()
    running = []
    const [one, other] = [await start(), await start()]
    here = one.urls['admin'] ?? ''
    there = other.urls['admin'] ?? ''
    root = await newAdministrator(here, env())
  }, 60_000)
  afterAll(async () => {
    await Promise.all(running.map(bingo => bingo.stop()))
    await backing.dispose()
  })

  const listen = (origin: string, topics?: string, lastEventId?: string, who = root) =>
    openEvents(eventsOf(origin, topics), { headers: who.headers, ...(lastEventId !== undefined && { lastEventId }) })

  /** Of the one role of an administrator, at the other process. */
  async function changePermissions({ username }: AdministratorClient, permissions: string[]): Promise<void> {
    const { body } = await root.send<{ items: { username: string; roles: { id: string }[] }[] }>(
      'GET',
      `${there}/admin/v1/admins?pageSize=100`,
    )
    const role = body.items.find(each => each.username === username)?.roles[0]?.id
    expect((await root.send('PATCH', `${there}/admin/v1/roles/${role}`, { permissions })).status).toBe(200)
  }

  test('nobody is told what they may not see, and all is told that they may', async () => {
    const reader = await newAdministrator(here, env(), ['schedules:read'])
    for (const [topics, headers, code] of [
      ['queues', reader.headers, 'PermissionDenied.Permission'],
      ['schedules,processes', reader.headers, 'PermissionDenied.Permission'],
      ['queues', {}, 'Unauthenticated.Credentials'],
      ['users', root.headers, 'InvalidArgument.UnknownTopic'],
      ['', root.headers, 'InvalidArgument.UnknownTopic'],
    ] as const) {
      const { body } = await send('GET', eventsOf(here, topics), undefined, { accept: 'text/event-stream', ...headers })
      expect([topics, body?.['code']]).toEqual([topics, code])
    }
    const stream = await listen(here, undefined, undefined, reader)
    await stream.next(of('schedules'))
    stream.close()
    expect(new Set(stream.events.map(({ event }) => event))).toEqual(new Set(['schedules']))
  }, 30_000)

  test('a change that another process makes is told, whole, to all who listen', async () => {
    const streams = await Promise.all([listen(here), listen(here, 'queues,schedules'), listen(there, 'queues')])
    for (const stream of streams) {
      expect(stream.status).toBe(200)
      expect(stream.headers.get('content-type')).toBe('text/event-stream')
      expect(stream.headers.get('cache-control')).toBe('no-store')
      expect(queueIn(await stream.next(of('queues')), 'mail')).toMatchObject({ isPaused: false })
    }
    expect((await root.send('POST', `${there}/admin/v1/queues/mail/pause`)).status).toBe(200)
    for (const stream of streams) await stream.next(event => queueIn(event, 'mail')?.['isPaused'] === true)
    await root.send('POST', `${there}/admin/v1/queues/mail/resume`)
    const made = { name: `live-${crypto.randomUUID()}`, cron: '0 3 1 1 *', task: 'user.export', payload: { format: 'csv' } }
    expect((await root.send('POST', `${there}/admin/v1/schedules`, made)).status).toBe(201)
    const isThere = (event: ReceivedEvent) => event.data.items.some(item => item['name'] === made.name)
    const told = await streams[1]?.next(event => event.event === 'schedules' && isThere(event))
    // What a task is given may be about people; whoever wants to know asks.
    expect(JSON.stringify(told)).not.toContain('payload')
    for (const stream of streams) stream.close()
  }, 30_000)

  test('who comes again to any process is told what has changed meanwhile, and nothing when nothing has', async () => {
    const first = await listen(here, 'schedules')
    await first.next(of('schedules'))
    first.close()
    const quiet = await listen(there, 'schedules', first.lastEventId())
    // What is told next is the next schedule: had there been anything before it, that would be the first.
    const name = `again-${crypto.randomUUID()}`
    const told = quiet.next(of('schedules'))
    await until(() => quiet.comments.length > 0, 10_000)
    expect([quiet.events, quiet.comments]).toEqual([[], ['nothing has changed']])
    const made = { name, cron: '0 3 1 1 *', task: 'user.export', payload: { format: 'csv' } }
    await root.send('POST', `${here}/admin/v1/schedules`, made)
    expect((await told).data.items.map(item => item['name'])).toContain(name)
    quiet.close()
    const lastEventId = quiet.lastEventId()
    await root.send('DELETE', `${here}/admin/v1/schedules/${name}`)
    const again = await listen(here, 'schedules', lastEventId)
    expect((await again.next(of('schedules'))).data.items.map(item => item['name'])).not.toContain(name)
    again.close()
    const unknown = await listen(here, 'schedules', 'schedules=nonsense;__proto__=x;=')
    await unknown.next(of('schedules'))
    unknown.close()
  }, 30_000)

  test('within two seconds the stream of a session that has ended ends, and of a permission that was taken, and says why', async () => {
    const measured: Record<string, number> = {}
    const ends = async (title: string, reason: string, who: AdministratorClient, status: number, change: () => Promise<unknown>) => {
      const stream = await listen(here, 'schedules', undefined, who)
      await stream.next()
      await change()
      const changedMs = performance.now()
      measured[title] = Math.round((await stream.ended()) - changedMs)
      expect(stream.events.at(-1)).toMatchObject({ event: 'end', data: { reason } })
      expect([title, (await who.send('GET', eventsOf(here))).status]).toEqual([title, status])
    }
    const leaving = await newAdministrator(here, env())
    await ends('logged out elsewhere', 'credential', leaving, 401, () => leaving.send('DELETE', `${there}/admin/v1/sessions/current`))
    const suspended = await newAdministrator(here, env())
    await ends('suspended on the command line', 'credential', suspended, 401, () =>
      runBingo(['admin', 'suspend', '--username', suspended.username], { env: env() }),
    )
    const reader = await newAdministrator(here, env(), ['schedules:read'])
    await ends('given another role elsewhere', 'permission', reader, 403, () => changePermissions(reader, ['users:read']))
    console.log(`a stream ended after the change, on ${name}:`, measured)
    expect(Object.values(measured).filter(ms => ms > revocationMaxMs)).toEqual([])
  }, 60_000)

  test('a process that is told to stop ends its streams at once, and its readers go on at another', async () => {
    const stopping = await start()
    const streams = await Promise.all(Array.from({ length: 10 }, () => listen(stopping.urls['admin'] ?? '', 'processes')))
    for (const stream of streams) await stream.next(of('processes'))
    const ended = Promise.all(streams.map(stream => stream.ended()))
    const beganMs = performance.now()
    expect(await stopping.stop()).toBe(0)
    const tookMs = performance.now() - beganMs
    await ended
    for (const stream of streams) expect(stream.events.at(-1)).toMatchObject({ event: 'end', data: { reason: 'stopping' } })
    console.log(`stopped with ten streams open in ${Math.round(tookMs)} ms, on ${name}`)
    expect(tookMs).toBeLessThan(5000)
    running = running.filter(bingo => bingo !== stopping)
    const again = await listen(here, 'processes', streams[0]?.lastEventId())
    // It has gone, which is news.
    const { data } = await again.next(of('processes'))
    expect(data.items.map(({ pid }) => pid)).not.toContain(stopping.pid)
    again.close()
  }, 30_000)

  test('one administrator has so many streams and no more, and those that are closed make room', async () => {
    const greedy = await newAdministrator(here, env())
    const streams = await Promise.all(Array.from({ length: 20 }, () => listen(here, 'processes', undefined, greedy)))
    expect(streams.map(({ status }) => status)).toEqual(streams.map(() => 200))
    const { status, body, headers } = await greedy.send('GET', eventsOf(here))
    expect([status, body['code'], headers.get('retry-after')]).toEqual([429, 'ResourceExhausted.TooManyStreams', '5'])
    const other = await listen(here)
    expect(other.status).toBe(200)
    other.close()
    for (const stream of streams) stream.close()
    const deadlineMs = performance.now() + 5000
    let again = await listen(here, 'processes', undefined, greedy)
    while (again.status !== 200 && performance.now() < deadlineMs) {
      await Bun.sleep(50)
      again = await listen(here, 'processes', undefined, greedy)
    }
    expect(again.status).toBe(200)
    again.close()
  }, 30_000)
})
