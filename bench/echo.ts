import { everyone } from '@/core/access'
import { controller } from '@/core/controller'
import { defineModule } from '@/core/module'
import { Echo } from './schemas'

/** The smallest module that reads and answers JSON: what is left is the cost of the layers around it. */
export const echo = defineModule({
  name: 'echo',
  needs: [],
  create: () => ({
    biz: {},
    faces: {
      api: controller({ prefix: '/echo', tags: ['Echo'] }).post('', ({ body }) => body, {
        body: Echo,
        parse: 'json',
        response: { 200: Echo },
        access: [everyone()],
        detail: { operationId: 'echo', summary: 'Echo' },
      }),
    },
  }),
})
