import { asCaller } from '@/core/caller'
import { AppError } from '@/core/error'
import { Id, Type } from '@/core/schema'
import { createStore } from '@/core/store'
import { defineTable } from '@/core/table'
import type { OpenDatabase } from '@/infra/database/driver'

/**
 * Callers that work on a database until told to stop, through whatever happens to it, and keep what they were told: the audit
 * compares that with what is there in the end.
 */
export const notes = defineTable('note', { text: Type.String({ maxLength: 60 }) }, { sortable: ['createdAt'], cache: { ttlMs: 60_000 } })
export const accounts = defineTable('account', { balance: Type.Integer() })
export const transfers = defineTable('transfer', { fromId: Id(), toId: Id(), amount: Type.Integer() })

/** What callers know of one row: the last state that was acknowledged, and those that may have come after it. */
export interface KnownNote {
  version: number
  /** When it was acknowledged, of `performance.now()`. */
  atMs: number
  text: string
  maybe: string[]
  /** Once its removal was rejected: that may still come. */
  maybeGone: boolean
}

export interface Known {
  notes: Map<string, KnownNote>
  gone: Set<string>
  /** Rows whose making was rejected, so that they may be there or not. */
  maybeMade: number
  /** Transfers that were acknowledged, and those whose work failed before its end. */
  done: Set<string>
  undone: Set<string>
}

export interface Outcome {
  succeeded: number
  /** How many calls were rejected, by code. */
  errors: Record<string, number>
  /** Rejected with anything but Unavailable, Timeout and Aborted, or with a read of something older than its caller's last write. */
  wrong: string[]
  /** The longest that a rejected call, and any call, of each act took. */
  slowestErrorMs: Partial<Record<ActName, number>>
  slowestMs: Partial<Record<ActName, number>>
}

export type ActName = 'make' | 'change' | 'remove' | 'read' | 'list' | 'transfer'

export interface Load {
  readonly outcome: Outcome
  readonly known: Known
  /** Resolves when every caller has succeeded in something that it began after this. @returns after how long the first, and all, did */
  all(limitMs: number): Promise<{ firstMs: number; allMs: number }>
  /** Resolves when so many more calls were rejected. */
  rejections(count: number, limitMs: number): Promise<void>
  stop(): Promise<void>
}

export interface LoadOptions {
  callers: number
  txTimeoutMs: number
  /** How long after its write a caller reads nothing older. */
  ownWritesMs: number
}

const accountCount = 10
export const balanceAtStart = 1000
/** After a rejection, as whoever calls an API would; a refused connection costs nothing, and would be asked for without an end. */
const pauseMs = 10
const bearable = new Set(['Unavailable', 'Timeout', 'Aborted'])

export async function startLoad(db: OpenDatabase, { callers, txTimeoutMs, ownWritesMs }: LoadOptions): Promise<Load> {
  const ids = (await createStore(db, accounts).createMany(Array.from({ length: accountCount }, () => ({ balance: balanceAtStart })))).map(
    ({ id }) => id,
  )
  const known: Known = { notes: new Map(), gone: new Set(), maybeMade: 0, done: new Set(), undone: new Set() }
  const outcome: Outcome = { succeeded: 0, errors: {}, wrong: [], slowestErrorMs: {}, slowestMs: {} }
  const watchers = new Set<(who: number, beganMs: number) => void>()
  let rejected = 0
  let isOver = false
  let serial = 0

  const one = <T>(items: readonly T[]): T => items[Math.floor(Math.random() * items.length)] as T
  const text = () => `text ${serial++}`

  /** What one caller does; each keeps notes of its own, so that nobody else changes them. */
  function actsOf(own: string[]): Record<ActName, () => Promise<unknown>> {
    const store = createStore(db, notes)
    const noteOf = (id: string) => known.notes.get(id) as KnownNote
    return {
      async make() {
        known.maybeMade++
        const row = await store.create({ text: text() })
        known.maybeMade--
        known.notes.set(row.id, { version: row.version, atMs: performance.now(), text: row.text, maybe: [], maybeGone: false })
        own.push(row.id)
      },
      async change() {
        const id = one(own)
        const note = noteOf(id)
        const next = text()
        note.maybe.push(next)
        const row = await store.update(id, { text: next })
        if (!row) return note.maybeGone ? forget(id) : outcome.wrong.push(`note ${id} is lost`)
        Object.assign(note, { version: row.version, atMs: performance.now(), text: row.text, maybe: [] })
      },
      async remove() {
        const id = one(own)
        noteOf(id).maybeGone = true
        await store.delete(id)
        forget(id)
      },
      async read() {
        const id = one(own)
        const { version, atMs, maybeGone } = noteOf(id)
        const row = await store.get(id)
        const isOlder = row ? row.version < version : !maybeGone
        if (isOlder && performance.now() - atMs < ownWritesMs)
          outcome.wrong.push(`read version ${row?.version} of a note after writing ${version}`)
      },
      list: () => store.list({ orderBy: 'createdAt desc', pageSize: 10 }),
      transfer,
    }
    function forget(id: string) {
      known.notes.delete(id)
      known.gone.add(id)
      own.splice(own.indexOf(id), 1)
    }
  }

  async function transfer() {
    const [fromId, toId] = [one(ids), one(ids)]
    const amount = 1 + Math.floor(Math.random() * 50)
    const change = (tx: Pick<OpenDatabase, 'run'>, id: string, by: number) =>
      tx.run('update "account" set "balance" = "balance" + ? where "id" = ?', [by, id])
    let begun: string | undefined
    const id = await db.tx(
      async tx => {
        if (begun) known.undone.add(begun)
        const row = await createStore(tx, transfers).create({ fromId, toId, amount })
        begun = row.id
        known.undone.add(row.id)
        await change(tx, fromId, -amount)
        await change(tx, toId, amount)
        // From here on it may be committed.
        known.undone.delete(row.id)
        return row.id
      },
      { timeoutMs: txTimeoutMs },
    )
    known.done.add(id)
  }

  function next(own: readonly string[]): ActName {
    const chance = Math.random()
    if (chance < 0.15 || own.length === 0) return 'make'
    if (chance < 0.4) return 'change'
    if (chance < 0.43) return 'remove'
    if (chance < 0.7) return 'read'
    return chance < 0.8 ? 'list' : 'transfer'
  }

  async function caller(who: number) {
    const own: string[] = []
    const acts = actsOf(own)
    while (!isOver) {
      const name = next(own)
      const beganMs = performance.now()
      try {
        await asCaller({ actor: `caller ${who}` }, acts[name])
        outcome.succeeded++
        for (const watch of watchers) watch(who, beganMs)
        slower(outcome.slowestMs, name, beganMs)
      } catch (thrown) {
        rejected++
        slower(outcome.slowestErrorMs, name, beganMs)
        slower(outcome.slowestMs, name, beganMs)
        if (thrown instanceof AppError && bearable.has(thrown.kind)) outcome.errors[thrown.code] = (outcome.errors[thrown.code] ?? 0) + 1
        else outcome.wrong.push(`${name}: ${thrown}`)
        await Bun.sleep(pauseMs * (0.5 + Math.random()))
      }
    }
  }

  const running = Promise.all(Array.from({ length: callers }, (_, who) => caller(who)))
  return {
    outcome,
    known,
    async all(limitMs) {
      const sinceMs = performance.now()
      const done = new Set<number>()
      const everybody = Promise.withResolvers<{ firstMs: number; allMs: number }>()
      let firstMs: number | undefined
      const watch = (who: number, beganMs: number) => {
        if (beganMs < sinceMs) return
        const afterMs = performance.now() - sinceMs
        firstMs ??= afterMs
        done.add(who)
        if (done.size === callers) everybody.resolve({ firstMs, allMs: afterMs })
      }
      watchers.add(watch)
      const timer = setTimeout(
        () => everybody.reject(new Error(`${done.size} of ${callers} callers succeeded within ${limitMs} ms: ${JSON.stringify(outcome)}`)),
        limitMs,
      )
      try {
        return await everybody.promise
      } finally {
        clearTimeout(timer)
        watchers.delete(watch)
      }
    },
    async rejections(count, limitMs) {
      const [wanted, endsAtMs] = [rejected + count, performance.now() + limitMs]
      while (rejected < wanted) {
        if (performance.now() > endsAtMs) throw new Error(`not ${count} rejections within ${limitMs} ms`)
        await Bun.sleep(5)
      }
    },
    async stop() {
      isOver = true
      await running
    },
  }
}

function slower(slowest: Outcome['slowestMs'], act: ActName, beganMs: number): void {
  slowest[act] = Math.max(slowest[act] ?? 0, performance.now() - beganMs)
}
