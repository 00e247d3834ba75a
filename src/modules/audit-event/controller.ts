import { t } from 'elysia'
import { admin } from '@/core/access'
import { askedBy, askingOf } from '@/core/asking'
import { auditOutcomes } from '@/core/audit'
import { controller, pageQuery } from '@/core/controller'
import { downloadOf } from '@/core/download'
import { OneOf } from '@/core/schema'
import type { AuditReadBiz } from './read.biz'
import { AuditEvent, AuditEventPage, fileFormats } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the event.' }) })
const exact = (description: string, maxLength: number) => t.Optional(t.String({ minLength: 1, maxLength, description }))
const instant = (description: string) =>
  t.Optional(t.String({ format: 'date-time', description: `${description} As 2026-01-31T09:05:00.000Z.` }))
const filters = {
  action: exact('Only this, such as user.suspend.', 64),
  actor: exact('Only what this one has done: admin:ID, commandLine.', 64),
  object: exact('Only what was done to this: user:ID, queue:mail.', 192),
  outcome: t.Optional(OneOf(auditOutcomes, { description: 'Only what came to this end.' })),
  requestId: exact('Only what this request has done.', 64),
  from: instant('Not before this instant.'),
  to: instant('Before this instant.'),
}
const listQuery = t.Object({ ...pageQuery.properties, ...filters }, { additionalProperties: false })
const exportQuery = t.Object(
  {
    format: t.Optional(
      OneOf(fileFormats, {
        description: 'csv: RFC 4180 with a header; formulas are defused; when absent. ndjson: one JSON object a line, exact.',
      }),
    ),
    ...filters,
  },
  { additionalProperties: false },
)

export const auditEventController = (biz: AuditReadBiz) =>
  controller({ prefix: '/audit-events', tags: ['Audit log'] })
    .get('', ({ query }) => biz.list(query), {
      query: listQuery,
      response: { 200: AuditEventPage },
      access: [admin('audit:read')],
      detail: { operationId: 'listAuditEvents', summary: 'See what administrators have done, the newest first' },
    })
    .get(
      '/export',
      async ({ query: { format = 'csv', ...filter }, request }) =>
        downloadOf(await biz.download(format, filter, askedBy(askingOf(request)))),
      {
        query: exportQuery,
        response: { 200: t.String({ description: 'The events, the oldest first.' }) },
        gives: ['text/csv', 'application/x-ndjson'],
        sets: ['Content-Disposition'],
        access: [admin('audit:export', { isDangerous: true })],
        detail: {
          operationId: 'exportAuditEvents',
          summary: 'Fetch what administrators have done as a file',
          description: 'That you have fetched it is an event of its own, which is in it.',
        },
      },
    )
    .get('/:id', ({ params }) => biz.get(params.id), {
      params,
      response: { 200: AuditEvent },
      access: [admin('audit:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getAuditEvent', summary: 'Get an event of the audit log' },
    })
