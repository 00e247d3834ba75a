import { expect } from 'bun:test'
import { systemClock } from '@/core/clock'
import type { BulkProgress } from '@/core/queue/bulk'
import type { QueueDriver } from '@/infra/queue/driver'
import { runBulk } from '@/infra/queue/operate/bulk'
import { type Backing, openBacking, testOn } from '../../backings'
import { eachLine, executable, runBingo } from '../../bingo'
import { openSubject, type RedisQueueSubject } from '../../redis-queue'
import { type OwnServer, startOwn } from '../../servers'
import { findingsOf } from '../../conformance/queue/fixture'
import { isFull } from '../scene'

/** What an operator does with very many tasks, while Redis has others to serve. */
const many = isFull ? 100_000 : 20_000
const moved = 10_000
const queue = 'mail'
const prefix = 'bingo'
/** No script may hold up the server for longer. */
const scriptMaxMs = 10
const testTimeoutMs = 300_000

const batch = 1000
const workers = { worker: 'test:1', leaseMs: 600_000 }
function expectShort(longest: readonly [call: string, ms: number][], what: string): void {
  if (isFull) console.log(`${what}: of the processor at most ${longest.map(([call, ms]) => `${ms.toFixed(1)} ms for ${call}`).join(', ')}`)
  // The processor of a machine that does much else at the same time is slower.
  expect(longest[0]?.[1]).toBeLessThanOrEqual(isFull ? scriptMaxMs : 3 * scriptMaxMs)
}

const idsOf = (count: number) => Array.from({ length: count }, (_, i) => `letter-${String(i).padStart(6, '0')}`)
const envelopeOf = (id: string) =>
  JSON.stringify(['email.send', Date.now(), { userId: '01890a5d-ac96-774b-bcce-b302099a8057', purpose: 'welcome', of: id }])

async function add({ driver }: RedisQueueSubject, ids: readonly string[], over = {}): Promise<void> {
  for (let i = 0; i < ids.length; i += batch)
    await driver.enqueue(
      queue,
      ids.slice(i, i + batch).map(id => ({ id, isIdKept: true, priority: 5, delayMs: 0, envelope: envelopeOf(id), ...over })),
    )
}

/** All that wait die. */
async function die({ driver }: RedisQueueSubject): Promise<void> {
  for (let i = 0; ; i++) {
    const nonce = `die-${String(i).padStart(12, '0')}`
    const { claimed } = await driver.exchange(queue, { claim: { ...workers, nonce, count: batch } })
    if (claimed.length === 0) return
    const error = 'the mail server answered 421 and a lot of text'
    const finish = claimed.map(({ id, attempt }) => ({ id, attempt, nonce, outcome: 'dead' as const, isFailure: true, error }))
    await driver.exchange(queue, { finish })
  }
}

interface Place extends AsyncDisposable {
  server: OwnServer
  backing: Backing
  subject: RedisQueueSubject
  env: Record<string, string>
}

async function openPlace(): Promise<Place> {
  const backing = await openBacking('mariadb')
  if (!backing) throw new Error('MariaDB cannot be had')
  const server = await startOwn('redis')
  const env = { ...backing.options.env, BINGO_REDIS_URL: server.url, BINGO_REDIS_PREFIX: prefix, BINGO_LOG_LEVEL: 'error' }
  expect((await runBingo(['migrate', 'up'], { env })).code).toBe(0)
  const subject = await openSubject(server.url, { prefix, timeoutMs: 10_000 })
  return {
    ...{ server, backing, subject, env },
    async [Symbol.asyncDispose]() {
      await subject[Symbol.asyncDispose]()
      await server[Symbol.asyncDispose]()
      await backing.dispose()
    },
  }
}

/** How long each script took by the clock of the server, which logs them all meanwhile, the longest first. */
async function scriptsOf({ subject: { raw } }: Place, work: () => Promise<void>): Promise<number[]> {
  await raw.config('SET', 'slowlog-max-len', '1000000')
  await raw.config('SET', 'slowlog-log-slower-than', '0')
  await raw.slowlog('RESET')
  await work()
  await raw.config('SET', 'slowlog-log-slower-than', '-1')
  const entries = (await raw.slowlog('GET', -1)) as [number, number, number, string[]][]
  const scripts = entries.filter(([, , , words]) => /^(eval|evalsha|fcall)/i.test(words[0] ?? ''))
  return scripts.map(([, , micros]) => micros / 1000).toSorted((a, b) => b - a)
}

/** A driver of which each call is charged with the time of the processor that the server has spent on each of its scripts. */
function measured({ driver, raw }: RedisQueueSubject): { driver: QueueDriver; longest(): [call: string, ms: number][] } {
  const longest = new Map<string, number>()
  const number = (text: string, name: RegExp) => Number(name.exec(text)?.[1] ?? 0)
  async function look() {
    const [cpu, stats] = [await raw.info('cpu'), await raw.info('commandstats')]
    const seconds = number(cpu, /used_cpu_sys_main_thread:([\d.]+)/) + number(cpu, /used_cpu_user_main_thread:([\d.]+)/)
    return { ms: seconds * 1000, scripts: number(stats, /cmdstat_evalsha:calls=(\d+)/) }
  }
  const charged =
    <A extends unknown[], R>(name: string, call: (...args: A) => Promise<R>) =>
    async (...args: A): Promise<R> => {
      const before = await look()
      const reply = await call(...args)
      const after = await look()
      const each = (after.ms - before.ms) / Math.max(1, after.scripts - before.scripts)
      longest.set(name, Math.max(longest.get(name) ?? 0, each))
      return reply
    }
  return {
    driver: {
      ...driver,
      ...{ list: charged('list', driver.list), show: charged('show', driver.show), enqueue: charged('enqueue', driver.enqueue) },
      ...{ retry: charged('retry', driver.retry), remove: charged('remove', driver.remove), bury: charged('bury', driver.bury) },
    },
    longest: () => [...longest].toSorted(([, a], [, b]) => b - a),
  }
}

const figures = (numbers: readonly number[]) => numbers.map(each => each.toFixed(1)).join(', ')

/** Runs a command, and kills it once it says that so many are done. @returns what it has said of how far it was */
async function bingo({ env }: Place, args: readonly string[], killsAt = Number.POSITIVE_INFINITY): Promise<BulkProgress[]> {
  const child = Bun.spawn([executable, 'task', ...args, '--json'], { env: { ...process.env, ...env }, stdout: 'pipe', stderr: 'inherit' })
  const told: BulkProgress[] = []
  await eachLine(child.stdout, line => {
    const progress = JSON.parse(line) as BulkProgress
    told.push(progress)
    if (progress.done >= killsAt) child.kill('SIGKILL')
  })
  const code = await child.exited
  expect(code).toBe(killsAt === Number.POSITIVE_INFINITY ? 0 : 137)
  return told
}

async function waiting({ subject: { raw } }: Place, name: string): Promise<string[]> {
  return raw.lrange(`${prefix}:{${name}}:p5`, 0, -1)
}

testOn(
  ['mariadb', 'redis'],
  'A bulk retry of very many dead letters that is killed midway is done again, and each waits once',
  async () => {
    await using place = await openPlace()
    const { subject } = place
    const ids = idsOf(many)
    await add(subject, ids)
    await die(subject)
    expect((await subject.driver.stats(queue)).dead).toBe(many)

    const first: BulkProgress[] = []
    const second: BulkProgress[] = []
    const retry = ['retry', '--all', `--queue=${queue}`]
    const times = await scriptsOf(place, async () => {
      first.push(...(await bingo(place, retry, many / 5)))
      const { dead, waiting: there } = await subject.driver.stats(queue)
      expect(there).toBeGreaterThanOrEqual(many / 5)
      expect([dead > 0, dead + there]).toEqual([true, many])
      second.push(...(await bingo(place, retry)))
    })
    // A machine with other work takes the processor from the server now and then, which is in these; what it needs itself is charged below.
    const late = times.filter(each => each > scriptMaxMs).length
    if (isFull)
      console.log(`retry of ${many}: ${times.length} scripts, ${late} of more than 10 ms, the longest ${figures(times.slice(0, 5))} ms`)
    expect(times[times.length >> 1]).toBeLessThan(scriptMaxMs)
    expect(first.at(-1)).toMatchObject({ total: many, isOver: false })
    expect(second.at(-1)).toMatchObject({ seen: second[0]?.total, done: second[0]?.total, skipped: 0, isOver: true })
    expect(first.length + second.length).toBeGreaterThan(3)
    const line = await waiting(place, queue)
    expect([line.length, line.toSorted()]).toEqual([many, ids])
    expect(await subject.driver.stats(queue)).toMatchObject({ waiting: many, dead: 0, active: 0 })
    expect(await findingsOf(subject.driver, queue, false)).toEqual([])
  },
  testTimeoutMs,
)

testOn(
  ['mariadb', 'redis'],
  'Deleting every second of very many that wait, and retrying very many dead letters, holds up Redis for no script of more than 10 ms',
  async () => {
    await using place = await openPlace()
    const { subject } = place
    const ids = idsOf(many)
    for (let i = 0; i < many; i += 2 * batch) {
      await add(subject, ids.slice(i, i + batch))
      await add(subject, ids.slice(i + batch, i + 2 * batch), { envelope: JSON.stringify(['user.export', 1, {}]) })
    }
    const { driver, longest } = measured(subject)
    const told = await Array.fromAsync(runBulk({ driver, clock: systemClock }, queue, { action: 'delete', filter: { task: 'email.send' } }))
    expect(told.at(-1)).toMatchObject({ seen: many, done: many / 2, skipped: 0 })
    expectShort(longest(), `delete of each second thousand of ${many}`)
    expect((await waiting(place, queue)).toSorted()).toEqual(ids.filter((_, i) => Math.floor(i / batch) % 2 === 1))
    expect(await subject.driver.stats(queue)).toMatchObject({ waiting: many / 2 })

    await die(subject)
    const again = measured(subject)
    const retried = await Array.fromAsync(runBulk({ driver: again.driver, clock: systemClock }, queue, { action: 'retry' }))
    expect(retried.at(-1)).toMatchObject({ seen: many / 2, done: many / 2, skipped: 0 })
    expectShort(again.longest(), `retry of ${many / 2}`)
  },
  testTimeoutMs,
)

testOn(
  ['mariadb', 'redis'],
  'A move to another queue that is killed is done again, and each task is there once',
  async () => {
    await using place = await openPlace()
    const { subject } = place
    const ids = idsOf(moved)
    await add(subject, ids.slice(0, moved / 2))
    await die(subject)
    await add(subject, ids.slice(moved / 2))
    const move = ['move', '--all', `--queue=${queue}`, '--to=default']
    for (const share of [0.1, 0.4]) {
      await bingo(place, move, moved * share)
      const [here, there] = [await subject.driver.stats(queue), await subject.driver.stats('default')]
      expect(there.waiting).toBeGreaterThanOrEqual(moved * share)
      expect(here.waiting + here.dead + there.waiting).toBeGreaterThanOrEqual(moved)
    }
    const { driver, longest } = measured(subject)
    await Array.fromAsync(runBulk({ driver, clock: systemClock }, queue, { action: 'move', to: 'default' }))
    expectShort(longest(), `move of ${moved}`)
    expect((await waiting(place, 'default')).toSorted()).toEqual(ids)
    expect(await subject.driver.stats(queue)).toMatchObject({ waiting: 0, scheduled: 0, dead: 0, active: 0 })
    expect((await subject.driver.stats('default')).total.enqueued).toBe(moved)
  },
  testTimeoutMs,
)
