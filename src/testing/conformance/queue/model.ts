import { type Clock, toTimestamp } from '@/core/clock'
import { queueErrors } from '@/core/queue/queue'
import {
  type Claim,
  type Claimed,
  type EnqueueReply,
  errorsMax,
  type Exchange,
  type Finish,
  type FinishStatus,
  type Held,
  keptError,
  keptIdMs,
  type NewTask,
  operateMax,
  poisonError,
  type QueueDriver,
  type ReapRule,
  reapMax,
} from '@/infra/queue/driver'
import { drop, type Mark, modelRelations } from './model-held'
import { keep, over, peek, report, tellEnd, watchEnds } from './model-kept'
import {
  beat,
  claimedOf,
  inOrder,
  isHolder,
  isSame,
  leaveLine,
  type ModelQueue,
  type ModelTask,
  newQueue,
  nextDue,
  page,
  statsOf,
  storedOf,
  wake,
} from './model-state'

/**
 * What a queue is, said as plainly as it can be: maps and lists in memory, one call after another, and a clock that is given. It is
 * what the drivers are compared with, so it is written to be read, not to be fast.
 */
export interface ModelStore {
  /** A client of the store, as a process has one. */
  open(): QueueDriver
  /** What there is of a queue besides counters and remembered ids: tasks and unique keys. */
  leftovers(queue: string): string[]
}

const crashPauseMs = (crashes: number) => 2 ** crashes * 1000

export function modelStore(clock: Clock): ModelStore {
  const queues = new Map<string, ModelQueue>()
  const relations = modelRelations(clock, { release: start, endCancelled })

  function queueOf(name: string): ModelQueue {
    const found = queues.get(name) ?? newQueue()
    queues.set(name, found)
    return found
  }

  function enqueue(queue: ModelQueue, tasks: readonly NewTask[]): EnqueueReply[] {
    return tasks.map(task => enqueueOne(queue, task))
  }

  function enqueueOne(queue: ModelQueue, said: NewTask): EnqueueReply {
    const { id, isIdKept, priority, delayMs, unique, follower, after, envelope } = said
    const nowMs = clock.nowMs()
    if (queue.tasks.has(id) || (queue.kept.get(id) ?? 0) > nowMs) return { id, status: 'duplicate' }
    const other = takeKey(queue, id, unique)
    if (other !== undefined) return { id: other, status: 'unique' }
    const task: ModelTask = {
      ...{ id, isIdKept, priority, delayMs, envelope, unique, follower, after, state: 'waiting', atMs: nowMs },
      ...{ attempt: 0, failures: 0, crashes: 0, isCancelled: false, worker: '', nonce: '', ended: undefined, errors: [] },
    }
    queue.tasks.set(id, task)
    queue.total.enqueued++
    if (after) relations.arrived(queue, task, after)
    else start(queue, task)
    return { id, status: 'enqueued' }
  }

  function start(queue: ModelQueue, task: ModelTask) {
    if (task.delayMs > 0) schedule(task, task.delayMs)
    else wait(queue, task, 'tail')
  }

  /** @returns the id of the task that has the key, when that is another */
  function takeKey(queue: ModelQueue, id: string, unique: NewTask['unique']): string | undefined {
    const other = unique && queue.keys.get(unique.key)
    if (other && other.untilMs > clock.nowMs()) return other.id
    if (unique) queue.keys.set(unique.key, { id, untilMs: clock.nowMs() + unique.forMs })
    return undefined
  }

  function exchange(queue: ModelQueue, { finish = [], claim }: Exchange) {
    const finished = finish.map(each => finishOne(queue, each))
    const claimed = claim ? take(queue, claim) : []
    const nextDueMs = nextDue(queue, clock.nowMs())
    return { finished, claimed, ...(nextDueMs === undefined ? {} : { nextDueMs }) }
  }

  function finishOne(queue: ModelQueue, said: Finish): FinishStatus {
    const task = queue.tasks.get(said.id)
    if (!task) return 'gone'
    if (!isHolder(task, said)) return isSame(task, said) ? 'ok' : 'stale'
    task.ended = said
    if (said.outcome === 'done') {
      queue.total.done++
      const how: Mark = { outcome: 'done', ...(said.result !== undefined && { result: said.result }) }
      if (keep(queue, task, said, clock.nowMs())) {
        forget(queue, task)
        relations.tell(queue, task, how)
      } else end(queue, task, how)
      return 'ok'
    }
    if (task.isCancelled || said.outcome === 'cancelled') {
      endCancelled(queue, task)
      return 'ok'
    }
    if (said.outcome === 'release') wait(queue, task, 'head')
    if (said.outcome === 'snooze' || said.outcome === 'retry') {
      if (said.delayMs > 0) schedule(task, said.delayMs)
      else wait(queue, task, 'tail')
    }
    if (said.outcome === 'retry' || (said.outcome === 'dead' && said.isFailure)) {
      task.failures++
      queue.total.failed++
    }
    if (said.outcome === 'retry' || said.outcome === 'dead') keepError(task, said.error)
    if (said.outcome === 'dead') bury(queue, task)
    return 'ok'
  }

  function take(queue: ModelQueue, { nonce, count, worker, leaseMs }: Claim): Claimed[] {
    const before = queue.claims.get(nonce)
    if (before) return before.flatMap(id => claimedOf(queue.tasks.get(id), nonce))
    const nowMs = clock.nowMs()
    for (const task of inOrder(queue, 'scheduled')) if (task.atMs <= nowMs) wait(queue, task, 'tail', task.atMs)
    const taken = inOrder(queue, 'waiting').slice(0, count)
    for (const task of taken) {
      leaveLine(queue, task)
      Object.assign(task, { state: 'active', atMs: nowMs + leaseMs, attempt: task.attempt + 1, worker, nonce })
    }
    if (taken.length > 0)
      queue.claims.set(
        nonce,
        taken.map(({ id }) => id),
      )
    return taken.flatMap(task => claimedOf(task, nonce))
  }

  function reap(queue: ModelQueue, { crashesMax, keepDeadMs }: ReapRule) {
    const nowMs = clock.nowMs()
    const { done, dead } = over(queue, keepDeadMs, nowMs)
    for (const task of done) drop(queue, task)
    for (const task of dead) end(queue, task, { outcome: 'cancelled' })
    const late = inOrder(queue, 'active').filter(({ atMs }) => atMs <= nowMs)
    const again: string[] = []
    const poisoned: string[] = []
    for (const task of late.slice(0, reapMax)) {
      if (task.isCancelled) {
        endCancelled(queue, task)
        continue
      }
      task.crashes++
      queue.total.crashed++
      if (task.crashes > crashesMax) {
        keepError(task, poisonError(task.crashes))
        bury(queue, task)
        poisoned.push(task.id)
      } else {
        if (task.crashes === 1) wait(queue, task, 'head')
        else schedule(task, crashPauseMs(task.crashes))
        again.push(task.id)
      }
    }
    return {
      ...{ again, poisoned, more: late.length > reapMax || done.length === reapMax || dead.length === reapMax },
      ...(done.length + dead.length > 0 && { expired: { done: done.length, dead: dead.length } }),
    }
  }

  function cancel(queue: ModelQueue, id: string) {
    const task = queue.tasks.get(id)
    if (!task) return 'absent'
    if (task.state === 'dead' || task.state === 'done') return task.state
    if (task.state !== 'active') {
      endCancelled(queue, task)
      return 'cancelled'
    }
    task.isCancelled = true
    for (const listener of queue.listeners) listener.cancelled(id)
    return 'cancelling'
  }

  function retry(queue: ModelQueue, id: string) {
    const task = queue.tasks.get(id)
    if (!task) return 'absent'
    if (task.state !== 'dead') return 'alive'
    Object.assign(task, { failures: 0, crashes: 0 })
    takeKey(queue, id, task.unique)
    wait(queue, task, 'tail')
    return 'retried'
  }

  function remove(queue: ModelQueue, id: string) {
    const task = queue.tasks.get(id)
    if (!task) return 'absent'
    if (task.state === 'active') return 'active'
    // One that is done was remembered when it ended.
    if (task.state === 'done') drop(queue, task)
    else end(queue, task, { outcome: 'cancelled' })
    return 'removed'
  }

  function wait(queue: ModelQueue, task: ModelTask, place: 'head' | 'tail', sinceMs = clock.nowMs()) {
    const line = queue.lines[task.priority] as string[]
    if (place === 'head') line.unshift(task.id)
    else line.push(task.id)
    Object.assign(task, { state: 'waiting', atMs: sinceMs })
    wake(queue)
  }

  function schedule(task: ModelTask, delayMs: number) {
    Object.assign(task, { state: 'scheduled', atMs: clock.nowMs() + delayMs })
  }

  function keepError(task: ModelTask, message: string) {
    const error = { at: toTimestamp(clock.nowMs()), attempt: task.attempt, message: keptError(message) }
    task.errors = [...task.errors, error].slice(-errorsMax)
  }

  /** It stays, but it lives no more: its id is remembered from now on, its unique key is free. */
  function bury(queue: ModelQueue, task: ModelTask) {
    Object.assign(task, { state: 'dead', atMs: clock.nowMs() })
    queue.total.dead++
    forget(queue, task)
    tellEnd(queue, task)
    relations.tell(queue, task, { outcome: 'dead' })
  }

  function endCancelled(queue: ModelQueue, task: ModelTask) {
    queue.total.cancelled++
    end(queue, task, { outcome: 'cancelled' })
  }

  function end(queue: ModelQueue, task: ModelTask, how: Mark) {
    leaveLine(queue, task)
    drop(queue, task)
    forget(queue, task)
    relations.tell(queue, task, how)
  }

  function forget(queue: ModelQueue, { id, isIdKept, unique }: ModelTask) {
    if (isIdKept) queue.kept.set(id, clock.nowMs() + keptIdMs)
    if (unique && queue.keys.get(unique.key)?.id === id) queue.keys.delete(unique.key)
  }

  function open(): QueueDriver {
    let isClosed = false
    const mine: (() => void)[] = []
    const on = async <T>(name: string, work: (queue: ModelQueue) => T): Promise<T> => {
      if (isClosed) throw queueErrors.QueueUnavailable()
      return work(queueOf(name))
    }
    const onEach = <T>(name: string, ids: readonly string[], work: (queue: ModelQueue, id: string) => T): Promise<T[]> =>
      on(name, queue => {
        if (ids.length > operateMax) throw new Error(`at most ${operateMax} at a time, not ${ids.length}`)
        return ids.map(id => work(queue, id))
      })
    return {
      async enqueue(name, tasks, { tx } = {}) {
        if (tx) throw new Error('the model is in no database')
        return on(name, queue => enqueue(queue, tasks))
      },
      exchange: (name, said) => on(name, queue => exchange(queue, said)),
      beat: (name, leaseMs, held) => on(name, queue => beat(queue, leaseMs, held, clock.nowMs())),
      reap: (name, rule) => on(name, queue => reap(queue, rule)),
      cancel: (name, ids) => onEach(name, ids, cancel),
      retry: (name, ids) => onEach(name, ids, retry),
      remove: (name, ids) => onEach(name, ids, remove),
      show: (name, id) => on(name, queue => storedOf(queue, queue.tasks.get(id))),
      list: (name, state, count, cursor = '0') => on(name, queue => page(queue, state, count, Number(cursor))),
      stats: name => on(name, queue => statsOf(queue, clock.nowMs())),
      fsck: name => on(name, () => ({ findings: [] })),
      report: (name, reports) => on(name, queue => report(queue, reports)),
      peek: (name, ids) => on(name, queue => peek(queue, ids)),
      before: (name, id) => on(name, queue => relations.before(queue, id)),
      watchEnds(name, listener) {
        const end = watchEnds(queueOf(name), listener)
        mine.push(end)
        return end
      },
      pause: async () => notYet(),
      resume: async () => notYet(),
      watch(name, listener) {
        const { listeners } = queueOf(name)
        listeners.add(listener)
        mine.push(() => listeners.delete(listener))
        return () => listeners.delete(listener)
      },
      ping: () => on('', () => {}),
      async close() {
        isClosed = true
        for (const end of mine) end()
      },
    }
  }

  return { open, leftovers: name => [...queueOf(name).tasks.keys(), ...queueOf(name).keys.keys()] }
}

const notYet = (): never => {
  throw new Error('not built yet')
}
