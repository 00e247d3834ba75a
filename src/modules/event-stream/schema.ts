import { defineErrors } from '@/core/error'
import { type Of, Timestamp, Type } from '@/core/schema'

/** What administrators are told of as it changes, without asking again: the state of a topic, whole, whenever it is another. */

export const topics = ['queues', 'schedules', 'processes'] as const
export type Topic = (typeof topics)[number]

/** What a topic needs is what asking for the same needs. */
export const topicPermissions: Readonly<Record<Topic, string>> = {
  queues: 'queues:read',
  schedules: 'schedules:read',
  processes: 'system:read',
}

const closed = { additionalProperties: false } as const

/** Of `GET /admin/v1/schedules/{id}`, what changes by itself and what it is known by. Its payload is asked for where it is wanted. */
export const LiveSchedule = Type.Object(
  {
    id: Type.String(),
    name: Type.String(),
    task: Type.String(),
    isPaused: Type.Boolean(),
    next: Type.Optional(Timestamp('When it fires next.')),
    lastTick: Type.Optional(Timestamp('The last tick that was fired.')),
    missed: Type.Integer({ minimum: 0 }),
    version: Type.Integer({ minimum: 1 }),
  },
  closed,
)
export type LiveSchedule = Of<typeof LiveSchedule>

/** Of `GET /admin/v1/system`. When one was last seen is said of those alone that are not alive: of the others it would change all the time. */
export const LiveProcess = Type.Object(
  {
    id: Type.String(),
    roles: Type.Array(Type.String()),
    version: Type.String(),
    host: Type.String(),
    pid: Type.Integer({ minimum: 0 }),
    startedAt: Timestamp('When it was started.'),
    isAlive: Type.Boolean(),
    seenAt: Type.Optional(Timestamp('When it was last seen.')),
  },
  closed,
)
export type LiveProcess = Of<typeof LiveProcess>

/** The data of an event. */
export interface Snapshot {
  items: readonly unknown[]
  /** There are more than are sent. */
  isPartial: boolean
}

/** Schedules of a snapshot, at most. */
export const schedulesMax = 500

/**
 * Why a stream has ended. `stopping`: the process stops; another answers. `credential`: log in, or refresh, and come again. `permission`: it
 * was taken. `unknown`: whether either is still good cannot be told. `slow`: what was sent was not read.
 */
export type EndReason = 'stopping' | 'credential' | 'permission' | 'unknown' | 'slow'
/** As the log and the metrics have it. `gone`: the reader went, so there is nobody to tell why. */
export const endReasons = ['stopping', 'credential', 'permission', 'unknown', 'slow', 'gone'] as const

export const eventStreamErrors = defineErrors({
  UnknownTopic: ['InvalidArgument', `There is no such topic; topics are ${topics.join(', ')}, with commas between them.`],
  StreamsFull: ['Unavailable', 'This process sends events to as many as it can; try again soon, or end another stream.'],
  TooManyStreams: ['ResourceExhausted', 'You have as many streams of events open as one administrator may; close one.'],
  Stopping: ['Unavailable', 'This process is about to stop; try again, and another will answer.'],
})
