import { toTimestamp } from '@/core/clock'
import { type Database, UniqueViolation } from '@/core/database'
import { defineErrors } from '@/core/error'
import type { Log } from '@/core/log'
import type { Queue } from '@/core/queue/queue'
import type { AnyTask } from '@/core/queue/task'
import { type ScheduleAdmin, type ScheduleDefinition, scheduleErrors, type ScheduleNote, type ScheduleView } from '@/core/schedule/admin'
import { scheduleHeaders } from '@/core/schedule/schedule'
import { type CheckedDefinition, checkDefinition } from './definition'
import { tickKeptMs } from './enqueue'
import { passBy, type Passing } from './pass-by'
import type { ScheduleHistory, TickCursor } from './history'
import { isDeclared, type ScheduleChange, type ScheduleRow, type ScheduleRows } from './rows'
import { nextTicks } from './ticks'
import { scheduleView, tickView } from './view'

export interface ScheduleAdminOptions {
  db: Database
  rows: ScheduleRows
  history: ScheduleHistory
  /** Where tasks of `tasks` can be enqueued. */
  queue: Pick<Queue, 'enqueue'>
  /** What schedules may name. */
  tasks: readonly AnyTask[]
  payloadMaxBytes: number
  /** By the clock that ticks are fired by. */
  now(): Promise<number>
  /** Called when something was changed that whoever fires in this process should know at once. */
  changed(): void
  log: Log
}

const pageSizeMax = 1000
const pageSizeDefault = 50
const previewDefault = 5
const previewMax = 1000
/** How often what nobody has said a version of is tried again when others change it at the same time. */
const attemptsMax = 5

const askErrors = defineErrors({
  PageSize: ['InvalidArgument', 'pageSize must be a whole number from 1.'],
  PageToken: ['InvalidArgument', 'This page token does not belong to this list. Start again without one.'],
  Count: ['InvalidArgument', 'count must be a whole number from 1 to 1000.'],
})

/** What operators do with schedules. Everything is checked before anything is written, and what belongs together is written in one transaction. */
export function createScheduleAdmin(options: ScheduleAdminOptions): ScheduleAdmin {
  const { db, rows, history, queue, tasks, payloadMaxBytes, now, changed, log } = options

  async function there(which: string, on?: Database): Promise<ScheduleRow> {
    const row = await rows.get(which, on)
    if (!row) throw scheduleErrors.ScheduleNotFound()
    return row
  }

  const viewed = async (id: string): Promise<ScheduleView> => scheduleView(await there(id), await now())

  /** Changes one as it is: nobody else does before it is done. @returns how it is then */
  async function edit(
    which: string,
    change: (row: ScheduleRow, atMs: number, passing: Passing) => Promise<ScheduleChange | undefined>,
    note?: ScheduleNote,
  ) {
    const atMs = await now()
    const id = await db
      .tx(async tx => {
        const row = await there(which, tx)
        const said = await change(row, atMs, passBy({ tx, history, log, row, atMs }))
        if (!said) return row.id
        // Locked on a server, and SQLite has one writer; on no database has it another version.
        if (!(await rows.change(row.id, row.version, said, tx))) throw scheduleErrors.ScheduleChanged()
        await note?.(tx, { id: row.id, before: scheduleView(row, atMs), after: scheduleView(await there(row.id, tx), atMs) })
        return row.id
      })
      .catch(refuseTaken)
    changed()
    return viewed(id)
  }

  /** @param nowMs when its time is said anew */
  const check = (said: ScheduleDefinition, nowMs?: number): CheckedDefinition =>
    checkDefinition(said, { tasks, payloadMaxBytes, ...(nowMs !== undefined && { nowMs }) })

  return {
    async list({ pageSize = pageSizeDefault, pageToken } = {}) {
      const after = pageToken === undefined ? undefined : opened(pageToken, 'schedules')
      const size = sized(pageSize)
      const found = await rows.list(size + 1, after)
      const nowMs = await now()
      const items = found.slice(0, size).map(row => scheduleView(row, nowMs))
      const last = items.at(-1)
      return found.length > size && last ? { items, nextPageToken: db.seal.close(last.name, 'schedules') } : { items }
    },

    get: viewed,

    async preview(definition, count = previewDefault) {
      if (!Number.isInteger(count) || count < 1 || count > previewMax) throw askErrors.Count()
      const nowMs = await now()
      const { rules } = check(definition, nowMs)
      return nextTicks(rules, nowMs, count).map(toTimestamp)
    },

    async create(definition, note) {
      const atMs = await now()
      const { name, rules, task, payload } = check(definition, atMs)
      const [nextAtMs = null] = nextTicks(rules, atMs, 1)
      const row = { ...rules, name, task: task.name, payload, origin: 'database' as const, isPaused: false, declaredAtMs: null }
      const id = await db
        .tx(async tx => {
          const made = await rows.insert({ ...row, cursorMs: atMs, nextAtMs }, atMs, tx)
          await note?.(tx, { id: made, after: scheduleView(await there(made, tx), atMs) })
          return made
        })
        .catch(refuseTaken)
      changed()
      return viewed(id)
    },

    update: (which, change, version, note) => {
      const edited = async (row: ScheduleRow, atMs: number, passing: Passing) => {
        if (row.origin === 'code') throw scheduleErrors.ScheduleInCode()
        if (version !== undefined && version !== row.version) throw scheduleErrors.ScheduleChanged()
        const all = { ...definitionOf(row), ...withoutAbsent(change) }
        const { name, rules, task, payload } = check(all, all.cron === row.cron ? undefined : atMs)
        const said = { ...rules, name, task: task.name, payload }
        if (row.fault === undefined && isSaid(row, said)) return undefined
        const isAnew = rules.cron !== row.cron || rules.timeZone !== row.timeZone
        const cursorMs = isAnew ? Math.max(row.cursorMs, atMs) : row.cursorMs
        const missed = isAnew && !row.isPaused ? await passing.missed() : 0
        const bufferedMs = isAnew || rules.overlap !== row.overlap ? await passing.letBuffered() : row.bufferedMs
        const nextAtMs = row.isPaused ? null : bufferedMs !== null ? atMs : (nextTicks(rules, cursorMs, 1)[0] ?? null)
        return { ...said, cursorMs, nextAtMs, bufferedMs, missed: row.missed + missed, updatedAtMs: atMs }
      }
      return edit(which, edited, note)
    },

    async remove(which, version, note) {
      for (let attempt = 1; ; attempt++) {
        const row = await there(which)
        if (version !== undefined && version !== row.version) throw scheduleErrors.ScheduleChanged()
        const nowMs = await now()
        if (isDeclared(row, nowMs)) throw scheduleErrors.ScheduleInCode()
        const isRemoved = await db.tx(async tx => {
          const isDone = await rows.remove(row.id, row.version, tx)
          if (isDone) await note?.(tx, { id: row.id, before: scheduleView(row, nowMs) })
          return isDone
        })
        if (isRemoved) break
        if (attempt === attemptsMax) throw scheduleErrors.ScheduleChanged()
      }
      changed()
    },

    pause(which, note) {
      const paused = async (row: ScheduleRow, atMs: number, passing: Passing) => {
        if (row.isPaused) return undefined
        const missed = row.missed + (await passing.missed())
        const bufferedMs = await passing.letBuffered()
        return { isPaused: true, nextAtMs: null, cursorMs: Math.max(row.cursorMs, atMs), missed, bufferedMs, updatedAtMs: atMs }
      }
      return edit(which, paused, note)
    },

    resume(which, note) {
      const resumed = async (row: ScheduleRow, atMs: number) => {
        if (!row.isPaused) return undefined
        // What has passed meanwhile is decided: nothing was to be done.
        const cursorMs = Math.max(row.cursorMs, atMs)
        return { isPaused: false, cursorMs, nextAtMs: cursorMs, updatedAtMs: atMs }
      }
      return edit(which, resumed, note)
    },

    async run(which, note) {
      const atMs = await now()
      // So that runs of other schedules do not wait for the gaps between ticks.
      return db.tx(
        async tx => {
          const row = await there(which, tx)
          const { task, payload } = check(definitionOf(row))
          const taskId = `schedule:${row.id}:run:${Bun.randomUUIDv7('base64url')}`
          const headers = { [scheduleHeaders.name]: row.name, [scheduleHeaders.tick]: toTimestamp(atMs) }
          await queue.enqueue(task, payload, { tx, id: taskId, headers, keepForMs: Math.max(task.defaults.keepForMs, tickKeptMs) })
          await history.addManual(tx, { scheduleId: row.id, atMs, taskId })
          await note?.(tx, { id: row.id, name: row.name, taskId })
          return { taskId }
        },
        { isolation: 'read committed' },
      )
    },

    async history(which, { pageSize = pageSizeDefault, pageToken } = {}) {
      const size = sized(pageSize)
      const { id } = await there(which)
      const purpose = `ticks of ${id}`
      const found = await history.list(id, size + 1, pageToken === undefined ? undefined : cursorOf(opened(pageToken, purpose)))
      const shown = found.slice(0, size)
      const last = shown.at(-1)
      const items = shown.map(tickView)
      if (found.length <= size || !last) return { items }
      return { items, nextPageToken: db.seal.close(`${last.tickMs} ${last.what === 'manual'}`, purpose) }
    },
  }

  function opened(pageToken: string, purpose: string): string {
    const text = db.seal.open(pageToken, purpose)
    if (text === undefined) throw askErrors.PageToken()
    return text
  }
}

function sized(pageSize: number): number {
  if (!Number.isInteger(pageSize) || pageSize < 1) throw askErrors.PageSize()
  return Math.min(pageSize, pageSizeMax)
}

function cursorOf(text: string): TickCursor {
  const [tickMs, isManual] = text.split(' ')
  return { tickMs: Number(tickMs), isManual: isManual === 'true' }
}

const defined = ['name', 'cron', 'timeZone', 'task', 'payload', 'overlap', 'catchUp', 'catchUpWindowMs', 'jitterMs'] as const

/** What can be said of it, of all that is known. */
const definitionOf = (row: ScheduleRow): ScheduleDefinition => {
  const { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs } = row
  return { name, cron, timeZone, task, payload, overlap, catchUp, catchUpWindowMs, jitterMs }
}

const isSaid = (row: ScheduleRow, said: Pick<ScheduleRow, (typeof defined)[number]>) =>
  defined.every(field => Bun.deepEquals(row[field], said[field]))

const withoutAbsent = (change: Partial<ScheduleDefinition>): Partial<ScheduleDefinition> =>
  Object.fromEntries(Object.entries(change).filter(([, value]) => value !== undefined))

/** Whoever has the name, and when. */
function refuseTaken(thrown: unknown): never {
  if (!(thrown instanceof UniqueViolation)) throw thrown
  throw scheduleErrors.ScheduleNameTaken({ cause: thrown, problems: [{ pointer: '/name', detail: 'is taken' }] })
}
