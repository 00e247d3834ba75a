import { type Clock, systemClock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { OpenDatabase } from '../../database/driver'
import { isTxOf } from '../../database/scope'
import { beatMax, enqueueMax, exchangeMax, operateMax, type QueueDriver, reportMax } from '../driver'
import { refuseMore } from '../refuse-more'
import { knownAttempts } from './attempts'
import { claim, nextDueMs } from './claim'
import { endsOf } from './ends'
import { enqueue } from './enqueue'
import { asUnavailable, closed } from './errors'
import { finish } from './finish'
import { before } from './followers'
import { fsck } from './fsck'
import { createGroup } from './group'
import { createHistory } from './history'
import { peek, report } from './kept'
import { beat, reap } from './lease'
import { buryResting, cancel, list, remove, retry, setPaused, show, stats } from './operator'
import { openSession, type Session } from './session'
import { createTrust } from './trust'
import { watchersOf } from './watch'

export interface SqliteQueueOptions {
  /** The application's own, so that a task can commit together with the data. It stays open when the queue is closed. */
  db: OpenDatabase
  log: Log
  metrics: Metrics
  /** The machine's when absent. */
  clock?: Clock
  /** Tells jumps of the clock. The machine's, or that of `clock` when that is given, which then never jumps. */
  monotonicMs?: () => number
}

/** How many claims are remembered so that the same again, once its tasks have ended, takes no others. */
const claimsMax = 10_000
const groupBuckets = [1, 2, 4, 8, 16, 32, 64, 128, 256]

/** The queue in the tables of a SQLite database. */
export function openSqliteQueue({ db, log, metrics, clock = systemClock, monotonicMs }: SqliteQueueOptions): QueueDriver {
  const trust = createTrust(clock, monotonicMs ?? (clock === systemClock ? () => performance.now() : clock.nowMs))
  const watchers = watchersOf(db, log)
  const history = createHistory()
  const ends = endsOf(db, log)
  const claims = new Set<string>()
  const known = { short: watchers.short, attempts: knownAttempts() }
  const watching = new Set<() => void>()
  const groupSize = metrics
    .histogram({
      name: 'bingo_queue_group_operations',
      help: 'Operations on the queue that shared a commit on SQLite.',
      buckets: groupBuckets,
    })
    .with({})
  let isClosed = false

  function tell(news: Session['news']): void {
    watchers.tell(news)
    if (news.ended.length > 0) ends.tell(news.ended)
  }

  function sessionOn(tx: Database): Session {
    const nowMs = clock.nowMs()
    return openSession(tx, nowMs, (queue, wroteMs) => trust.seen(queue, nowMs, wroteMs), known)
  }

  const group = createGroup({
    onGroup: operations => groupSize.observe(operations),
    async transact(work) {
      const news = await db.tx(async tx => {
        const session = sessionOn(tx)
        await work(session)
        await session.save()
        return session.news
      })
      tell(news)
    },
  })

  async function write<T>(weight: number, work: (session: Session) => Promise<T>): Promise<T> {
    db.refuseInsideTx()
    return group.run(weight, work)
  }

  async function read<T>(work: () => Promise<T>): Promise<T> {
    if (isClosed) throw closed()
    try {
      return await work()
    } catch (thrown) {
      throw asUnavailable(thrown)
    }
  }

  /** A savepoint: calls at the same time wait for each other, and one that fails leaves nothing behind. */
  async function inside<T>(outer: Database, work: (session: Session) => Promise<T>): Promise<T> {
    if (isClosed) throw closed()
    if (!isTxOf(outer, db)) throw new Error('the transaction is of another database than the queue')
    try {
      return await outer.tx(async tx => {
        const session = sessionOn(tx)
        const result = await work(session)
        await session.save()
        await tx.afterCommit(() => tell(session.news))
        return result
      })
    } catch (thrown) {
      throw asUnavailable(thrown)
    }
  }

  function untilClosed(end: () => void): () => void {
    const stop = () => {
      watching.delete(stop)
      end()
    }
    watching.add(stop)
    return stop
  }

  async function operate<S, T>(queue: string, subjects: readonly S[], work: (session: Session, queue: string, subject: S) => Promise<T>) {
    refuseMore(subjects.length, operateMax)
    return write(subjects.length, async session => {
      const answers: T[] = []
      for (const subject of subjects) answers.push(await work(session, queue, subject))
      return answers
    })
  }

  return {
    async enqueue(queue, tasks, { tx, backlogMax } = {}) {
      refuseMore(tasks.length, enqueueMax)
      if (tasks.length === 0) return []
      const work = (session: Session) => enqueue(session, queue, tasks, { backlogMax })
      return tx?.inTransaction ? inside(tx, work) : write(tasks.length, work)
    },
    async exchange(queue, { finish: said = [], claim: wanted }) {
      refuseMore(Math.max(said.length, wanted?.count ?? 0), exchangeMax)
      const key = wanted && `${queue} ${wanted.nonce}`
      const reply = await write(said.length + (wanted?.count ?? 0), async session => {
        const finished = await finish(session, queue, said)
        const claimed = wanted ? await claim(session, queue, wanted, key !== undefined && claims.has(key)) : []
        const dueMs = await nextDueMs(session, queue, wanted?.limits)
        return { finished, claimed, ...(dueMs === undefined ? {} : { nextDueMs: dueMs }) }
      })
      if (key !== undefined && reply.claimed.length > 0) keepClaim(claims, key)
      return reply
    },
    async beat(queue, leaseMs, held) {
      refuseMore(held.length, beatMax)
      return write(held.length, session => beat(session, queue, leaseMs, held))
    },
    reap: (queue, rule) =>
      write(1, async session => {
        await history.note(session, queue, rule.seen)
        if (!trust.mayReap(queue, session.nowMs, rule.leaseMs)) return { again: [], poisoned: [], more: false }
        return reap(session, queue, rule)
      }),
    cancel: (queue, ids) => operate(queue, ids, cancel),
    retry: (queue, ids) => operate(queue, ids, retry),
    remove: (queue, ids) => operate(queue, ids, remove),
    bury: (queue, letters) => operate(queue, letters, buryResting),
    show: (queue, id) => read(() => show(db, queue, id)),
    list: (queue, state, count, cursor) => read(() => list(db, queue, { state, count, cursor })),
    history: queue => read(() => history.read(db, queue, clock.nowMs())),
    stats: queue => read(() => stats(db, queue, clock.nowMs())),
    fsck: (queue, { fix, cursor }) =>
      fix ? write(1, session => fsck(session.tx, queue, cursor, session)) : read(() => fsck(db, queue, cursor, undefined)),
    async report(queue, reports) {
      refuseMore(reports.length, reportMax)
      return write(reports.length, session => report(session, queue, reports))
    },
    async peek(queue, ids) {
      refuseMore(ids.length, operateMax)
      return read(() => peek(db, queue, ids))
    },
    before: (queue, id) => read(() => before(db, queue, id, clock.nowMs())),
    watchEnds: (queue, listener) => untilClosed(ends.add(queue, listener)),
    pause: queue => write(1, session => setPaused(session, queue, true)),
    resume: queue => write(1, session => setPaused(session, queue, false)),
    watch: (queue, listener) => untilClosed(watchers.add(queue, listener)),
    ping: () =>
      read(async () => {
        await db.ping()
        await db.first('select 1 from "queueSummary" limit 1')
      }),
    async close() {
      isClosed = true
      for (const stop of [...watching]) stop()
      await group.close()
    },
  }
}

function keepClaim(claims: Set<string>, key: string): void {
  const [oldest] = claims
  if (claims.size >= claimsMax && oldest !== undefined) claims.delete(oldest)
  claims.add(key)
}
