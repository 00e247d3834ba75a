import { afterAll, beforeAll } from 'bun:test'
import type { FsckFinding, TaskState } from '@/core/queue/admin'
import type { Claim, Claimed, EnqueueReply, Finish, FinishStatus, Held, NewTask, QueueDriver, StoredTask } from '@/infra/queue/driver'
import { describeOn } from '../../backings'
import { sharedServer } from '../../servers'
import { openQueueStore, type QueueStore, type QueueStoreName, queueStoreNames, serverOf } from './stores'

/** Runs a suite once for each store. Where its server is missing the suite is skipped loudly; under `CI=true` that is an error. */
export function onEachQueueStore(title: string, suite: (store: () => QueueStore, name: QueueStoreName) => void): void {
  for (const name of queueStoreNames) {
    const server = serverOf(name)
    describeOn(server, `${title} on ${name}`, () => {
      let store: QueueStore
      // A server takes longer to start than a suite may.
      if (server) beforeAll(() => sharedServer(server).then(() => {}), 60_000)
      beforeAll(async () => {
        store = await openQueueStore(name)
      })
      afterAll(() => store.close())
      suite(() => store, name)
    })
  }
}

/** One attempt, as its worker has it. */
export type Holding = Claimed & Held
export type HowItEnded = Finish extends infer One ? (One extends Finish ? Omit<One, keyof Held> : never) : never

/** A queue of one test alone, with words for what tests do most. */
export interface TestQueue {
  name: string
  store: QueueStore
  driver: QueueDriver
  rival: QueueDriver
  newTask(over?: Partial<NewTask>): NewTask
  enqueue(...over: Partial<NewTask>[]): Promise<EnqueueReply[]>
  claim(count?: number, over?: Partial<Claim>): Promise<Holding[]>
  /** The next in line. @throws Error when nothing waits */
  claimOne(over?: Partial<Claim>): Promise<Holding>
  finish(held: Held, how: HowItEnded): Promise<FinishStatus>
  ids(state: TaskState): Promise<string[]>
  show(id: string): Promise<StoredTask | undefined>
  /** Ids of its tasks, in whatever state. */
  all(): Promise<Record<'waiting' | 'scheduled' | 'active' | 'dead', string[]> & { held?: string[]; done?: string[] }>
  /** A reaper that has seen this store before trusts its clock. */
  trust(): Promise<void>
  reap(crashesMax?: number): Promise<{ again: string[]; poisoned: string[] }>
  /** Lets time pass until it is so. */
  until<T>(look: () => Promise<T | undefined | false>, limitMs?: number): Promise<T>
}

export const longMs = 3_600_000
/** What is long enough to be seen before it is over, and short enough to be waited for. */
export const shortMs = 300

let count = 0
const stepMs = 20
const fsckStepsMax = 1000

export const heldOf = ({ id, attempt, nonce }: Held): Held => ({ id, attempt, nonce })
export const newNonce = (): string => `nonce-${String(++count).padStart(10, '0')}`

export function testQueue(store: QueueStore): TestQueue {
  const name = `q${++count}-${crypto.randomUUID().slice(0, 8)}`
  const { driver, rival } = store
  const newTask = (over: Partial<NewTask> = {}): NewTask => {
    const id = `task-${String(++count).padStart(6, '0')}`
    return { id, isIdKept: false, priority: 5, delayMs: 0, envelope: JSON.stringify(['test.do', 1, { of: id }]), ...over }
  }
  const claim = async (most = 1, over: Partial<Claim> = {}): Promise<Holding[]> => {
    const said: Claim = { worker: 'host:1', nonce: newNonce(), count: most, leaseMs: longMs, ...over }
    const { claimed } = await driver.exchange(name, { claim: said })
    return claimed.map(task => ({ ...task, nonce: said.nonce }))
  }
  const ids = async (state: TaskState) => (await driver.list(name, state, 1000)).tasks.map(({ id }) => id)
  const until = async <T>(look: () => Promise<T | undefined | false>, limitMs = 5000): Promise<T> => {
    for (let passedMs = 0; passedMs < limitMs; passedMs += stepMs) {
      const seen = await look()
      if (seen !== undefined && seen !== false) return seen
      await store.advance(stepMs)
    }
    throw new Error(`it was not so within ${limitMs} ms`)
  }
  const reap = async (crashesMax = 3) => {
    const { again, poisoned } = await driver.reap(name, { leaseMs: 1, crashesMax })
    return { again, poisoned }
  }
  return {
    ...{ name, store, driver, rival, newTask, claim, ids, until, reap },
    enqueue: (...over) => driver.enqueue(name, over.map(newTask)),
    async claimOne(over) {
      const [first] = await claim(1, over)
      if (!first) throw new Error('nothing was claimed')
      return first
    },
    async finish(held, how) {
      const { finished } = await driver.exchange(name, { finish: [{ ...heldOf(held), ...how }] })
      return finished[0] as FinishStatus
    },
    show: id => driver.show(name, id),
    async all() {
      const done = await ids('done')
      return {
        ...{ waiting: await ids('waiting'), scheduled: await ids('scheduled'), active: await ids('active'), dead: await ids('dead') },
        ...(done.length > 0 && { done }),
      }
    },
    async trust() {
      await reap()
      await store.advance(5)
      await reap()
    },
  }
}

/** What a whole check finds. */
export async function findingsOf(driver: QueueDriver, queue: string, fix: boolean): Promise<Omit<FsckFinding, 'queue'>[]> {
  const all: Omit<FsckFinding, 'queue'>[] = []
  let cursor: string | undefined
  for (let steps = 0; steps < fsckStepsMax; steps++) {
    const step = await driver.fsck(queue, { fix, leaseMs: 1, ...(cursor === undefined ? {} : { cursor }) })
    all.push(...step.findings)
    if (step.cursor === undefined) return all
    cursor = step.cursor
  }
  throw new Error(`a check has no end after ${fsckStepsMax} steps`)
}
