import { defineModule } from '@/core/module'
import { type AuditWriteBiz, auditEventBiz } from './biz'
import { auditEventController } from './controller'
import { readAudits, type AuditReadBiz, auditReadBiz } from './read.biz'
import { type AuditRetentionBiz, auditRetentionBiz } from './retention.biz'
import { auditEvents, auditHeads } from './schema'
import { createSighting } from './sighting.biz'
import { auditEventStore, auditHeadStore } from './store'
import { type AuditVerifyBiz, auditVerifyBiz } from './verify.biz'

/** What administrators have done, were refused and have failed to do. Modules write into it by `record` and `note` of core/audit.ts. */
export const auditEvent = defineModule({
  name: 'audit-event',
  needs: ['db', 'clock', 'cipher', 'log', 'settings'],
  tables: [auditEvents, auditHeads],
  permissions: [
    { name: 'audit:read', summary: 'See what administrators have done' },
    { name: 'audit:export', summary: 'Export what administrators have done as a file' },
  ],
  audits: [...readAudits, 'access.refused', 'audit-event.leave-out'],
  create(ports) {
    const tools = { ...ports, events: auditEventStore, heads: auditHeadStore, sighting: createSighting(ports.log) }
    const { denials, ...audit } = auditEventBiz(tools)
    const reading = auditReadBiz({ ...tools, audit })
    const biz = { ...audit, ...reading, ...auditVerifyBiz(tools), ...auditRetentionBiz(tools) }
    return { biz, faces: { admin: auditEventController(reading), denials: { admin: denials, bot: denials } } }
  },
})
export type { AuditRetentionBiz } from './retention.biz'
export { fileFormats } from './schema'
export type { ChainLink, Verdict } from './verify.biz'

export type AuditEventBiz = Omit<AuditWriteBiz, 'denials'> & AuditReadBiz & AuditVerifyBiz & AuditRetentionBiz
