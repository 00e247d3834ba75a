import { defineErrors } from '@/core/error'
import { Id, type Of, secret, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

/** What whoever logs in is told, and whoever changes the second factor, under statuses of their own. */
export const codeMessages = {
  CodeWrong: 'The code is wrong, or was used before. Wait for the next one of your app, and see that its clock is right.',
  CodesBlocked: 'Too many codes were wrong in a row. Use a recovery code, or ask an operator to remove your second factor.',
} as const

export const secondFactorErrors = defineErrors({
  SetUpAlready: ['Conflict', 'You have a second factor already. Remove it first.'],
  NotBegun: ['Unprocessable', 'No second factor is being set up, or not any more. Begin again.'],
  NotSetUp: ['Unprocessable', 'You have no second factor. Set one up first, at /admin/v1/me/second-factor.'],
  CodeWrong: ['Unprocessable', codeMessages.CodeWrong],
  CodesBlocked: ['Unprocessable', codeMessages.CodesBlocked],
})

/**
 * After so many wrong codes in a row only a recovery code is good (NIST SP 800-63B-4 §3.2.2): whoever knows the password guesses right in
 * 1 of 3,000 cases until then, and would in the end without it. Nobody else can bring it about, since codes are looked at after passwords.
 */
export const failuresMax = 100

/** What administrators log in with besides their password. One that is not confirmed yet counts for nothing. */
export const secondFactors = defineTable(
  'secondFactor',
  {
    administratorId: Id('Whose it is.'),
    sealedSeed: secret(Type.String({ maxLength: 255, description: 'The seed that the authenticator app has, too; encrypted.' })),
    keyId: Type.String({ maxLength: 16, description: 'Of the root key that it was encrypted with.' }),
    confirmedAt: Type.Optional(Timestamp('When a code of it was given for the first time.')),
    setUpUntil: Timestamp('From when on it is void, unless it was confirmed before.'),
    lastStep: Type.Integer({ minimum: 0, description: 'Of the clock: what was used. Codes of it and before are none.' }),
    failures: Type.Integer({ minimum: 0, description: 'Wrong codes in a row.' }),
  },
  { unique: [{ columns: ['administratorId'], taken: () => secondFactorErrors.SetUpAlready() }] },
)
export type SecondFactorTable = typeof secondFactors
export type SecondFactorRow = RowOf<SecondFactorTable>

/** Each is good once, for whoever has lost the app. */
export const recoveryCodes = defineTable(
  'recoveryCode',
  {
    administratorId: Id('Whose it is.'),
    codeHash: secret(Type.String({ maxLength: 43, description: 'Digest with a key, of administrator and code.' })),
  },
  { unique: [{ columns: ['administratorId', 'codeHash'], taken: () => secondFactorErrors.SetUpAlready() }] },
)

/** What leaves the process of it. */
export const SecondFactor = Type.Object(
  {
    confirmedAt: Timestamp('Since when it is needed.'),
    recoveryCodesLeft: Type.Integer({ minimum: 0, description: 'Make new ones before there is none.' }),
  },
  { additionalProperties: false },
)
export type SecondFactor = Of<typeof SecondFactor>

/** A code of either kind, as people copy it: spaces and dashes do not matter. */
export const GivenCode = Type.String({
  minLength: 1,
  maxLength: 64,
  description: 'The six digits that the authenticator app shows, or a recovery code. Each is good once.',
  examples: ['123456'],
})
