import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, ifMatch } from '@/core/controller'
import { expectedBy, taggedWeakly } from '@/core/etag'
import type { SettingBiz } from './biz'
import { Settings, SettingsPatch } from './schema'

/** Tags are weak: what is in effect depends on the configuration, too. */
export const settingController = (biz: SettingBiz) =>
  controller({ prefix: '/settings', tags: ['Settings'] })
    .get('', async ({ set }) => taggedWeakly(await biz.get(), set), {
      response: { 200: Settings },
      sets: ['ETag'],
      access: [admin('settings:read')],
      detail: { operationId: 'getSettings', summary: 'See what was changed of the settings, and what holds' },
    })
    .patch(
      '',
      async ({ body, headers, request, set }) =>
        taggedWeakly(await biz.change(body, expectedBy(headers['if-match']), askingOf(request)), set),
      {
        headers: ifMatch,
        body: SettingsPatch,
        parse: 'json',
        response: { 200: Settings },
        sets: ['ETag'],
        access: [admin('settings:write', { isDangerous: true })],
        fails: ['Aborted', 'FailedPrecondition'],
        detail: {
          operationId: 'changeSettings',
          summary: 'Close the API server for maintenance, open or close sign-up, or change the level of the log',
          description: 'All processes know within two seconds. While the API server is closed, this one is not.',
        },
      },
    )
