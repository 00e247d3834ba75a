import { expect, test } from 'bun:test'
import { describeOnRedis } from '@/testing/backings'
import { checkAll, claim, finishAs, leaseMs, newKey, newTask, openSubject, type RedisQueueSubject, until } from '@/testing/redis-queue'
import { startOwn } from '@/testing/servers'
import { tornGroups } from '@/testing/torn-groups'
import { tornHeld } from '@/testing/torn-held'
import { tornLanes } from '@/testing/torn-lanes'
import type { TornScene as Scene } from '@/testing/torn-scene'
import type { ClaimLimits, Claimed, NewTask, QueueDriver } from '../driver'

/**
 * A log that was torn in the midst of a script may be replayed half. So each call is made once while its writes are recorded, and
 * then only the first of them are, then the first two, and so on; each time workers and the reaper go on from what there is.
 */
const queue = 'q'
const brief = { leaseMs: 1, crashesMax: 3 }
const key = newKey()

const named = (id: string, said: Partial<NewTask> = {}) => newTask({ id, ...said })
/** One of each kind. */
const kinds = [
  named('plain'),
  named('kept', { isIdKept: true }),
  named('unique', { unique: { key, forMs: 60_000 } }),
  named('first', { priority: 0, isIdKept: true, unique: { key: newKey(), forMs: 60_000 } }),
]
const once = Object.fromEntries(kinds.map(({ id }) => [id, [1, 1] as [number, number]]))
const onceAtMost = Object.fromEntries(kinds.map(({ id }) => [id, [0, 1] as [number, number]]))

const claimed = async (driver: QueueDriver) => {
  await driver.enqueue(queue, kinds)
  return claim(driver, queue, 10, 1)
}
/** Each has failed once, so each has a past. */
const claimedAgain = async (driver: QueueDriver) => {
  const first = await claimed(driver)
  await driver.exchange(queue, { finish: finishAs(first, { outcome: 'retry', delayMs: 0, error: 'once' }) })
  return claim(driver, queue, 10, 1)
}
const dead = async (driver: QueueDriver) => {
  const first = await claimed(driver)
  await driver.exchange(queue, { finish: finishAs(first, { outcome: 'dead', isFailure: true, error: 'no' }) })
}
const kept = async (driver: QueueDriver) => finishing(keeping)(driver, await claimed(driver))
const report = (driver: QueueDriver, held: Held) =>
  driver.report(
    queue,
    finishAs(held, {}).map(each => ({ ...each, progress: '{}' })),
  )
/** Of how far each is something is known. */
const claimedAndSaid = async (driver: QueueDriver) => {
  const held = await claimed(driver)
  await report(driver, held)
  return held
}
type Held = { tasks: Claimed[]; nonce: string }
const finishing = (outcome: object) => (driver: QueueDriver, held: Held) => driver.exchange(queue, { finish: finishAs(held, outcome) })
const result = '{"sum":1}'
const keeping = { outcome: 'done', keepForMs: 60_000, result }
const nonce = 'n'.repeat(16)
const claiming = (driver: QueueDriver) => driver.exchange(queue, { claim: { worker: 'w', nonce, count: 10, leaseMs: 1 } })

const endings: Scene[] = Object.entries({ 'at first': claimed, 'after a failure': claimedAgain, 'said how far': claimedAndSaid }).flatMap(
  ([past, prepare]) => {
    const scene = (name: string, outcome: object, others: Omit<Scene, 'name' | 'prepare' | 'act'>): Scene[] =>
      [false, true].map(isSaidAgain => ({
        name: `${name} ${past}${isSaidAgain ? ', said again' : ''}`,
        prepare,
        act: finishing(outcome),
        isSaidAgain,
        ...others,
      }))
    return [
      ...scene('done', { outcome: 'done' }, { runs: onceAtMost }),
      ...scene('done and kept', keeping, { runs: onceAtMost, mayDie: kinds.map(({ id }) => id) }),
      ...scene('retry', { outcome: 'retry', delayMs: 5, error: 'no' }, { runs: once }),
      ...scene('retry at once', { outcome: 'retry', delayMs: 0, error: 'no' }, { runs: once }),
      ...scene('snooze', { outcome: 'snooze', delayMs: 5 }, { runs: once }),
      ...scene('release', { outcome: 'release' }, { runs: once }),
      ...scene('dead', { outcome: 'dead', isFailure: true, error: 'no' }, { runs: onceAtMost, mayDie: kinds.map(({ id }) => id) }),
      ...scene('cancelled', { outcome: 'cancelled' }, { runs: onceAtMost }),
    ]
  },
)

const scenes: Scene[] = [
  ...tornGroups,
  ...tornHeld,
  ...tornLanes,
  ...[false, true].map(isSaidAgain => ({
    name: `enqueue${isSaidAgain ? ', said again' : ''}`,
    prepare: async () => {},
    act: (driver: QueueDriver) => driver.enqueue(queue, [...kinds, named('later', { delayMs: 5 })]),
    runs: isSaidAgain ? { ...once, later: [1, 1] as [number, number] } : { ...onceAtMost, later: [0, 1] as [number, number] },
    isSaidAgain,
  })),
  ...[false, true].map(isSaidAgain => ({
    name: `claim, with what is due${isSaidAgain ? ', said again' : ''}`,
    async prepare(driver: QueueDriver) {
      const held = await claimed(driver)
      await driver.exchange(queue, { finish: finishAs(held, { outcome: 'retry', delayMs: 1, error: 'no' }) })
      await driver.enqueue(queue, [named('due', { delayMs: 1 }), named('waiting')])
      await Bun.sleep(5)
    },
    act: claiming,
    runs: { ...once, due: [1, 1] as [number, number], waiting: [1, 1] as [number, number] },
    isSaidAgain,
  })),
  {
    name: 'finish and claim in one',
    async prepare(driver) {
      const held = await claimed(driver)
      await driver.enqueue(queue, [named('next')])
      return held
    },
    act: (driver, held: Held) =>
      driver.exchange(queue, {
        finish: finishAs(held, { outcome: 'retry', delayMs: 0, error: 'no' }),
        claim: { worker: 'w', nonce, count: 3, leaseMs: 1 },
      }),
    runs: { ...once, next: [1, 1] },
  },
  { name: 'report', prepare: claimed, act: report, runs: once },
  ...['done ones', 'dead ones'].map(what => ({
    name: `reap of ${what} whose time is over`,
    async prepare(driver: QueueDriver) {
      if (what === 'dead ones') await dead(driver)
      else await finishing({ ...keeping, keepForMs: 1 })(driver, await claimed(driver))
      await Bun.sleep(3)
    },
    act: (driver: QueueDriver) => driver.reap(queue, { ...brief, keepDeadMs: 0 }),
    runs: Object.fromEntries(kinds.map(({ id }) => [id, [0, 0] as [number, number]])),
    mayDie: kinds.map(({ id }) => id),
  })),
  {
    name: 'remove of one that is kept',
    prepare: kept,
    act: driver => driver.remove(queue, ['first']),
    runs: Object.fromEntries(kinds.map(({ id }) => [id, [0, 0] as [number, number]])),
    mayDie: kinds.map(({ id }) => id),
  },
  { name: 'beat', prepare: claimed, act: (driver, held: Held) => driver.beat(queue, 1, finishAs(held, {})), runs: once },
  {
    name: 'reap of the first crash',
    prepare: async driver => {
      await claimed(driver)
      await Bun.sleep(3)
    },
    act: driver => driver.reap(queue, brief),
    runs: once,
  },
  {
    name: 'reap of the last crash',
    prepare: async driver => {
      await claimed(driver)
      await Bun.sleep(3)
    },
    act: driver => driver.reap(queue, { leaseMs: 1, crashesMax: 0 }),
    runs: onceAtMost,
    mayDie: kinds.map(({ id }) => id),
  },
  {
    name: 'reap of what was cancelled',
    async prepare(driver) {
      await claimed(driver)
      for (const { id } of kinds) await driver.cancel(queue, [id])
      await Bun.sleep(3)
    },
    act: driver => driver.reap(queue, brief),
    runs: onceAtMost,
  },
  {
    name: 'cancel of a waiting task',
    prepare: driver => driver.enqueue(queue, kinds),
    act: driver => driver.cancel(queue, ['first']),
    runs: { ...once, first: [0, 1] },
  },
  {
    name: 'cancel of a scheduled task',
    prepare: driver => driver.enqueue(queue, [...kinds, named('later', { delayMs: 5, isIdKept: true })]),
    act: driver => driver.cancel(queue, ['later']),
    runs: { ...once, later: [0, 1] },
  },
  { name: 'cancel of an active task', prepare: claimed, act: driver => driver.cancel(queue, ['first']), runs: { ...once, first: [0, 1] } },
  {
    name: 'burial of what waits and of what is scheduled',
    prepare: driver => driver.enqueue(queue, [...kinds, named('later', { delayMs: 5 })]),
    act: driver =>
      driver.bury(
        queue,
        ['first', 'later'].map(id => ({ id, error: 'no' })),
      ),
    runs: { ...once, first: [0, 1], later: [0, 1] },
    mayDie: ['first', 'later'],
  },
  {
    name: 'remove of a dead letter',
    prepare: dead,
    act: driver => driver.remove(queue, ['first']),
    runs: Object.fromEntries(kinds.map(({ id }) => [id, [0, 0] as [number, number]])),
    mayDie: kinds.map(({ id }) => id),
  },
  {
    name: 'retry of a dead letter',
    prepare: dead,
    act: driver => driver.retry(queue, ['first']),
    runs: { ...Object.fromEntries(kinds.map(({ id }) => [id, [0, 0] as [number, number]])), first: [0, 1] },
    mayDie: kinds.map(({ id }) => id),
  },
  ...endings,
]

/** What a call writes, in order, as its script does. */
async function writesOf({ raw }: RedisQueueSubject, act: () => Promise<unknown>): Promise<string[][]> {
  const monitor = await raw.monitor()
  const seen: string[][] = []
  monitor.on('monitor', (_: string, words: string[], source: string) => source === 'lua' && seen.push(words))
  await act()
  const mark = crypto.randomUUID()
  const ended = new Promise<void>(resolve => monitor.on('monitor', (_: string, words: string[]) => words[1] === mark && resolve()))
  await raw.echo(mark)
  await ended
  monitor.disconnect()
  const names = [...new Set(seen.map(([name = '']) => name.toLowerCase()))]
  const infos = (await raw.command('INFO', ...names)) as [string, number, string[]][]
  const writing = new Set(infos.filter(([, , flags]) => flags.includes('write')).map(([name]) => name))
  // The monitor writes the ends of lines so.
  const unescaped = (words: string[]) => words.map(word => word.replaceAll('\\n', '\n'))
  return seen.filter(([name = '']) => writing.has(name.toLowerCase())).map(unescaped)
}

async function snapshotOf({ raw }: RedisQueueSubject): Promise<[string, Buffer, number][]> {
  const keys = await raw.keys('*')
  const dumps = await Promise.all(
    keys.map(async name => [name, await raw.dumpBuffer(name), Math.max(0, await raw.pttl(name))] as [string, Buffer | null, number]),
  )
  // What has expired meanwhile is gone.
  return dumps.filter((each): each is [string, Buffer, number] => each[1] !== null)
}

async function restore({ raw }: RedisQueueSubject, snapshot: readonly [string, Buffer, number][]): Promise<void> {
  await raw.flushdb()
  for (const [name, dump, ttlMs] of snapshot) await raw.restore(name, ttlMs, dump)
}

/** Of a group its lines, each once, as whoever reads it does. */
const namesOf = ({ id, envelope }: Claimed) => (envelope.startsWith('line-') ? [...new Set(envelope.split('\n'))] : [id])

/** Works until nothing is left to work on. @returns how often each was worked on */
async function workOff(driver: QueueDriver, limits?: ClaimLimits): Promise<Record<string, number>> {
  const runs: Record<string, number> = {}
  await until(async () => {
    await driver.reap(queue, brief)
    const held = await claim(driver, queue, 100, leaseMs, limits)
    for (const id of held.tasks.flatMap(namesOf)) runs[id] = (runs[id] ?? 0) + 1
    await driver.exchange(queue, { finish: finishAs(held, { outcome: 'done' }) })
    const { scheduled, active } = await driver.stats(queue)
    // What is counted of lanes is not to be trusted before a check.
    return scheduled + active === 0 && (await driver.list(queue, 'waiting', 1)).tasks.length === 0
  })
  return runs
}

describeOnRedis('a script of which only a part was kept', () => {
  for (const { name, prepare, act, runs, mayDie = [], isSaidAgain, limits } of scenes) {
    test(`loses and doubles nothing, and leaves nothing behind: ${name}`, async () => {
      await using server = await startOwn('redis')
      await using subject = await openSubject(server.url, { prefix: 'bingo' })
      const { driver, raw } = subject
      const scheduled = `bingo:{${queue}}:sch`
      const prepared = (await prepare(driver)) as never
      const before = await snapshotOf(subject)
      const writes = await writesOf(subject, () => act(driver, prepared))
      expect(writes.length).toBeGreaterThan(0)
      for (let kept = 0; kept <= writes.length; kept++) {
        const where = `${kept} of ${writes.length}, up to ${writes[kept - 1]?.slice(0, 4).join(' ')}`
        await restore(subject, before)
        for (const [command = '', ...args] of writes.slice(0, kept)) await raw.call(command, ...args)
        if (isSaidAgain) await act(driver, prepared)
        for (const id of await raw.zrange(scheduled, Date.now() + 60_000, '+inf', 'BYSCORE')) await raw.zadd(scheduled, 'XX', 1, id)
        const worked = await workOff(driver, limits)
        const held = (await driver.list(queue, 'held', 100)).tasks.map(({ id }) => id)
        if (isSaidAgain) expect([where, held]).toEqual([where, []])
        // What those wait for is gone, or has not come.
        for (const id of held) await driver.cancel(queue, [id])
        const doneNow = (await driver.list(queue, 'done', 100)).tasks
        for (const task of doneNow.filter(({ envelope }) => envelope !== undefined))
          expect([where, task.id, task.result]).toEqual([where, task.id, result])
        const endedNow = [...(await driver.list(queue, 'dead', 100)).tasks, ...doneNow].map(({ id }) => id)
        for (const [id, [least, most]] of Object.entries(runs)) {
          const times = worked[id] ?? 0
          expect([where, id, times >= least && times <= most, times]).toEqual([where, id, true, times])
          // What is not worked on is a dead letter or kept, where it may be, and never both.
          if (endedNow.includes(id)) expect([where, id, times, mayDie.includes(id)]).toEqual([where, id, 0, true])
          else if (times === 0) expect([where, id, await driver.show(queue, id)]).toEqual([where, id, undefined])
        }
        expect(Object.keys(worked).filter(id => !(id in runs))).toEqual([])
        await checkAll(driver, queue, true)
        expect([where, await checkAll(driver, queue)]).toEqual([where, []])
        // Lanes that were emptied are forgotten by the next claim.
        expect((await claim(driver, queue)).tasks).toEqual([])
        const left = (await subject.keysOf(queue)).filter(
          each => !/^(m|w|hist|tat|dead|done|b:.*|d:.*|cl:.*|g:.*)$/.test(each) && !endedNow.includes(each.slice(2)),
        )
        expect([where, left]).toEqual([where, []])
      }
    }, 60_000)
  }
})
