import { t } from 'elysia'
import { admin } from '@/core/access'
import { askingOf } from '@/core/asking'
import { adminOf, controller } from '@/core/controller'
import type { AdminMeBiz } from './biz'
import { Begun, CodeInput, Me, PasswordChange, RecoveryCodes, SetUp } from './schema'

/** What needs no permission, since it is the caller's own. */
export const adminMeController = (biz: AdminMeBiz) =>
  controller({ prefix: '/me', tags: ['Your account'] })
    .get('', ({ request }) => biz.get(adminOf(request)), {
      response: { 200: Me },
      access: [admin()],
      fails: ['NotFound'],
      detail: { operationId: 'getMe', summary: 'See who you are and what you may do' },
    })
    .post(
      '/password',
      async ({ body, request, set }) => {
        await biz.changePassword(adminOf(request), body, askingOf(request))
        set.status = 204
      },
      {
        body: PasswordChange,
        parse: 'json',
        response: { 204: t.Void() },
        access: [admin()],
        limit: 'credentials',
        fails: ['Unprocessable', 'NotFound', 'FailedPrecondition', 'ResourceExhausted'],
        detail: { operationId: 'changePassword', summary: 'Change your password' },
      },
    )
    .post(
      '/second-factor',
      async ({ body, request, set }) => {
        const begun = await biz.beginSecondFactor(adminOf(request), body, askingOf(request))
        set.status = 201
        return begun
      },
      {
        body: SetUp,
        parse: 'json',
        response: { 201: Begun },
        givesSecrets: true,
        access: [admin()],
        limit: 'credentials',
        fails: ['Unprocessable', 'Conflict', 'ResourceExhausted'],
        detail: {
          operationId: 'beginSecondFactor',
          summary: 'Begin to set up a second factor',
          description: 'Gives the secret for an authenticator app (TOTP, RFC 6238). It counts when a code of the app has been sent.',
        },
      },
    )
    .post(
      '/second-factor/confirm',
      async ({ body, request }) => ({
        recoveryCodes: await biz.confirmSecondFactor(adminOf(request), body.code, askingOf(request)),
      }),
      {
        body: CodeInput,
        parse: 'json',
        response: { 200: RecoveryCodes },
        givesSecrets: true,
        access: [admin()],
        limit: 'credentials',
        fails: ['Unprocessable', 'Conflict'],
        detail: {
          operationId: 'confirmSecondFactor',
          summary: 'Confirm it with the first code',
          description: 'From then on a code is needed to log in. Your other sessions end.',
        },
      },
    )
    .post(
      '/second-factor/recovery-codes',
      async ({ body, request }) => ({ recoveryCodes: await biz.renewCodes(adminOf(request).id, body.code, askingOf(request)) }),
      {
        body: CodeInput,
        parse: 'json',
        response: { 200: RecoveryCodes },
        givesSecrets: true,
        access: [admin()],
        limit: 'credentials',
        fails: ['Unprocessable', 'ResourceExhausted'],
        detail: { operationId: 'renewRecoveryCodes', summary: 'Make new recovery codes', description: 'The former ones are void.' },
      },
    )
    .post(
      '/second-factor/remove',
      async ({ body, request, set }) => {
        await biz.removeSecondFactor(adminOf(request).id, body.code, askingOf(request))
        set.status = 204
      },
      {
        body: CodeInput,
        parse: 'json',
        response: { 204: t.Void() },
        access: [admin(undefined, { isDangerous: true })],
        limit: 'credentials',
        fails: ['Unprocessable', 'ResourceExhausted'],
        detail: {
          operationId: 'removeSecondFactor',
          summary: 'Remove your second factor',
          description: 'Takes a code of it, in a body, which a DELETE does not have; so it is no DELETE.',
        },
      },
    )
