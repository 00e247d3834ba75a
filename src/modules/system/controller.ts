import { admin } from '@/core/access'
import { controller } from '@/core/controller'
import { permission, type SystemBiz } from './biz'
import { System } from './schema'

export const systemController = (biz: SystemBiz) =>
  controller({ prefix: '/system', tags: ['System'] }).get('', () => biz.get(), {
    response: { 200: System },
    access: [admin(permission)],
    detail: {
      operationId: 'getSystem',
      summary: 'See which processes run, and whether what they work with is there',
      description: 'Whether each dependency is there is asked by the process that answers, within two seconds.',
    },
  })
