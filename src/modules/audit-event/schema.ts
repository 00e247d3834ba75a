import { type AuditOutcome, auditOutcomes } from '@/core/audit'
import { defineErrors } from '@/core/error'
import { Id, type Of, OneOf, Page, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const auditErrors = defineErrors({
  EventNotFound: ['NotFound', 'There is no such audit event, or it was older than the audit log is kept.'],
  SeqTaken: ['Aborted', 'Somebody else has written to the audit log at the same moment. Try again.'],
  NotWritten: ['Unavailable', 'Nothing was done, since it could not be written to the audit log; try again soon.'],
  Period: ['InvalidArgument', 'from must be before to.'],
  Headless: ['Unavailable', 'The audit log has no head, so nothing can be written to it: the table auditHead has lost its row.'],
})

/** Characters of a change that are kept, before and after each; what is longer is kept as the beginning of its text. */
export const changeMax = 16_384
const lengths = { actor: 64, actorName: 64, address: 64, requestId: 64, action: 64, object: 192, reason: 128 } as const
/** In base64url: 256 bits. */
const hashLength = 43

const text = (name: keyof typeof lengths, description: string, examples: string[]) =>
  Type.String({ maxLength: lengths[name], description, examples })

/**
 * What was done, refused or has failed, one after another without a gap. Each row's hash is made of all its columns and of the hash before it, under
 * a key that the database does not have. Rows are added, never changed, and removed from the beginning only: see auditHeads.
 */
export const auditEvents = defineTable(
  'auditEvent',
  {
    seq: Type.Integer({ minimum: 1, description: 'One more than the event before it.' }),
    actor: Type.Optional(
      text('actor', 'Who has done it; absent for those whom nobody knows.', ['admin:01890a5d-ac96-774b-bcce-b302099a8057']),
    ),
    actorName: Type.Optional(text('actorName', 'What the actor was called at that moment.', ['grace'])),
    address: text('address', 'Where from.', ['192.0.2.7']),
    requestId: Type.Optional(text('requestId', 'Of the request, which lines of the log have, too.', ['7f3a9c-1'])),
    action: text('action', 'A noun and a verb.', ['user.suspend']),
    object: Type.Optional(text('object', 'What it was done to.', ['user:01890a5d-ac96-774b-bcce-b302099a8057'])),
    outcome: OneOf(auditOutcomes, { description: 'refused: it was not let be done. failed: it was begun, and has not come to its end.' }),
    reason: Type.Optional(text('reason', 'Why, where it was refused or has failed.', ['PermissionDenied.Permission'])),
    before: Type.Optional(Type.String({ description: 'What of it has changed, as it was: JSON.' })),
    after: Type.Optional(Type.String({ description: 'The same, as it is now: JSON.' })),
    hash: Type.String({ maxLength: hashLength, description: 'Of this event and all before it.' }),
  },
  {
    unique: [{ columns: ['seq'], taken: () => auditErrors.SeqTaken() }],
    sortable: ['createdAt'],
    indexes: [
      ['actor', 'createdAt'],
      ['action', 'createdAt'],
      ['object', 'createdAt'],
      ['outcome', 'createdAt'],
      ['requestId', 'createdAt'],
    ],
  },
)
export type AuditEventRow = RowOf<typeof auditEvents>

/**
 * One row, whose lock makes those who write stand in line: which event is the last, which was the last that was removed for its age, and since when
 * there is the log. The digest is of all of it, so that none can be made, or put elsewhere, by whoever has the database alone; an older row that was
 * true once can be played in again with its events, which only a head that is kept elsewhere tells.
 */
export const auditHeads = defineTable('auditHead', {
  seq: Type.Integer({ minimum: 0, description: 'Of the last event; 0 when there was none yet.' }),
  hash: Type.String({ maxLength: hashLength }),
  digest: Type.String({ maxLength: hashLength }),
  cutSeq: Type.Integer({ minimum: 0, description: 'Of the last event that was removed for its age; 0 when none was.' }),
  cutHash: Type.String({ maxLength: hashLength }),
  begunAt: Type.Optional(Timestamp('When the first event was written; absent, as all the rest of it, before that.')),
})
export type AuditHeadRow = RowOf<typeof auditHeads>
export const headId = '00000000-0000-7000-8000-000000000001'

const Change = (description: string) => Type.Optional(Type.Unknown({ description }))
const { seq, actor, actorName, address, requestId, action, object, outcome, reason, hash } = auditEvents.schema.properties
/** In the order in which they stand in files. */
export const AuditEvent = Type.Object(
  {
    ...{ seq, id: Id(), at: Timestamp('When.'), actor, actorName, address, requestId, action, object, outcome, reason },
    before: Change('What of it has changed, as it was. What was too long is a text, which is its beginning.'),
    after: Change('The same, as it is now.'),
    hash,
  },
  { additionalProperties: false },
)
export type AuditEvent = Of<typeof AuditEvent>

export const AuditEventPage = Page(AuditEvent)
export type AuditEventPage = Of<typeof AuditEventPage>

export const fileFormats = ['csv', 'ndjson'] as const
export type FileFormat = (typeof fileFormats)[number]

/** Which events; all of it must hold, and what is absent says nothing. */
export interface AuditFilter {
  action?: string
  actor?: string
  object?: string
  outcome?: AuditOutcome
  requestId?: string
  /** Not before this instant. */
  from?: string
  /** Before this instant. */
  to?: string
}

export const lengthOf = (name: keyof typeof lengths): number => lengths[name]
