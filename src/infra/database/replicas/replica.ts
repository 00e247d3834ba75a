import { AsyncLocalStorage } from 'node:async_hooks'
import type { Config } from '@/core/config/settings'
import type { SqlRow } from '@/core/database'
import { AppError, StartError } from '@/core/error'
import type { DriverTools, OpenDatabase } from '../driver'
import { openMysql } from '../mysql/driver'
import { type Ailment, ailmentOf, ailmentWords, isDenied, missingGrant, statusQuery } from './health'
import { createProgress } from './position'

/** How long after its answer a replica is asked again how it is: one that is read, and one that is not. */
const checkEveryMs = 1000
const checkAgainMs = 500
/** No answer for so long is one, too. */
const checkTimeoutMs = 1000
/** One that was out must have answered well so often in a row. */
const goodInRow = 2

/** How long a read may wait for a replica to have the write of its caller, before it goes to the primary. */
const positionWaitMs = 150
/** A replica that let a read wait in vain is not waited for again for so long: it is behind, and each wait has a connection. */
const behindPauseMs = 250
/** Of the connections to a replica, the part that may wait at once. */
const waitingShare = 0.25

/** A read on a replica gives up sooner than one on the primary, which it still has to ask then. */
const readTimeoutShare = 0.25
const readTimeoutMaxMs = 2000

export interface ReplicaTools extends DriverTools {
  /** Whether the primary answers this process. */
  primaryAnswers(): Promise<boolean>
  onOut(ailment: Ailment): void
  onWaited(result: 'reached' | 'late' | 'failed'): void
}

/** One server that may be read while it is well. */
export interface Replica {
  readonly isWell: boolean
  /** Reads, and waits for writes, under way on it. */
  readonly underWay: number
  /** Whether it is known to have this write. */
  has(position: string): boolean
  /** False while it is known to be behind, and while too many wait for it. */
  readonly isWorthWaiting: boolean
  /** Waits, shortly, until it has this write. Resolves with false when it does not get it in that time. */
  reaches(position: string): Promise<boolean>
  /** Fails as `ask` does; when the server does not answer, the replica is taken out at once. */
  read<T>(ask: (db: OpenDatabase) => Promise<T>): Promise<T>
  /** Asks it how it is now, and from then on by itself until `close`. */
  watch(): Promise<void>
  close(): Promise<void>
}

interface Connected {
  db: OpenDatabase
  /** A connection of its own, so that reads which take all the others do not make it look dead. */
  probe: OpenDatabase
}

const waitQuery = {
  mysql: 'select wait_for_executed_gtid_set(?, ?) as "late"',
  mariadb: 'select master_gtid_wait(?, ?) as "late"',
} as const

/**
 * A replica is read while it is well. It is out when it does not answer, does not replicate or is too far behind, and back when it
 * has answered well twice. One that fails a read is under suspicion: not read, and asked at once; a good answer clears it, since
 * then it was the query that was slow and not the server.
 */
export function createReplica(config: Config['database'], tools: ReplicaTools): Replica {
  const { log } = tools
  const name = new URL(config.url).host
  const progress = createProgress()
  const readTimeoutMs = Math.min(readTimeoutMaxMs, Math.ceil(config.queryTimeoutMs * readTimeoutShare))
  // A wait that is cut off would cost its connection.
  const waitMs = Math.min(positionWaitMs, readTimeoutMs / 2)
  const waitingMax = Math.max(1, Math.floor(config.poolSize * waitingShare))
  // A check belongs to no request, whichever read was its reason.
  const onItsOwn = AsyncLocalStorage.snapshot()
  let state: 'new' | 'well' | 'suspect' | 'out' = 'new'
  let connected: Connected | undefined
  let good = 0
  let underWay = 0
  let waiting = 0
  let behindUntilMs = 0
  let hasWarned = false
  let isClosed = false
  let timer: ReturnType<typeof setTimeout> | undefined
  let checking: Promise<void> | undefined

  async function connect(): Promise<Connected> {
    const own = { ...tools, onWrite: undefined }
    const probeLimits = { poolSize: 1, queryTimeoutMs: checkTimeoutMs, acquireTimeoutMs: checkTimeoutMs, slowQueryMs: 0 }
    const probe = await openMysql({ ...config, ...probeLimits }, own)
    const readLimits = { queryTimeoutMs: readTimeoutMs, acquireTimeoutMs: Math.min(config.acquireTimeoutMs, readTimeoutMs) }
    try {
      return { probe, db: await openMysql({ ...config, ...readLimits }, own) }
    } catch (thrown) {
      await probe.close()
      throw thrown
    }
  }

  async function examine(): Promise<{ ailment?: Ailment; err?: unknown }> {
    try {
      connected ??= await connect()
      const ailment = ailmentOf(await connected.probe.all(statusQuery), config.replicaLagMaxMs)
      // What the primary no longer sends nobody has; so while it is away, its replicas are as new as can be.
      if (ailment === undefined || (ailment === 'cut-off' && !(await tools.primaryAnswers()))) return {}
      return { ailment }
    } catch (err) {
      // What the driver says to do is about the primary.
      if (!isDenied(err)) return { ailment: 'unreachable', err: err instanceof StartError ? err.cause : err }
      warnOnce()
      return {}
    }
  }

  function warnOnce() {
    if (hasWarned || !connected) return
    hasWarned = true
    const remedy = missingGrant[connected.db.dialect.name === 'mysql' ? 'mysql' : 'mariadb']
    log.warn('a replica does not say whether it replicates, so it is read however far it is behind', { replica: name, remedy })
  }

  function settle({ ailment, err }: { ailment?: Ailment; err?: unknown }) {
    if (isClosed) return
    if (ailment === undefined) {
      good++
      if (state === 'well' || (state === 'out' && good < goodInRow)) return
      if (state === 'out') log.info('a replica is read again', { replica: name })
      state = 'well'
      return
    }
    good = 0
    if (state === 'out') return
    state = 'out'
    // It may be another server when it is back.
    progress.forget()
    tools.onOut(ailment)
    log.warn('a replica is not read', { replica: name, why: ailmentWords[ailment], ...(err === undefined ? {} : { err }) })
  }

  /** One at a time. */
  function check(): Promise<void> {
    clearTimeout(timer)
    checking ??= examine()
      .then(settle)
      .finally(() => {
        checking = undefined
        if (isClosed) return
        timer = setTimeout(check, state === 'well' ? checkEveryMs : checkAgainMs)
        timer.unref()
      })
    return checking
  }

  function suspect() {
    if (state !== 'well') return
    state = 'suspect'
    void onItsOwn(check)
  }

  async function read<T>(ask: (db: OpenDatabase) => Promise<T>): Promise<T> {
    if (!connected) throw new Error(`the replica ${name} was asked before it was open`)
    underWay++
    try {
      return await ask(connected.db)
    } catch (thrown) {
      if (isAway(thrown)) suspect()
      throw thrown
    } finally {
      underWay--
    }
  }

  return {
    get isWell() {
      return state === 'well'
    },
    get underWay() {
      return underWay
    },
    get isWorthWaiting() {
      return waiting < waitingMax && performance.now() >= behindUntilMs
    },
    has: progress.has,
    async reaches(position) {
      waiting++
      try {
        const row = await read(db => db.first(waitQuery[db.dialect.name === 'mysql' ? 'mysql' : 'mariadb'], [position, waitMs / 1000]))
        const isThere = isReached(row)
        if (isThere) progress.learn(position)
        else behindUntilMs = performance.now() + behindPauseMs
        tools.onWaited(isThere ? 'reached' : 'late')
        return isThere
      } catch {
        // The primary knows; whether this replica is to blame is asked already.
        tools.onWaited('failed')
        return false
      } finally {
        waiting--
      }
    },
    read,
    watch: check,
    async close() {
      isClosed = true
      clearTimeout(timer)
      state = 'out'
      await checking
      await Promise.all([connected?.db.close(), connected?.probe.close()])
    },
  }
}

/** Both functions answer 0 when it is there, and 1 or -1 when the time is over. */
const isReached = (row: SqlRow | undefined) => Number(row?.['late'] ?? 1) === 0

export const isAway = (thrown: unknown): boolean =>
  thrown instanceof AppError && (thrown.kind === 'Unavailable' || thrown.kind === 'Timeout')
