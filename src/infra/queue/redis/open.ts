import { randomBytes } from 'node:crypto'
import { exitCodes, StartError } from '@/core/error'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { RedisScript, RedisServer } from '../../redis'
import {
  type BuryAnswer,
  type CancelAnswer,
  type EnqueueReply,
  type Exchange,
  keptError,
  type NewTask,
  operateMax,
  type QueueDriver,
  type RemoveAnswer,
  reportMax,
  type RetryAnswer,
} from '../driver'
import { refuseMore } from '../refuse-more'
import { packSeen } from '../snapshot'
import { type Batches, createBatches } from './batches'
import { createEnds } from './ends'
import { createLink } from './link'
import { linkMetrics } from './metrics'
import { beatScript } from './scripts/beat'
import { enqueueRelatedScript, enqueueRichScript, enqueueScript } from './scripts/enqueue'
import { exchangeRichScript, exchangeScript } from './scripts/exchange'
import { fsckStep } from './fsck'
import { checkedScript } from './scripts/fsck'
import { beforeScript } from './scripts/held'
import { peekScript, reportScript } from './scripts/kept'
import { historyScript, listScript, probeScript, showScript, statsScript } from './scripts/look'
import { buryScript, cancelScript, removeScript, retryScript } from './scripts/operate'
import { pauseScript } from './scripts/pause'
import { reapScript } from './scripts/reap'
import { createWatch, type Watch } from './wake'
import {
  checkTask,
  endedOf,
  enqueueReplies,
  exchangeReply,
  heldOf,
  metaKeyOf,
  peekedTasks,
  readSnapshot,
  storedTask,
  wakeKeyOf,
  wordsOfClaim,
  wordsOfFinishes,
  wordsOfTasks,
} from './wire'

export interface RedisQueueOptions {
  server: RedisServer
  /** First word of the keys. */
  prefix: string
  /** How long one call may take, with what is said again when no answer came. */
  timeoutMs: number
  log: Log
  metrics: Metrics
}

/** How long opening waits for Redis. */
const openLimitMs = 2000
const handBackLimitMs = 500
/** So many nonces of a process that have had their answer are remembered by the server at a time; of claims whose reply was lost, all for a time. */
const noncesMax = 128
/** So many calls of a process that enqueue are remembered at a time: each until another takes its place, and no longer than it may be said again. */
const enqueuesMax = 128

/**
 * The queue on Redis lists. Opens also when Redis cannot be reached, and works as soon as it can.
 * @throws StartError when the server answers and must not be used: it may throw tasks away, or is too old
 */
export async function openRedisQueue({ server, prefix, timeoutMs, log, metrics }: RedisQueueOptions): Promise<QueueDriver> {
  const connection = server.connect('queue')
  const link = createLink({ connection, timeoutMs, log, metrics: linkMetrics(metrics) })
  const first = await link.firstCheck(openLimitMs)
  if (first?.problem) {
    await link.close()
    throw new StartError(`redis.url: ${first.problem}`, exitCodes.configuration)
  }
  if (!first) log.warn('Redis does not answer; the task queue works as soon as it does')

  const batches = new Map<string, Batches>()
  const watches = new Map<string, Set<Watch>>()
  const ends = createEnds({ connect: () => server.connect('queue-ends'), prefix, log })
  const closing = new Set<Promise<void>>()
  const nonces = new Map<string, string[]>()
  /** Queues that have said that they need the rich variant of the exchange. */
  const rich = new Set<string>()
  /** Which server the check of a queue began on. */
  const checkedSince = new Map<string, string | undefined>()
  const self = randomBytes(9).toString('base64url')
  let enqueues = 0

  const ask = async (script: RedisScript, queue: string, ...args: (string | number)[]): Promise<unknown> =>
    (await link.ask(script, metaKeyOf(prefix, queue), () => args)).reply

  async function send(queue: string, tasks: readonly NewTask[], backlogMax: number | undefined): Promise<EnqueueReply[]> {
    const call = enqueues++
    const words = [`${self}${call % enqueuesMax}`, call, 2 * timeoutMs, backlogMax ?? '', ...wordsOfTasks(tasks)]
    const script = enqueueScriptFor(tasks)
    const { reply, isAgain } = await link.ask(script, metaKeyOf(prefix, queue), () => words)
    const replies = enqueueReplies(tasks, reply)
    if (!isAgain) return replies
    // An id that nobody else may have used is there because an earlier time has done it.
    return replies.map(({ id, status }, i) => ({ id, status: status === 'duplicate' && !tasks[i]?.isIdKept ? 'enqueued' : status }))
  }

  /** The oldest nonce of more than are to be remembered. */
  function forgettable(queue: string): string {
    const answered = nonces.get(queue) ?? []
    nonces.set(queue, answered)
    return answered.length >= noncesMax ? (answered.shift() ?? '') : ''
  }

  async function exchange(queue: string, { finish = [], claim }: Exchange) {
    const finishes = wordsOfFinishes(finish)
    const forgotten = claim ? forgettable(queue) : ''
    const rememberedMs = Math.max(claim?.leaseMs ?? 0, 2 * timeoutMs)
    const key = metaKeyOf(prefix, queue)
    const wordsOf = (again: boolean) => (claim ? [...finishes, ...wordsOfClaim(claim, rememberedMs, again, forgotten)] : finishes)
    const hasLimits = claim?.limits?.concurrency !== undefined || claim?.limits?.rate !== undefined
    let answer = hasLimits || rich.has(queue) ? undefined : await link.ask(exchangeScript, key, wordsOf)
    if (!answer || answer.reply === needsRich) {
      // Its first time may have been before the queue needed this.
      const wasAgain = answer?.isAgain ?? false
      if (answer) rich.add(queue)
      const { reply, isAgain } = await link.ask(exchangeRichScript, key, again => wordsOf(again || wasAgain))
      answer = { reply, isAgain: isAgain || wasAgain }
    }
    const { reply, isAgain } = answer
    const said = exchangeReply(reply)
    // Who got no answer asks again; and what was said twice may arrive once more. Those the server forgets in its time.
    if (claim && !isAgain) nonces.get(queue)?.push(claim.nonce)
    if (!isAgain) return said
    // What has ended is gone, and an earlier time may have ended it.
    const finished = said.finished.map((status, i) => (status === 'gone' && isEnd(finish[i]?.outcome) ? 'ok' : status))
    return { ...said, finished }
  }

  /** A script answers for as many as it may take time for, and for one at least. */
  async function operate<T>(script: RedisScript, queue: string, ids: readonly string[], wordsOf = (id: string) => [id]): Promise<T[]> {
    refuseMore(ids.length, operateMax)
    const answers: T[] = []
    while (answers.length < ids.length) answers.push(...((await ask(script, queue, ...ids.slice(answers.length).flatMap(wordsOf))) as T[]))
    return answers
  }

  return {
    async enqueue(queue, tasks, { tx, backlogMax } = {}) {
      if (tx) throw new Error('a queue on Redis cannot be part of a transaction')
      for (const task of tasks) checkTask(task)
      const name = `${queue} ${backlogMax ?? ''}`
      const batch = batches.get(name) ?? createBatches(some => send(queue, some, backlogMax))
      batches.set(name, batch)
      return batch.add(tasks)
    },
    async exchange(queue, said) {
      const watching = [...(watches.get(queue) ?? [])]
      if (!said.claim) {
        for (const watch of watching) watch.freed()
        return exchange(queue, said)
      }
      for (const watch of watching) watch.claiming()
      let isFull = false
      try {
        const reply = await exchange(queue, said)
        isFull = reply.claimed.length >= said.claim.count
        return reply
      } finally {
        for (const watch of watching) watch.claimed(isFull)
      }
    },
    async beat(queue, leaseMs, held) {
      const reply = await ask(beatScript, queue, leaseMs, ...held.flatMap(each => [each.id, heldOf(each)]))
      const [lost, cancelled] = reply as [string[], string[]]
      return { lost, cancelled }
    },
    async reap(queue, { leaseMs, crashesMax, keepDeadMs, seen }) {
      const reply = await ask(reapScript, queue, leaseMs, crashesMax, keepDeadMs ?? '', seen ? packSeen(seen) : '')
      const [again, poisoned, more, isCheckDue, done, dead] = reply as [string[], string[], number, number, number, number]
      return {
        ...{ again, poisoned, more: more === 1 },
        ...(isCheckDue === 1 && { isCheckDue: true }),
        ...(done + dead > 0 && { expired: { done, dead } }),
      }
    },
    cancel: (queue, ids) => operate<CancelAnswer>(cancelScript, queue, ids),
    retry: (queue, ids) => operate<RetryAnswer>(retryScript, queue, ids),
    remove: (queue, ids) => operate<RemoveAnswer>(removeScript, queue, ids),
    bury: (queue, letters) => {
      const errors = new Map(letters.map(({ id, error }) => [id, keptError(error)]))
      return operate<BuryAnswer>(
        buryScript,
        queue,
        letters.map(({ id }) => id),
        id => [id, errors.get(id) ?? ''],
      )
    },
    async show(queue, id) {
      const reply = await ask(showScript, queue, id)
      return reply ? storedTask(reply) : undefined
    },
    async list(queue, state, count, cursor) {
      const [place = '', offset = '', id = '', lane = ''] = cursor === undefined ? [] : cursor.split(' ')
      const reply = await ask(listScript, queue, state, count, place, offset, id, lane)
      const [tasks, ...next] = reply as [unknown[], ...string[]]
      return { tasks: tasks.map(storedTask), ...(next.length > 0 ? { cursor: next.join(' ') } : {}) }
    },
    async stats(queue) {
      const reply = await ask(statsScript, queue)
      const [waiting, scheduled, active, dead, oldestWaitingMs, counters, kept, held, paused] = reply as StatsReply
      const [enqueued = 0, done = 0, failed = 0, crashed = 0, deadEver = 0, cancelled = 0] = counters.map(Number)
      const total = { enqueued, done, failed, crashed, dead: deadEver, cancelled }
      return {
        waiting,
        scheduled,
        held,
        active,
        done: kept,
        dead,
        isPaused: paused === 1,
        total,
        ...(oldestWaitingMs < 0 ? {} : { oldestWaitingMs }),
      }
    },
    async history(queue) {
      const [nowMs, snapshots] = (await ask(historyScript, queue)) as [number, string[]]
      return snapshots.flatMap(text => readSnapshot(text, nowMs))
    },
    async fsck(queue, options) {
      if (options.cursor === undefined) checkedSince.set(queue, connection.runId)
      const step = await fsckStep((script, ...args) => ask(script, queue, ...args), options)
      // A check during which the server was started anew may have seen what was not yet as it is.
      const isWhole = step.cursor === undefined && checkedSince.get(queue) === connection.runId
      if (options.fix && isWhole) await ask(checkedScript, queue)
      return step
    },
    async report(queue, reports) {
      refuseMore(reports.length, reportMax)
      const reply = await ask(reportScript, queue, ...reports.flatMap(each => [each.id, heldOf(each), each.progress]))
      return (reply as number[]).map(each => each === 1)
    },
    async peek(queue, ids) {
      refuseMore(ids.length, operateMax)
      return ids.length === 0 ? [] : peekedTasks(await ask(peekScript, queue, ...ids))
    },
    before: async (queue, id) => endedOf(await ask(beforeScript, queue, id)),
    watchEnds: ends.watch,
    async pause(queue) {
      await ask(pauseScript, queue, 1)
    },
    async resume(queue) {
      await ask(pauseScript, queue, 0)
    },
    watch(queue, listener) {
      const watch = createWatch({
        connection: server.connect(`queue-${queue}`),
        prefix,
        queue,
        listener,
        // When it is lost: others look by themselves now and then.
        giveBack: () => void connection.call(timeoutMs, 'LPUSH', wakeKeyOf(prefix, queue), 1).catch(() => {}),
        async handBack() {
          if (connection.runId === undefined) return
          // An exchange of nothing leaves a token when something waits.
          await connection.run(handBackLimitMs, exchangeRichScript, [metaKeyOf(prefix, queue)], wordsOfFinishes([])).catch(() => {})
        },
      })
      const watching = watches.get(queue) ?? new Set()
      watches.set(queue, watching.add(watch))
      return () => {
        if (!watching.delete(watch)) return
        const end = watch.close()
        closing.add(end)
        void end.then(() => closing.delete(end))
      }
    },
    async ping() {
      await ask(probeScript, '')
    },
    async close() {
      await Promise.all([...closing, ...[...watches.values()].flatMap(some => [...some].map(watch => watch.close())), ends.close()])
      await link.close()
    },
  }
}

type StatsReply = [number, number, number, number, number, string[], number, number, number]

/** What an exchange says that has done nothing since its queue needs the other variant. */
const needsRich = 0

function enqueueScriptFor(tasks: readonly NewTask[]): RedisScript {
  let script = enqueueScript
  for (const { lane, follower, after, group } of tasks) {
    if (after || group) return enqueueRelatedScript
    if (lane !== undefined || follower) script = enqueueRichScript
  }
  return script
}

const isEnd = (outcome: string | undefined) => outcome === 'done' || outcome === 'cancelled'
