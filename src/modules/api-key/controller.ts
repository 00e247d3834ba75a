import { t } from 'elysia'
import { user } from '@/core/access'
import { askingOf } from '@/core/asking'
import { controller, pageQuery, userOf } from '@/core/controller'
import { created } from '@/core/etag'
import { revocationMaxMs } from '@/core/revocations'
import type { ApiKeyBiz } from './biz'
import { ApiKey, ApiKeyPage, MadeApiKey, NewApiKey } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the key.' }) })
// Not keys: one that could make others would never expire.
const access = [user()]

/** A user's own keys. */
export const apiKeyController = (biz: ApiKeyBiz) =>
  controller({ prefix: '/me/api-keys', tags: ['API keys'] })
    .post('', async ({ body, set, request, route }) => created(await biz.create(userOf(request).id, body, askingOf(request)), set, route), {
      body: NewApiKey,
      parse: 'json',
      response: { 201: MadeApiKey },
      sets: ['Location'],
      givesSecrets: true,
      limit: 'credentials',
      access,
      fails: ['Conflict', 'Aborted', 'ResourceExhausted'],
      detail: { operationId: 'createApiKey', summary: 'Make an API key, which is shown once' },
    })
    .get('', ({ query, request }) => biz.list(userOf(request).id, query), {
      query: pageQuery,
      response: { 200: ApiKeyPage },
      access,
      detail: { operationId: 'listApiKeys', summary: 'List your API keys, the newest first' },
    })
    .get('/:id', ({ params, request }) => biz.get(userOf(request).id, params.id), {
      params,
      response: { 200: ApiKey },
      access,
      fails: ['NotFound'],
      detail: { operationId: 'getApiKey', summary: 'Get an API key of yours' },
    })
    .delete(
      '/:id',
      async ({ params, request, set }) => {
        await biz.remove(userOf(request).id, params.id, askingOf(request))
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access,
        fails: ['NotFound'],
        detail: { operationId: 'deleteApiKey', summary: `Delete an API key, which ends it within ${revocationMaxMs / 1000} seconds` },
      },
    )
