import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery } from '@/core/controller'
import { downloadOf } from '@/core/download'
import type { UserExportBiz } from './biz'
import { NewUserExport, UserExport, UserExportPage } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the export.' }) })
const access = [admin('users:export')]
/** What takes all users out of here. */
const proven = [admin('users:export', { isDangerous: true })]

export const userExportController = (biz: UserExportBiz) =>
  controller({ prefix: '/user-exports', tags: ['User exports'] })
    .post(
      '',
      async ({ body, set, route, request }) => {
        const made = await biz.request(body, askingOf(request))
        set.status = 202
        set.headers['location'] = `${route}/${made.id}`
        return made
      },
      {
        body: NewUserExport,
        parse: 'json',
        response: { 202: UserExport },
        sets: ['Location'],
        access: proven,
        fails: ['ResourceExhausted'],
        detail: { operationId: 'exportUsers', summary: 'Export all users as a file' },
      },
    )
    .get('/:id', ({ params }) => biz.get(params.id), {
      params,
      response: { 200: UserExport },
      access,
      fails: ['NotFound'],
      detail: { operationId: 'getUserExport', summary: 'See how far an export is' },
    })
    .get('/:id/content', async ({ params, request }) => downloadOf(await biz.content(params.id, askingOf(request))), {
      params,
      response: { 200: t.String({ description: 'The file, as it was asked for.' }) },
      gives: ['text/csv', 'application/x-ndjson'],
      sets: ['Content-Disposition'],
      access: proven,
      fails: ['NotFound', 'FailedPrecondition'],
      detail: { operationId: 'getUserExportContent', summary: 'Fetch the file of an export that is done' },
    })
    .delete(
      '/:id',
      async ({ params, set, request }) => {
        await biz.remove(params.id, askingOf(request))
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access,
        fails: ['NotFound'],
        detail: { operationId: 'deleteUserExport', summary: 'Cancel an export that has not ended, or delete one that has' },
      },
    )
    .get('', ({ query }) => biz.list(query), {
      query: pageQuery,
      response: { 200: UserExportPage },
      access,
      detail: { operationId: 'listUserExports', summary: 'List exports, the newest first' },
    })
