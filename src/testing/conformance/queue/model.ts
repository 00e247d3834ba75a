import type { Clock } from '@/core/clock'
import { queueErrors } from '@/core/queue/queue'
import {
  type Claim,
  type Claimed,
  type EnqueueReply,
  type Exchange,
  type Finish,
  type FinishStatus,
  type Letter,
  type NewTask,
  operateMax,
  poisonError,
  type QueueDriver,
  type ReapRule,
  reapMax,
} from '@/infra/queue/driver'
import { collect } from './model-group'
import { drop, type Mark } from './model-held'
import { noteHistory, snapshots } from './model-history'
import { keep, over, peek, report, watchEnds } from './model-kept'
import { movesOf } from './model-moves'
import {
  beat,
  claimedOf,
  inOrder,
  isHolder,
  isSame,
  keepError,
  leaveLine,
  type ModelQueue,
  type ModelTask,
  newQueue,
  newTaskOf,
  page,
  statsOf,
  storedOf,
  wake,
} from './model-state'
import { mayStartAny, nextDue, takeTurns } from './model-turns'

/**
 * What a queue is, said as plainly as it can be: maps and lists in memory, one call after another, and a clock that is given. It is
 * what the drivers are compared with, so it is written to be read, not to be fast.
 */
export interface ModelStore {
  /** A client of the store, as a process has one. */
  open(): QueueDriver
  /** What there is of a queue besides counters and remembered ids: tasks and unique keys. */
  leftovers(queue: string): string[]
  /** What the next claim is to take, since a driver did. That claim throws when it may not. */
  follow(queue: string, ids: readonly string[]): void
}

const crashPauseMs = (crashes: number) => 2 ** crashes * 1000

export function modelStore(clock: Clock): ModelStore {
  const queues = new Map<string, ModelQueue>()
  const { relations, start, wait, schedule, bury, endCancelled, end, forget, holderOf, takeKey } = movesOf(clock)

  function queueOf(name: string): ModelQueue {
    const found = queues.get(name) ?? newQueue()
    queues.set(name, found)
    return found
  }

  function enqueue(queue: ModelQueue, tasks: readonly NewTask[], backlogMax = Number.POSITIVE_INFINITY): EnqueueReply[] {
    const backlog = [...queue.tasks.values()].filter(({ state }) => state === 'waiting' || state === 'scheduled' || state === 'held')
    const named = new Set<string>()
    return tasks.map(task => {
      // It is known though it was cancelled at once.
      if (named.has(task.id)) return { id: task.id, status: 'duplicate' }
      const reply = enqueueOne(queue, task, backlog.length >= backlogMax)
      if (reply.status === 'enqueued') named.add(task.id)
      return reply
    })
  }

  function enqueueOne(queue: ModelQueue, said: NewTask, isFull: boolean): EnqueueReply {
    const { id, unique, group } = said
    const nowMs = clock.nowMs()
    if (queue.tasks.has(id) || (queue.kept.get(id) ?? 0) > nowMs) return { id, status: 'duplicate' }
    const other = unique && !group ? holderOf(queue, unique.key) : undefined
    if (other !== undefined) return { id: other, status: 'unique' }
    if (isFull) return { id, status: 'full' }
    if (group) return collect(queue, said, group, { nowMs, add: task => add(queue, task), due: task => wait(queue, task, 'tail') })
    takeKey(queue, id, unique)
    add(queue, said)
    return { id, status: 'enqueued' }
  }

  function add(queue: ModelQueue, said: NewTask): ModelTask {
    const task = newTaskOf(said, clock.nowMs())
    queue.tasks.set(task.id, task)
    queue.total.enqueued++
    if (task.after) relations.arrived(queue, task, task.after)
    else start(queue, task)
    return task
  }

  function exchange(queue: ModelQueue, { finish = [], claim }: Exchange) {
    const finished = finish.map(each => finishOne(queue, each))
    // Who is held back by a limit may go on.
    if (finished.includes('ok')) wake(queue)
    const claimed = claim ? take(queue, claim) : []
    const nextDueMs = nextDue(queue, claim?.limits, clock.nowMs())
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
    if (said.outcome === 'retry' || said.outcome === 'dead') keepError(task, said.error, clock.nowMs())
    if (said.outcome === 'dead') bury(queue, task)
    return 'ok'
  }

  function take(queue: ModelQueue, claim: Claim): Claimed[] {
    const { nonce } = claim
    const { given } = queue
    queue.given = undefined
    const before = queue.claims.get(nonce)
    if (before) return before.flatMap(id => claimedOf(queue.tasks.get(id), nonce))
    const nowMs = clock.nowMs()
    if (mayStartAny(queue, claim.limits, nowMs))
      for (const task of inOrder(queue, 'scheduled')) if (task.atMs <= nowMs) wait(queue, task, 'tail', task.atMs)
    const taken = takeTurns(queue, claim, nowMs, given)
    if (taken.length > 0)
      queue.claims.set(
        nonce,
        taken.map(({ id }) => id),
      )
    return taken.flatMap(task => claimedOf(task, nonce))
  }

  function reap(queue: ModelQueue, { crashesMax, keepDeadMs, seen }: ReapRule) {
    const nowMs = clock.nowMs()
    noteHistory(queue, nowMs, seen)
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
        keepError(task, poisonError(task.crashes), nowMs)
        bury(queue, task)
        poisoned.push(task.id)
      } else {
        if (task.crashes === 1) wait(queue, task, 'head')
        else schedule(task, crashPauseMs(task.crashes))
        again.push(task.id)
      }
    }
    if (late.length > 0) wake(queue)
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

  function buryResting(queue: ModelQueue, { id, error }: Letter) {
    const task = queue.tasks.get(id)
    if (!task) return 'absent'
    if (task.state === 'active') return 'active'
    if (task.follower || task.after || task.state === 'done') return 'unfit'
    if (task.state === 'dead') return 'dead'
    keepError(task, error, clock.nowMs())
    leaveLine(queue, task)
    bury(queue, task)
    return 'buried'
  }

  function open(): QueueDriver {
    let isClosed = false
    const mine: (() => void)[] = []
    const on = async <T>(name: string, work: (queue: ModelQueue) => T): Promise<T> => {
      if (isClosed) throw queueErrors.QueueUnavailable()
      return work(queueOf(name))
    }
    const onEach = <S, T>(name: string, subjects: readonly S[], work: (queue: ModelQueue, subject: S) => T): Promise<T[]> =>
      on(name, queue => {
        if (subjects.length > operateMax) throw new Error(`at most ${operateMax} at a time, not ${subjects.length}`)
        return subjects.map(subject => work(queue, subject))
      })
    return {
      async enqueue(name, tasks, { tx, backlogMax } = {}) {
        if (tx) throw new Error('the model is in no database')
        return on(name, queue => enqueue(queue, tasks, backlogMax))
      },
      exchange: (name, said) => on(name, queue => exchange(queue, said)),
      beat: (name, leaseMs, held) => on(name, queue => beat(queue, leaseMs, held, clock.nowMs())),
      reap: (name, rule) => on(name, queue => reap(queue, rule)),
      cancel: (name, ids) => onEach(name, ids, cancel),
      retry: (name, ids) => onEach(name, ids, retry),
      remove: (name, ids) => onEach(name, ids, remove),
      bury: (name, letters) => onEach(name, letters, buryResting),
      show: (name, id) => on(name, queue => storedOf(queue, queue.tasks.get(id))),
      list: (name, state, count, cursor) => on(name, queue => page(queue, state, count, cursor)),
      history: name => on(name, ({ history }) => snapshots(history, clock.nowMs())),
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
      pause: name => on(name, queue => setPaused(queue, true)),
      resume: name => on(name, queue => setPaused(queue, false)),
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

  return {
    open,
    follow(name, ids) {
      queueOf(name).given = ids
    },
    leftovers: name => [...queueOf(name).tasks.keys(), ...queueOf(name).keys.keys()],
  }
}

function setPaused(queue: ModelQueue, isPaused: boolean): void {
  queue.isPaused = isPaused
  if (!isPaused) wake(queue)
}
