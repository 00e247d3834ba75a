import { expect } from 'bun:test'
import type { NewTask } from '@/infra/queue/driver'
import { isFull } from '../scene'
import { onEachPlace } from './places'
import { eventually, openQueueScene, type QueueScene } from './scene'

/** What becomes of tasks that wait for others when the workers of those others die. */
const settleLimitMs = 60_000
const rounds = isFull ? 20 : 4
const storm = isFull ? { kills: 30, batches: 40, chains: 40 } : { kills: 5, batches: 6, chains: 6 }
const killEveryMs = 350
const batchSize = 30
const chainLength = 5

/** One that waits for others, and those others. */
interface Waiting {
  last: NewTask
  members: NewTask[]
}

function batch(scene: QueueScene, size: number, ms: (n: number) => number): Waiting {
  const last = scene.newTask('note', { n: size, ms: 5 }, { after: { count: size, isDoneNeeded: false } })
  const follower = { id: last.id, wantsResult: true }
  const member = (n: number) => (n === 7 ? scene.newTask('quit', {}, { follower }) : scene.newTask('note', { n, ms: ms(n) }, { follower }))
  return { last, members: Array.from({ length: size }, (_, n) => member(n)) }
}

function chain(scene: QueueScene, length: number): Waiting[] {
  const after = { count: 1, isDoneNeeded: true }
  const tasks = Array.from({ length }, (_, n) => scene.newTask('note', { n, ms: 20 }, n > 0 ? { after } : {}))
  for (const [i, task] of tasks.entries()) {
    const next = tasks[i + 1]
    if (next) task.follower = { id: next.id, wantsResult: false }
  }
  return tasks.slice(1).map((last, i) => ({ last, members: [tasks[i] as NewTask] }))
}

/** Each has started after all that it waits for had ended, and again only where its worker died. @returns how many were started again */
function auditWaiting(scene: QueueScene, all: readonly Waiting[]): number {
  const entries = scene.ledger()
  const firstOf = (id: string, step: string) => entries.findIndex(entry => entry.id === id && entry.step === step)
  let again = 0
  for (const { last, members } of all) {
    const beganAt = firstOf(last.id, 'begin')
    const begun = entries.filter(({ id, step }) => id === last.id && step === 'begin')
    expect([last.id, begun.length > 0]).toEqual([last.id, true])
    for (const { id } of members) {
      const endedAt = firstOf(id, 'end')
      expect([id, endedAt >= 0 && endedAt < beganAt]).toEqual([id, true])
    }
    for (const { pid } of begun.slice(0, -1)) expect([last.id, scene.killed.has(pid)]).toEqual([last.id, true])
    again += begun.length - 1
  }
  return again
}

async function isOver(scene: QueueScene): Promise<void> {
  await scene.settled(settleLimitMs)
  await eventually(
    async () => (await scene.driver.stats(scene.queue)).held === 0,
    settleLimitMs,
    () => 'tasks are held still',
  )
  await scene.settled(settleLimitMs)
}

onEachPlace(
  'A task that waits for others is started once all have ended, though the worker of the last one dies as it ends',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs: 1000 })
    const all: Waiting[] = []
    await scene.work()
    for (let i = 0; i < rounds; i++) {
      const waiting = batch(scene, 3, n => (n === 2 ? 100 : 0))
      all.push(waiting)
      await scene.driver.enqueue(scene.queue, [waiting.last, ...waiting.members])
      const slow = waiting.members.at(-1) as NewTask
      await scene.noted(({ id, step }) => id === slow.id && step === (i % 2 === 0 ? 'end' : 'begin'))
      const [doomed] = scene.workers
      await Promise.all([doomed?.kill(), scene.work()])
    }
    await isOver(scene)
    const again = auditWaiting(scene, all)
    console.log(`on ${name}: ${rounds} workers killed as the last of three ended, ${again} tasks that waited for them run again`)
    expect(await scene.driver.stats(scene.queue)).toMatchObject({ dead: 0, total: { enqueued: 4 * rounds, done: 4 * rounds } })
    expect(await place.leftovers(scene.queue)).toEqual([])
  },
  90_000,
)

onEachPlace(
  'Chains and batches end though workers are killed all the time',
  async (place, name) => {
    await using scene = openQueueScene(place, { leaseMs: 1000 })
    const batches = Array.from({ length: storm.batches }, () => batch(scene, batchSize, n => (n * 13) % 90))
    const chains = Array.from({ length: storm.chains }, () => chain(scene, chainLength))
    await Promise.all([scene.work({ concurrency: 4 }), scene.work({ concurrency: 4 })])
    for (const { last, members } of batches) await scene.driver.enqueue(scene.queue, [last, ...members])
    for (const links of chains) {
      const first = (links[0] as Waiting).members
      await scene.driver.enqueue(scene.queue, [...links.map(({ last }) => last).toReversed(), ...first])
    }
    for (let i = 0; i < storm.kills; i++) {
      await Bun.sleep(killEveryMs)
      const [oldest] = scene.workers
      await Promise.all([oldest?.kill(), scene.work({ concurrency: 4 })])
    }
    await isOver(scene)
    const again = auditWaiting(scene, [...batches, ...chains.flat()])
    const { dead, held, total } = await scene.driver.stats(scene.queue)
    console.log(
      `on ${name}: ${total.enqueued} tasks of chains and batches, ${scene.killed.size} workers killed: ${again} that waited run again`,
    )
    // One of each batch gives up.
    expect({ dead, held, ended: total.done + total.dead }).toEqual({ dead: storm.batches, held: 0, ended: total.enqueued })
    const letters = (await scene.driver.list(scene.queue, 'dead', 100)).tasks.map(({ id }) => id)
    for (const id of letters) await scene.driver.remove(scene.queue, [id])
    expect((await place.leftovers(scene.queue)).filter(key => !key.startsWith('b:'))).toEqual([])
  },
  120_000,
)
