import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery } from '@/core/controller'
import { created } from '@/core/etag'
import { revocationMaxMs } from '@/core/revocations'
import type { ApiKeyBiz } from './biz'
import { ApiKey, ApiKeyPage, MadeApiKey, NewServiceKey } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the key.' }) })

/** Keys of services, which are nobody. */
export const serviceKeyController = (biz: ApiKeyBiz) =>
  controller({ prefix: '/api-keys', tags: ['API keys'] })
    .post('', async ({ body, request, set, route }) => created(await biz.createForService(body, askingOf(request)), set, route), {
      body: NewServiceKey,
      parse: 'json',
      response: { 201: MadeApiKey },
      sets: ['Location'],
      givesSecrets: true,
      access: [admin('api-keys:write', { isDangerous: true })],
      fails: ['Conflict', 'Aborted', 'PermissionDenied'],
      detail: {
        operationId: 'createServiceKey',
        summary: 'Make an API key for a service, which is shown once',
        description: 'For each scope of it you need the permission of the same name.',
      },
    })
    .get('', ({ query }) => biz.list(undefined, query), {
      query: pageQuery,
      response: { 200: ApiKeyPage },
      access: [admin('api-keys:read')],
      detail: { operationId: 'listServiceKeys', summary: 'List the API keys of services, the newest first' },
    })
    .get('/:id', ({ params }) => biz.get(undefined, params.id), {
      params,
      response: { 200: ApiKey },
      access: [admin('api-keys:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getServiceKey', summary: 'Get the API key of a service' },
    })
    .delete(
      '/:id',
      async ({ params, request, set }) => {
        await biz.remove(undefined, params.id, askingOf(request))
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access: [admin('api-keys:write', { isDangerous: true })],
        fails: ['NotFound'],
        detail: {
          operationId: 'deleteServiceKey',
          summary: `Delete the API key of a service, which ends it within ${revocationMaxMs / 1000} seconds`,
        },
      },
    )
