import { t } from 'elysia'
import { admin, user } from '@/core/access'
import { askingOf } from '@/core/asking'
import { adminOf, controller, pageQuery, userOf } from '@/core/controller'
import { ChatLinkPage } from '@/modules/chat-link-record'
import type { ChatLinkBiz } from './biz'
import { LinkCode, NewChatLink } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the link.' }) })
const prefix = '/me/chat-links'
const tags = ['Chat links']
const made = {
  summary: 'Get a code that links a chat account to yours',
  description: 'It is shown once, and is good for ten minutes: send it to the bot from the chat account, in a private chat.',
}
const listed = 'List the chat accounts that are linked to yours, the newest first'
const deleted = 'End the link of a chat account, at once'

/** A user's own links. Keys cannot make any: a link does more than they do. */
export const chatLinkController = (biz: ChatLinkBiz) =>
  controller({ prefix, tags })
    .post(
      '',
      async ({ body, request, set }) => {
        const code = await biz.createCode(userOf(request).id, body, askingOf(request))
        set.status = 201
        return code
      },
      {
        body: NewChatLink,
        parse: 'json',
        response: { 201: LinkCode },
        givesSecrets: true,
        limit: 'credentials',
        access: [user()],
        fails: ['Unprocessable', 'Aborted', 'ResourceExhausted'],
        detail: { operationId: 'createChatLinkCode', ...made },
      },
    )
    .get('', ({ query, request }) => biz.list(userOf(request), query), {
      query: pageQuery,
      response: { 200: ChatLinkPage },
      access: [user()],
      detail: { operationId: 'listChatLinks', summary: listed },
    })
    .delete(
      '/:id',
      async ({ params, request, set }) => {
        await biz.remove(userOf(request), params.id, askingOf(request))
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access: [user()],
        fails: ['NotFound'],
        detail: { operationId: 'deleteChatLink', summary: deleted },
      },
    )

/** An administrator's own. */
export const adminChatLinkController = (biz: ChatLinkBiz) =>
  controller({ prefix, tags })
    .post(
      '',
      async ({ request, set }) => {
        const code = await biz.createAdminCode(adminOf(request), askingOf(request))
        set.status = 201
        return code
      },
      {
        response: { 201: LinkCode },
        givesSecrets: true,
        limit: 'credentials',
        access: [admin(undefined, { isDangerous: true })],
        fails: ['Aborted', 'ResourceExhausted'],
        detail: { operationId: 'createChatLinkCode', ...made },
      },
    )
    .get('', ({ query, request }) => biz.list(adminOf(request), query), {
      query: pageQuery,
      response: { 200: ChatLinkPage },
      access: [admin()],
      detail: { operationId: 'listChatLinks', summary: listed },
    })
    .delete(
      '/:id',
      async ({ params, request, set }) => {
        await biz.remove(adminOf(request), params.id, askingOf(request))
        set.status = 204
      },
      {
        params,
        response: { 204: t.Void() },
        access: [admin()],
        fails: ['NotFound'],
        detail: { operationId: 'deleteChatLink', summary: deleted },
      },
    )
