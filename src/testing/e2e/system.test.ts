import { expect, test } from 'bun:test'
import { aliveMs } from '@/core/processes'
import { type Backing, onEachBacking, openBacking, testOn } from '../backings'
import { type RunningBingo, startBingo } from '../bingo'
import { type AdministratorClient, newAdministrator } from '../clients'
import { until } from '../conformance/cache-fixture'
import { openEvents } from '../event-source'
import { startOwn } from '../servers'

/** What operators see of an installation, of processes of the executable. */

interface SystemView extends Record<string, unknown> {
  version: string
  processId: string
  processes: { id: string; roles: string[]; pid: number; isAlive: boolean; version: string; host: string }[]
  dependencies: { name: string; isReady: boolean; latencyMs: number; error?: string }[]
}

const systemOf = async (who: AdministratorClient, { urls }: RunningBingo): Promise<SystemView> => {
  const { status, body } = await who.send<SystemView>('GET', `${urls['admin']}/admin/v1/system`)
  expect(status).toBe(200)
  return body
}

onEachBacking('the system', (open, name) => {
  test('says which processes run: from their start, until they stop, and for a while when they have crashed', async () => {
    const backing = await open()
    const admin = await startBingo({ roles: 'admin', ...backing.options })
    const scheduler = await startBingo({ roles: 'scheduler', ...backing.options })
    const crashing = await startBingo({ roles: 'api,admin', ...backing.options })
    const root = await newAdministrator(admin.urls['admin'] ?? '', backing.options.env ?? {})
    const { version, processId, processes, dependencies } = await systemOf(root, admin)
    expect(processes.map(({ roles, pid, isAlive }) => ({ roles, pid, isAlive }))).toEqual([
      { roles: ['admin'], pid: admin.pid, isAlive: true },
      { roles: ['api', 'admin'], pid: crashing.pid, isAlive: true },
      { roles: ['scheduler'], pid: scheduler.pid, isAlive: true },
    ])
    expect(new Set(processes.map(each => each.version))).toEqual(new Set([version]))
    expect(processes.find(({ id }) => id === processId)?.pid).toBe(admin.pid)
    // Whoever answers says of itself what it works with.
    expect(new Set([processId, (await systemOf(root, crashing)).processId]).size).toBe(2)
    const ready = dependencies.map(({ name: dependency, isReady }) => [dependency, isReady])
    expect(ready).toEqual([['database', true], ['queue', true], ...(name === 'sqlite' ? [] : [['mail', false]])])

    const stream = await openEvents(`${admin.urls['admin']}/admin/v1/events?topics=processes`, { headers: root.headers })
    await stream.next()
    await scheduler.stop()
    // One that stops says so by itself.
    const gone = await stream.next(({ data }) => data.items.every(({ pid }) => pid !== scheduler.pid), 5000)
    expect(gone.data.items).toHaveLength(2)
    const killedMs = performance.now()
    await crashing.stop('SIGKILL')
    const dead = await stream.next(({ data }) => data.items.some(({ isAlive }) => !isAlive), aliveMs + 10_000)
    expect(dead.data.items.find(({ isAlive }) => !isAlive)).toMatchObject({ pid: crashing.pid, seenAt: expect.stringMatching(/Z$/) })
    console.log(`a process that was killed was known to be dead after ${Math.round(performance.now() - killedMs)} ms, on ${name}`)
    expect((await systemOf(root, admin)).processes.map(({ pid, isAlive }) => [pid, isAlive])).toEqual([
      [admin.pid, true],
      [crashing.pid, false],
    ])
    stream.close()
    await admin.stop()
    await backing.dispose()
  }, 90_000)
})

testOn(
  ['mysql', 'redis'],
  'what has gone is not ready, and said to be so, while the rest goes on',
  async () => {
    await using redis = await startOwn('redis')
    const backing = (await openBacking('mysql')) as Backing
    const env = { ...backing.options.env, BINGO_REDIS_URL: redis.url }
    const bingo = await startBingo({ roles: 'admin', ...backing.options, env })
    const root = await newAdministrator(bingo.urls['admin'] ?? '', env)
    const stateOf = async (name: string) => (await systemOf(root, bingo)).dependencies.find(each => each.name === name)
    expect(await stateOf('queue')).toMatchObject({ isReady: true })
    const stream = await openEvents(`${bingo.urls['admin']}/admin/v1/events`, { headers: root.headers })
    await stream.next(({ event }) => event === 'queues')
    await redis.kill()
    await until(async () => (await stateOf('queue'))?.isReady === false, 15_000)
    const { error, latencyMs } = (await stateOf('queue')) ?? {}
    expect([error, (latencyMs ?? 0) < 3000]).toEqual([expect.stringMatching(/^[\w.]+$/), true])
    expect(await stateOf('database')).toMatchObject({ isReady: true })
    // The others are told of still.
    await stream.next(({ event, data }) => event === 'unavailable' && data.topic === 'queues', 15_000)
    expect(stream.events.filter(({ event }) => event === 'end')).toEqual([])
    stream.close()
    await bingo.stop()
    await backing.dispose()
  },
  90_000,
)
