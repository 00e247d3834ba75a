import { type Caller, currentCaller, ownWritesMs, type Written } from '@/core/caller'
import type { Config } from '@/core/config/settings'
import type { ReadFrom } from '@/core/database'
import { withDeadline } from '@/core/deadline'
import type { DriverTools, OpenDatabase } from '../driver'
import { openMysql } from '../mysql/driver'
import { refuseInsideTx } from '../scope'
import { ailments } from './health'
import { laterWrite } from './position'
import { createReplica, isAway, type Replica } from './replica'
import { memoryWritePositions } from './write-positions'

/** How long the start waits for the first word of the replicas; who is later is read later. */
const startWaitMs = 2000
/** No answer of the primary for so long is one, too. */
const primaryTimeoutMs = 1000

/**
 * One primary and its replicas as one database.
 *
 * - Writes, transactions and `{ from: 'primary' }` go to the primary. Other reads go to the replica, of those that are well, that has
 *   the fewest under way; to the primary when none is. A read that a replica fails is repeated on the primary, once. The primary
 *   is never asked by more than its pool: who finds it full waits as for any other call, and is refused as then.
 * - A caller (see core/caller.ts) reads its own writes: for `ownWritesMs` after one, a replica answers only when it is known
 *   to have that write, after a short wait if need be; else the primary does. Where the server gives no position, and where a
 *   write was refused by what the replicas may not have yet, it is the primary for all that time. The actor behind a caller
 *   carries this over to its next requests. What runs outside any caller counts as one, for the whole process.
 * - While the primary is away, the replicas go on answering what they may; so the process stays ready. Writes are Unavailable.
 *
 * That a replica which has a write has those before it holds for replicas that commit in the order of their primary, as MySQL
 * ≥ 8.0.27 and MariaDB do unless told otherwise. Lag is said in whole seconds, and only to users with the right to ask.
 *
 * @throws StartError when the primary cannot be reached; a replica that cannot is logged, and read once it can
 */
export async function openReplicated(config: Config['database'], tools: DriverTools): Promise<OpenDatabase> {
  const { clock, metrics } = tools
  const positions = tools.writePositions ?? memoryWritePositions(clock)
  const counts = countersOf(metrics)
  const outside: Caller = {}
  const caller = () => currentCaller() ?? outside

  const note = (its: Caller, written: Written) => {
    its.written = its.written ? laterWrite(its.written, written) : written
  }
  const onWrite = (position: string | undefined) => note(caller(), { position: position || undefined, atMs: clock.nowMs() })
  const primary = await openMysql(config, { ...tools, onWrite })
  const primaryAnswers = onceAtATime(() =>
    withDeadline(primary.first('select 1'), primaryTimeoutMs, () => new Error('late')).then(
      () => true,
      () => false,
    ),
  )
  const replicas = (config.replicaUrls ?? []).map(url =>
    createReplica(
      { ...config, url },
      { ...tools, primaryAnswers, onOut: ailment => counts.out[ailment].add(), onWaited: result => counts.waits[result].add() },
    ),
  )
  const howMany = () => replicas.filter(replica => replica.isWell).length
  const endGauge = metrics.gauge({ name: 'bingo_database_replicas_well', help: 'Replicas that are read.' }, howMany)
  const asked = Promise.all(replicas.map(replica => replica.watch()))
  await withDeadline(asked, startWaitMs, () => new Error('late')).catch(() => {})

  const recalled = new WeakMap<Caller, Promise<void>>()
  /** Looks up, once a caller, what its actor has written in other requests. */
  function recall(its: Caller, actor: string): Promise<void> {
    const known = recalled.get(its)
    if (known) return known
    const looking = positions.of(actor).then(
      written => {
        if (written && !its.written) its.written = written
      },
      () => {
        its.written ??= { position: undefined, atMs: clock.nowMs() }
      },
    )
    recalled.set(its, looking)
    return looking
  }

  /** A replica that has all that this caller has written, or undefined. */
  async function upToDate(its: Caller): Promise<Replica | undefined> {
    if (!its.written && its.actor !== undefined) await recall(its, its.actor)
    const { written } = its
    if (!written || clock.nowMs() - written.atMs >= ownWritesMs) return idlest(replicas)
    const { position } = written
    if (position === undefined) return undefined
    const known = idlest(replicas, replica => replica.has(position))
    if (known) return known
    const next = idlest(replicas, replica => replica.isWorthWaiting)
    return next && (await next.reaches(position)) && next.isWell ? next : undefined
  }

  async function read<T>(ask: (db: OpenDatabase) => Promise<T>, options: ReadFrom | undefined): Promise<T> {
    refuseInsideTx(primary)
    if (options?.from !== 'primary') {
      const its = caller()
      const replica = its.written || its.actor !== undefined ? await upToDate(its) : idlest(replicas)
      if (replica) {
        counts.reads.replica.add()
        try {
          return await replica.read(ask)
        } catch {
          // Also when the server did answer: a table that was just made may not be there yet.
          counts.repeated.add()
        }
      }
    }
    counts.reads.primary.add()
    return ask(primary)
  }

  async function write<T>(work: () => Promise<T>): Promise<T> {
    const its = caller()
    const before = its.written
    try {
      return await work()
    } catch (thrown) {
      // The primary refused it, perhaps for what the replicas do not have yet: whoever looks for it now must find it.
      if (!isAway(thrown)) note(its, { position: undefined, atMs: clock.nowMs() })
      throw thrown
    } finally {
      if (its.actor !== undefined && its.written && its.written !== before) {
        // What is committed stays so, even when nobody can be told.
        await positions.note(its.actor, its.written).catch(() => {})
      }
    }
  }

  return {
    dialect: primary.dialect,
    clock: primary.clock,
    seal: primary.seal,
    cache: primary.cache,
    inTransaction: false,
    all: (sql, params, options) => read(db => db.all(sql, params), options),
    first: (sql, params, options) => read(db => db.first(sql, params), options),
    run: (sql, params) => write(() => primary.run(sql, params)),
    tx: (work, options) => write(() => primary.tx(work, options)),
    afterCommit: (hook, whenUnsure) => primary.afterCommit(hook, whenUnsure),
    refuseInsideTx: remedy => primary.refuseInsideTx(remedy),
    async ping() {
      try {
        await withDeadline(primary.ping(), primaryTimeoutMs, () => new Error(`the primary does not answer within ${primaryTimeoutMs} ms`))
      } catch (thrown) {
        if (!replicas.some(replica => replica.isWell)) throw thrown
      }
    },
    servers: [
      { name: 'database', check: () => primary.ping() },
      ...replicas.map((replica, i) => ({
        name: `database replica ${i + 1}`,
        async check() {
          if (!replica.isWell) throw Object.assign(new Error('the replica is not read'), { code: 'NotWell' })
        },
      })),
    ],
    async close() {
      endGauge()
      await Promise.all(replicas.map(replica => replica.close()))
      await primary.close()
    },
  }
}

/** Of those that are well and `suit`, the one with the fewest reads under way; of equals any, so that they share. */
export function idlest(replicas: readonly Replica[], suits?: (replica: Replica) => boolean): Replica | undefined {
  let best: Replica | undefined
  const start = replicas.length > 1 ? Math.floor(Math.random() * replicas.length) : 0
  for (let i = 0; i < replicas.length; i++) {
    const replica = replicas[(start + i) % replicas.length]
    if (!replica?.isWell || (best && replica.underWay >= best.underWay) || (suits && !suits(replica))) continue
    best = replica
  }
  return best
}

/** Whoever asks while it is under way gets the same answer. */
function onceAtATime<T>(work: () => Promise<T>): () => Promise<T> {
  let underWay: Promise<T> | undefined
  return () => {
    underWay ??= work().finally(() => {
      underWay = undefined
    })
    return underWay
  }
}

function countersOf(metrics: DriverTools['metrics']) {
  const reads = metrics.counter({
    name: 'bingo_database_reads_total',
    help: 'Reads outside transactions, by who was asked.',
    labels: ['target'],
  })
  const waits = metrics.counter({
    name: 'bingo_database_replica_waits_total',
    help: 'Reads that waited for a replica to have what their caller had written.',
    labels: ['result'],
  })
  const repeated = metrics.counter({
    name: 'bingo_database_replica_failed_reads_total',
    help: 'Reads that a replica failed and the primary was asked.',
  })
  const out = metrics.counter({
    name: 'bingo_database_replica_outs_total',
    help: 'Replicas that were no longer read, by why.',
    labels: ['why'],
  })
  return {
    reads: { primary: reads.with({ target: 'primary' }), replica: reads.with({ target: 'replica' }) },
    waits: { reached: waits.with({ result: 'reached' }), late: waits.with({ result: 'late' }), failed: waits.with({ result: 'failed' }) },
    repeated: repeated.with({}),
    out: Object.fromEntries(ailments.map(why => [why, out.with({ why })])) as Record<(typeof ailments)[number], { add(): void }>,
  }
}
