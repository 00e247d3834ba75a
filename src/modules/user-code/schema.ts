import { defineErrors } from '@/core/error'
import { Id, OneOf, type Of, secret, Timestamp, Type } from '@/core/schema'
import { defineTable, type RowOf } from '@/core/table'

export const codeErrors = defineErrors({
  // The same for one that never was, is wrong, expired, used, or has been guessed at too often: each would help whoever guesses.
  CodeInvalid: ['Unprocessable', 'This code is not valid, or not any more. Ask for a new one.'],
  CodeTaken: ['Aborted', 'Another code was made at the same time. Try again.'],
})

export const CodePurpose = OneOf(['verifyEmail', 'resetPassword'], { description: 'What the code is good for.' })
export type CodePurpose = Of<typeof CodePurpose>

/** So many guesses at a code, right ones apart; then it is void. */
export const attemptsMax = 5

/**
 * Proofs that somebody reads the mail of an address: sent there, given back once. At most one is good for each user and purpose, the
 * newest.
 */
export const userCodes = defineTable(
  'userCode',
  {
    userId: Id(),
    purpose: CodePurpose,
    handle: Id('The half of the code by which it is found. Not the id, which stays when a new code takes the place of an old one.'),
    email: Type.String({ maxLength: 254, description: 'Where it was sent. When the user has another address by then, it is void.' }),
    // Fast, and not salted, which is right for what has 160 random bits.
    codeHash: secret(Type.String({ maxLength: 64, description: 'SHA-256 of the code.' })),
    attempts: Type.Integer({ minimum: 0, description: 'Guesses so far.' }),
    expiresAt: Timestamp('From when on it is void.'),
  },
  {
    unique: [
      { columns: ['userId', 'purpose'], taken: codeErrors.CodeTaken },
      { columns: ['handle'], taken: codeErrors.CodeTaken },
    ],
    indexes: [['expiresAt']],
  },
)
export type UserCodeTable = typeof userCodes
export type UserCodeRow = RowOf<UserCodeTable>

/** As it is sent: see `mintCode`. */
export const Code = Type.String({
  pattern: '^[A-Za-z0-9_-]{48}$',
  description: 'The code from the message, 48 characters.',
  examples: ['AZNTEGVKeUaPcmPJhYIFkAKzE0nX1yFh5tSM3T8qGxY0PLwd'],
})
