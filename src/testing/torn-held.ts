import type { Claimed, NewTask, QueueDriver } from '@/infra/queue/driver'
import { claim, finishAs, newTask } from './redis-queue'
import type { TornScene } from './torn-scene'

const queue = 'q'
type Held = { tasks: Claimed[]; nonce: string }
type Times = [least: number, most: number]

const last = (said: Partial<NewTask> = {}): NewTask => newTask({ id: 'last', after: { count: 2, isDoneNeeded: false }, ...said })
const members = ['one', 'two'].map((id, i) => newTask({ id, isIdKept: i === 0, follower: { id: 'last', wantsResult: true } }))
const chainOf = (ids: readonly string[]) =>
  ids.map((id, i) => {
    const next = ids[i + 1]
    return newTask({
      ...{ id, isIdKept: i === 1 },
      ...(i > 0 && { after: { count: 1, isDoneNeeded: true } }),
      ...(next !== undefined && { follower: { id: next, wantsResult: true } }),
    })
  })
const times = (ids: readonly string[], each: Times) => Object.fromEntries(ids.map(id => [id, each]))
const memberIds = ['one', 'two']
const ids = ['a', 'b', 'c']
/** So many that their keys are removed in several calls. */
const many = Array.from({ length: 40 }, (_, i) => `a${String(i).padStart(2, '0')}`)

const claimedMembers = async (driver: QueueDriver, said?: Partial<NewTask>) => {
  await driver.enqueue(queue, [last(said), ...members])
  return claim(driver, queue, 10, 1)
}
const finishing = (outcome: object) => (driver: QueueDriver, held: Held) => driver.exchange(queue, { finish: finishAs(held, outcome) })
const done = { outcome: 'done', result: '"it"' }
const dead = { outcome: 'dead', isFailure: true, error: 'no' }
const brief = { leaseMs: 1, crashesMax: 0 }

/** Tasks that wait for others: who waits starts once, though of the call that ended the others only a part was kept. */
export const tornHeld: TornScene[] = [
  ...[false, true].flatMap(isSaidAgain => {
    const name = (text: string) => `${text}${isSaidAgain ? ', said again' : ''}`
    const once = { ...times(memberIds, [0, 1]), last: [1, 1] as Times }
    return [
      { name: name('the ends of all that one waits for'), prepare: claimedMembers, act: finishing(done), runs: once, isSaidAgain },
      {
        name: name('the ends of all that one waits for, with a delay'),
        prepare: (driver: QueueDriver) => claimedMembers(driver, { delayMs: 3 }),
        act: finishing(done),
        runs: once,
        isSaidAgain,
      },
      {
        ...{ name: name('ends without success'), prepare: claimedMembers, act: finishing(dead), runs: once, isSaidAgain },
        mayDie: memberIds,
      },
      {
        name: name('the coming of one when all have ended'),
        async prepare(driver: QueueDriver) {
          await driver.enqueue(queue, members)
          await finishing(done)(driver, await claim(driver, queue, 10, 1))
        },
        act: (driver: QueueDriver) => driver.enqueue(queue, [last()]),
        runs: { last: [isSaidAgain ? 1 : 0, 1] as Times },
        isSaidAgain,
      },
      {
        name: name('the coming of one when one that it needs was cancelled'),
        async prepare(driver: QueueDriver) {
          await driver.enqueue(queue, members)
          await finishing({ outcome: 'cancelled' })(driver, await claim(driver, queue, 10, 1))
        },
        act: (driver: QueueDriver) => driver.enqueue(queue, [last({ after: { count: 2, isDoneNeeded: true } })]),
        runs: { last: [0, 0] as Times },
        isSaidAgain,
      },
      {
        name: name('cancel of the first of a chain'),
        prepare: (driver: QueueDriver) => driver.enqueue(queue, chainOf(many)),
        act: (driver: QueueDriver) => driver.cancel(queue, ['a00']),
        runs: times(many, [0, isSaidAgain ? 0 : 1]),
        isSaidAgain,
      },
      {
        name: name('remove of a dead letter of a chain'),
        async prepare(driver: QueueDriver) {
          await driver.enqueue(queue, chainOf(ids))
          await finishing(dead)(driver, await claim(driver, queue, 10, 1))
        },
        act: (driver: QueueDriver) => driver.remove(queue, ['a']),
        runs: times(ids, [0, 0]),
        mayDie: isSaidAgain ? [] : ['a'],
        isSaidAgain,
      },
    ]
  }),
  {
    name: 'the last crash of all that one waits for',
    async prepare(driver) {
      await claimedMembers(driver)
      await Bun.sleep(3)
    },
    act: driver => driver.reap(queue, brief),
    runs: { ...times(memberIds, [0, 1]), last: [1, 1] },
    mayDie: memberIds,
  },
  {
    name: 'enqueue of a chain, said again',
    prepare: async () => {},
    act: driver => driver.enqueue(queue, chainOf(ids).toReversed()),
    runs: times(ids, [1, 1]),
    isSaidAgain: true,
  },
]
