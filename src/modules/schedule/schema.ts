import { yearMs } from '@/core/clock'
import { catchUpMax, overlaps, scheduleDefaults } from '@/core/schedule/schedule'
import { Id, Input, type Of, OneOf, Timestamp, type TSchema, Type, Page } from '@/core/schema'

/** What of schedules is on the wire. What a cron expression, a zone, a task and a payload may be is checked where schedules are kept. */

const Name = Type.String({
  maxLength: 64,
  pattern: '^[a-z][a-z0-9.-]{0,63}$',
  description: 'Small letters, digits, . and -, beginning with a letter, at most 64.',
  examples: ['users.nightly-export'],
})
const Cron = Type.String({
  minLength: 1,
  maxLength: 200,
  description: 'Five fields (minute, hour, day of month, month, day of week), or six with seconds first, or @hourly, @daily and so on.',
  examples: ['30 2 * * *'],
})
const TimeZone = Type.String({
  minLength: 1,
  maxLength: 64,
  description: `By its IANA name; ${scheduleDefaults.timeZone} when absent.`,
  examples: ['Europe/Berlin'],
})
const TaskName = Type.String({ minLength: 1, maxLength: 64, description: 'A task that some module declares.', examples: ['user.export'] })
const Payload = Type.Unknown({ description: 'What the task is to work on, as it has it; {} when absent.', examples: [{ format: 'csv' }] })
const Overlap = OneOf(overlaps, {
  description: `While the task of an earlier tick has not ended: allow enqueues beside it, skip lets the tick be, bufferOne enqueues when it has ended, cancelOther cancels it. ${scheduleDefaults.overlap} when absent.`,
  examples: ['skip'],
})
const CatchUp = Type.Union(
  [
    OneOf(['none', 'latest'], { description: 'None of the ticks that were missed, or the latest.' }),
    Type.Object(
      { all: Type.Integer({ minimum: 1, maximum: catchUpMax, description: 'At most so many, the newest.' }) },
      { additionalProperties: false },
    ),
  ],
  {
    description: `What is fired late of the ticks that were missed: none, latest, or {"all": 1–${catchUpMax}} of them. ${scheduleDefaults.catchUp} when absent.`,
    examples: ['latest'],
  },
)
const CatchUpWindowMs = Type.Integer({
  minimum: 1,
  maximum: yearMs,
  description: `Ticks that were missed longer ago are not fired any more. ${scheduleDefaults.catchUpWindowMs} (a day) when absent.`,
  examples: [scheduleDefaults.catchUpWindowMs],
})
const hourMs = 3_600_000
const JitterMs = Type.Integer({
  minimum: 0,
  maximum: hourMs,
  description: `Each tick is fired up to so much later. ${scheduleDefaults.jitterMs} when absent.`,
  examples: [30_000],
})

export const NewSchedule = Input(
  {
    name: Name,
    cron: Cron,
    timeZone: Type.Optional(TimeZone),
    task: TaskName,
    payload: Type.Optional(Payload),
    overlap: Type.Optional(Overlap),
    catchUp: Type.Optional(CatchUp),
    catchUpWindowMs: Type.Optional(CatchUpWindowMs),
    jitterMs: Type.Optional(JitterMs),
  },
  { description: 'What is to be enqueued, and when.' },
)
export type NewSchedule = Of<typeof NewSchedule>

export const SchedulePatch = Input(
  {
    name: Type.Optional(Name),
    cron: Type.Optional(Cron),
    timeZone: Type.Optional(orNull(TimeZone)),
    task: Type.Optional(TaskName),
    payload: Type.Optional(Payload),
    overlap: Type.Optional(orNull(Overlap)),
    catchUp: Type.Optional(orNull(CatchUp)),
    catchUpWindowMs: Type.Optional(orNull(CatchUpWindowMs)),
    jitterMs: Type.Optional(orNull(JitterMs)),
  },
  {
    description:
      'What to change, as a JSON Merge Patch (RFC 7396): null is as if it had never been said, and fields within payload are merged.',
  },
)
export type SchedulePatch = Of<typeof SchedulePatch>

export const Schedule = Type.Object(
  {
    id: Id(),
    name: shown(Name),
    origin: OneOf(['code', 'database'], { description: 'code: a module declares it, and it is changed there.' }),
    cron: shown(Cron),
    timeZone: shown(TimeZone),
    task: shown(TaskName),
    payload: Payload,
    overlap: Overlap,
    catchUp: CatchUp,
    catchUpWindowMs: CatchUpWindowMs,
    jitterMs: JitterMs,
    isPaused: Type.Boolean({ description: 'Its ticks pass by, and are not missed.' }),
    next: Type.Array(Timestamp('A tick.'), { description: 'The next five ticks, without jitter; none while it is paused.' }),
    lastTick: Type.Optional(Timestamp('The last tick that was fired.')),
    missed: Type.Integer({ minimum: 0, description: 'How many ticks were never fired.' }),
    createdAt: Timestamp('When it was made.'),
    updatedAt: Timestamp('When it was changed last; ticks change nothing of it.'),
    version: Type.Integer({ minimum: 1, description: 'One more with each change.' }),
  },
  { additionalProperties: false },
)
export type Schedule = Of<typeof Schedule>

export const Tick = Type.Object(
  {
    tick: Timestamp('The time for which it was due.'),
    what: OneOf(['fired', 'caughtUp', 'skipped', 'buffered', 'missed', 'manual'], {
      description:
        'fired: its task is enqueued. caughtUp: so, after it had been missed. skipped: an earlier one had not ended. buffered: it waits for that. missed: nobody fired it. manual: somebody ran it.',
    }),
    count: Type.Integer({ minimum: 1, description: 'Of missed ones, how many there were from this one on; 1000 are as many or more.' }),
    at: Timestamp('When that was decided.'),
    lateMs: Type.Integer({ minimum: 0, description: 'How much later than the tick, without jitter.' }),
    taskId: Type.Optional(Type.String({ description: 'Of the task, for `bingo task show`.' })),
    outcome: Type.Optional(
      OneOf(['pending', 'done', 'dead', 'cancelled', 'unknown'], {
        description: 'How its task has ended; pending until it has, unknown when that was never seen.',
      }),
    ),
  },
  { additionalProperties: false },
)
export type Tick = Of<typeof Tick>

export const SchedulePage = Page(Schedule)
export type SchedulePage = Of<typeof SchedulePage>
export const TickPage = Page(Tick)
export type TickPage = Of<typeof TickPage>

export const NextTicks = Type.Object(
  { next: Type.Array(Timestamp('A tick.'), { description: 'Fewer than were asked for when no more come.' }) },
  { additionalProperties: false },
)
export type NextTicks = Of<typeof NextTicks>

export const Run = Type.Object(
  { taskId: Type.String({ description: 'Of the task, for `bingo task show`.' }) },
  { additionalProperties: false },
)
export type Run = Of<typeof Run>

/** Of one that is there: whatever somebody has made of it by hand can be seen. */
function shown({ description = '', examples }: TSchema) {
  return Type.String({ description, examples: examples ?? [] })
}

/** For a patch: null takes what was said back. */
function orNull<S extends TSchema>(schema: S) {
  return Type.Union([schema, Type.Null()], { description: `${schema.description} null is as if it had not been said.` })
}
