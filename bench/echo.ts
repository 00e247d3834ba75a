import { apiKey, everyone, user } from '@/core/access'
import { controller } from '@/core/controller'
import type { Identifier } from '@/core/identity'
import { defineModule } from '@/core/module'
import { Type } from '@/core/schema'
import { Echo } from './schemas'

/** The key of a service, which reads users. There is one more process only that knows it: the load. */
export const benchKey = 'bench'
const keys: Identifier = {
  takes: credential => credential === benchKey,
  identify: async () => ({
    identity: { kind: 'apiKey', id: benchKey, userId: undefined, scopes: new Set(['users:read']), requestsPerMinute: 0 },
    expiresAtMs: Number.MAX_SAFE_INTEGER,
    subjects: ['apiKey:bench'],
  }),
}

const Kind = Type.Object({ kind: Type.String() }, { additionalProperties: false })

/** The smallest module that reads and answers JSON: what is left is the cost of the layers around it. */
export const echo = defineModule({
  name: 'echo',
  needs: ['revocations'],
  create: () => ({
    biz: {},
    faces: {
      identifiers: { api: keys },
      api: controller({ prefix: '/echo', tags: ['Echo'] })
        .post('', ({ body }) => body, {
          body: Echo,
          parse: 'json',
          response: { 200: Echo },
          access: [everyone()],
          detail: { operationId: 'echo', summary: 'Echo' },
        })
        // The same route twice: what is between them is the cost of knowing who calls.
        .get('/open', () => ({ kind: 'x' }), {
          response: { 200: Kind },
          access: [everyone()],
          detail: { operationId: 'open', summary: 'For everyone' },
        })
        .get('/closed', () => ({ kind: 'x' }), {
          response: { 200: Kind },
          access: [user(), apiKey('users:read')],
          detail: { operationId: 'closed', summary: 'For those who are known' },
        }),
    },
  }),
})
