import { defineModule } from '@/core/module'
import { userCodeBiz } from './biz'
import { userCodes } from './schema'
import { userCodeStore } from './store'

/** Proofs that a user reads the mail of an address. */
export const userCode = defineModule({
  name: 'user-code',
  needs: ['db', 'clock'],
  tables: [userCodes],
  create(ports) {
    return { biz: userCodeBiz({ ...ports, codes: userCodeStore }), faces: {} }
  },
})
export type { UserCodeBiz } from './biz'
export { Code, codeErrors, type CodePurpose } from './schema'
