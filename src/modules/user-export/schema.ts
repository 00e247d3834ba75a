import { dayMs } from '@/core/clock'
import { defineErrors } from '@/core/error'
import { defineTask } from '@/core/queue/task'
import { Bytes, Id, Input, type Of, OneOf, Timestamp, Type, Page } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const exportErrors = defineErrors({
  ExportNotFound: ['NotFound', 'There is no such export.'],
  ExportNotDone: ['FailedPrecondition', 'The export has no content to fetch: its state is not done.'],
  TooManyExports: ['ResourceExhausted', 'There are as many exports as may be kept. Delete one, or wait until one expires.'],
  ExportTaken: ['Conflict', 'This task has an export already.'],
  ChunkTaken: ['Conflict', 'This chunk is written already.'],
})

/** For so long after it has ended an export is kept, with its content. */
export const keptMs = dayMs
/** Most exports that are kept at a time, whatever their state. */
export const keptMax = 50
/** Users of one chunk, which are in memory at a time. */
export const chunkRowsMax = 1000
/** More than so many users can take: a row of the longest texts is under 2 KiB. */
const chunkBytesMax = 4 * 1024 * 1024

export const Format = OneOf(['csv', 'ndjson'], {
  description: 'csv: RFC 4180 with a header; formulas are defused. ndjson: one JSON object a line, exact.',
})
export type Format = Of<typeof Format>
const Status = OneOf(['active', 'suspended'], { description: 'Only users of this status; all when absent.' })
export const ExportState = OneOf(['waiting', 'running', 'done', 'failed', 'cancelled'], {
  description: 'done: the content can be fetched. failed: it will not be tried again by itself.',
})

/** How far an export is. The row decides who may write: whoever changes it says the version that it has seen. */
export const userExports = defineTable(
  'userExport',
  {
    format: Format,
    status: Type.Optional(Status),
    state: ExportState,
    taskId: Type.String({ maxLength: 128, description: 'Of the task that makes it, for `bingo task show`.' }),
    lastUserId: Type.Optional(Id('The last user that is in a chunk; what comes next begins behind.')),
    chunks: Type.Integer({ minimum: 0, description: 'How many are written, numbered from 1.' }),
    rows: Type.Integer({ minimum: 0, description: 'Users written so far.' }),
    bytes: Type.Integer({ minimum: 0, description: 'Size of what is written so far.' }),
    total: Type.Optional(Type.Integer({ minimum: 0, description: 'How many users there were when it began; absent when nobody knows.' })),
    error: Type.Optional(Type.String({ maxLength: 1000, description: 'Why it has failed.' })),
    startedAt: Type.Optional(Timestamp('When it began.')),
    endedAt: Type.Optional(Timestamp('When it was done, failed or was cancelled.')),
    expiresAt: Type.Optional(Timestamp('When it is removed, with its content.')),
  },
  { unique: [{ columns: ['taskId'], taken: exportErrors.ExportTaken }], sortable: ['createdAt'] },
)
export type UserExportTable = typeof userExports
export type UserExportRow = RowOf<UserExportTable>

/** The content, in pieces that fit in memory: processes share no disk, and any of them may be asked for it. */
export const userExportChunks = defineTable(
  'userExportChunk',
  {
    exportId: Id(),
    number: Type.Integer({ minimum: 1 }),
    rows: Type.Integer({ minimum: 0 }),
    content: Bytes(chunkBytesMax, 'A piece of the file; it ends at the end of a line.'),
  },
  { unique: [{ columns: ['exportId', 'number'], taken: exportErrors.ChunkTaken }] },
)

/** What of a user is exported: a list, so that a new column stays inside until someone adds it here. */
export const exportedColumns = ['id', 'username', 'email', 'nickname', 'status', 'createdAt', 'updatedAt', 'version'] as const
export type ExportedUser = Readonly<Partial<Record<(typeof exportedColumns)[number], string | number>>>

const shown = ['id', 'format', 'status', 'state', 'taskId', 'rows', 'bytes', 'total', 'error', 'createdAt', 'startedAt', 'endedAt'] as const
export const UserExport = Type.Object(
  {
    ...Type.Pick(userExports.schema, [...shown, 'expiresAt']).properties,
    progress: Type.Optional(Type.Number({ minimum: 0, maximum: 1, description: 'How much is done: 0–1. Absent when nobody knows.' })),
  },
  { additionalProperties: false },
)
export type UserExport = Of<typeof UserExport>

export const UserExportPage = Page(UserExport)
export type UserExportPage = Of<typeof UserExportPage>

export const NewUserExport = Input({ format: Format, status: Type.Optional(Status) }, { description: 'What to export, and how.' })
export type NewUserExport = Of<typeof NewUserExport>

/** Which export: one that was asked for, or, without its id, a new one of the task's own. */
export const ExportUsers = Input({ exportId: Type.Optional(Id()), format: Type.Optional(Format), status: Type.Optional(Status) })
export type ExportUsers = Of<typeof ExportUsers>
export const exportUsers = defineTask('user.export', ExportUsers, { queue: 'bulk', byHand: 'users:export' })

/** Enqueued with each export, for when its time is over. Does the rest of a removal, too. */
export const removeExport = defineTask('user.removeExport', Input({ exportId: Id() }), {
  queue: 'bulk',
  priority: 4,
  byHand: 'never',
})
