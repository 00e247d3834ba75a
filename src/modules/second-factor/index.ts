import { defineModule } from '@/core/module'
import { auditEvent } from '@/modules/audit-event'
import { session } from '@/modules/session'
import { audits, secondFactorBiz } from './biz'
import { recoveryCodes, secondFactors } from './schema'
import { recoveryCodeStore, secondFactorStore } from './store'

/** What administrators log in with besides their password. Their routes are those of the module admin-me. */
export const secondFactor = defineModule({
  name: 'second-factor',
  needs: ['db', 'clock', 'log', 'cipher', 'totp', 'throttle', 'revocations', 'settings'],
  uses: { session, auditEvent },
  tables: [secondFactors, recoveryCodes],
  audits,
  create(ports, { session: sessions, auditEvent: audit }) {
    return { biz: secondFactorBiz({ ...ports, factors: secondFactorStore, codes: recoveryCodeStore, sessions, audit }), faces: {} }
  },
})
export type { SecondFactorBiz } from './biz'
export { codeMessages, GivenCode, SecondFactor, secondFactorErrors } from './schema'
