import { afterAll, beforeAll, describe } from 'bun:test'
import type { TaskState } from '@/core/queue/admin'
import {
  type Claim,
  type Claimed,
  type EnqueueReply,
  type Finish,
  type FinishStatus,
  type Held,
  keptIdMs,
  type NewTask,
  type QueueDriver,
  type StoredTask,
} from '@/infra/queue/driver'
import { modelStore } from './model'

/** A driver as tests use it: two processes of one store, a way to let time pass, and a look behind it. */
export interface QueueStore {
  /** As one process has it. */
  driver: QueueDriver
  /** As another process has it. */
  rival: QueueDriver
  /** As a third has it; its opener closes it. */
  open(): Promise<QueueDriver>
  /** By the clock of the store. */
  nowMs(): Promise<number>
  /** Lets at least so much of the store's time pass. */
  advance(ms: number): Promise<void>
  /** Whether that takes as long, and others may use some of it. */
  isTimeReal: boolean
  /** What is kept of a queue besides its counters and ids that are remembered. Empty when all its tasks have ended, and none is dead. */
  leftovers(queue: string): Promise<string[]>
  /** Lets the 24 hours end for which an id is remembered. @throws Error when it was to be remembered for longer or shorter */
  passKeptTime(queue: string, id: string): Promise<void>
  close(): Promise<void>
}

export type QueueStoreName = 'model'

const openers: Record<QueueStoreName, () => Promise<QueueStore>> = { model: openModel }
export const queueStoreNames = Object.keys(openers) as QueueStoreName[]
export const openQueueStore = (name: QueueStoreName): Promise<QueueStore> => openers[name]()

/** Runs a suite once for each driver. */
export function onEachQueueStore(title: string, suite: (newQueue: () => TestQueue) => void): void {
  for (const name of queueStoreNames) {
    describe(`${title} on ${name}`, () => {
      let store: QueueStore
      beforeAll(async () => {
        store = await openQueueStore(name)
      })
      afterAll(() => store.close())
      suite(() => testQueue(store))
    })
  }
}

async function openModel(): Promise<QueueStore> {
  let nowMs = Date.parse('2026-01-31T09:05:00.000Z')
  const { open, leftovers } = modelStore({ nowMs: () => nowMs })
  return {
    driver: open(),
    rival: open(),
    open: async () => open(),
    nowMs: async () => nowMs,
    advance: async ms => {
      nowMs += ms
    },
    isTimeReal: false,
    leftovers: async queue => leftovers(queue),
    passKeptTime: async () => {
      nowMs += keptIdMs
    },
    close: async () => {},
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
  all(): Promise<Record<TaskState, string[]>>
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
    all: async () => ({
      waiting: await ids('waiting'),
      scheduled: await ids('scheduled'),
      active: await ids('active'),
      dead: await ids('dead'),
    }),
    async trust() {
      await reap()
      await store.advance(5)
      await reap()
    },
  }
}
