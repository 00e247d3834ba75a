import { t } from 'elysia'
import { apiKey, everyone, owner, user } from '@/core/access'
import { addressOf } from '@/core/address'
import { askingOf } from '@/core/asking'
import { controller, ifMatch, userIdOf, userOf } from '@/core/controller'
import { expectedBy, tagged } from '@/core/etag'
import { Account } from '@/modules/user'
import type { AccountBiz } from './biz'
import { Accepted, CodeInput, PasswordChange, Reset, ResetRequest } from './schema'

const params = t.Object({ id: t.String({ maxLength: 64, description: 'Id of the user.' }) })

export const accountController = (biz: AccountBiz) =>
  controller({ prefix: '', tags: ['Account'] })
    .get('/me', async ({ request, set }) => tagged(await biz.get(userIdOf(request)), set), {
      response: { 200: Account },
      sets: ['ETag'],
      access: [user(), apiKey('users:read')],
      fails: ['NotFound'],
      detail: { operationId: 'getMe', summary: 'Get your account' },
    })
    .post(
      '/me/password',
      async ({ body, request, set }) => {
        await biz.changePassword(userOf(request), body, addressOf(request))
        set.status = 204
      },
      {
        body: PasswordChange,
        parse: 'json',
        response: { 204: t.Void() },
        limit: 'credentials',
        access: [user()],
        fails: ['Aborted', 'ResourceExhausted'],
        detail: { operationId: 'changePassword', summary: 'Change your password, which ends your other sessions' },
      },
    )
    .post(
      '/me/email-verification',
      async ({ request, set }) => {
        await biz.requestVerification(userOf(request).id)
        set.status = 202
        return { message: 'If your address is not verified yet, it has been sent a code.' }
      },
      {
        response: { 202: Accepted },
        limit: 'credentials',
        access: [user()],
        detail: { operationId: 'requestEmailVerification', summary: 'Have a code sent to your address' },
      },
    )
    .post(
      '/me/email-verification/confirm',
      async ({ body, request, set }) => tagged(await biz.verifyEmail(userOf(request).id, body), set),
      {
        body: CodeInput,
        parse: 'json',
        response: { 200: Account },
        sets: ['ETag'],
        limit: 'credentials',
        access: [user()],
        fails: ['Aborted'],
        detail: { operationId: 'verifyEmail', summary: 'Show that you read the mail of your address' },
      },
    )
    .post(
      '/password-resets',
      async ({ body, set }) => {
        await biz.requestReset(body)
        set.status = 202
        return { message: 'If there is an account with this address, it has been sent a code.' }
      },
      {
        body: ResetRequest,
        parse: 'json',
        response: { 202: Accepted },
        limit: 'credentials',
        access: [everyone()],
        detail: { operationId: 'requestPasswordReset', summary: 'Have a code sent to somebody who has forgotten the password' },
      },
    )
    .post(
      '/password-resets/confirm',
      async ({ body, request, set }) => {
        await biz.reset(body, addressOf(request))
        set.status = 204
      },
      {
        body: Reset,
        parse: 'json',
        response: { 204: t.Void() },
        limit: 'credentials',
        access: [everyone()],
        fails: ['Aborted'],
        detail: {
          operationId: 'resetPassword',
          summary: 'Choose another password with a code',
          description: 'All sessions end, and all API keys are deleted: somebody else may have made them. Make new ones for your programs.',
        },
      },
    )
    .delete(
      '/users/:id',
      async ({ params, headers, request, set }) => {
        await biz.remove(params.id, expectedBy(headers['if-match']), askingOf(request))
        set.status = 204
      },
      {
        params,
        headers: ifMatch,
        response: { 204: t.Void() },
        access: [owner(), apiKey('users:delete')],
        fails: ['NotFound', 'FailedPrecondition'],
        detail: { operationId: 'deleteUser', summary: 'Delete a user, with sessions and API keys', tags: ['Users'] },
      },
    )
