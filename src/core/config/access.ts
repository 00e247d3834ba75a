import { OneOf, secret, Type } from '../schema'
import { section } from './section'

/** The settings of who may do what, and how often. */

const perMinute = (fallback: number, description: string) =>
  Type.Integer({ minimum: 0, maximum: 10_000_000, default: fallback, description })

export const account = section('Accounts of users.', {
  signUp: OneOf(['open', 'closed'], {
    default: 'open',
    description: 'Whether anybody may sign up, until an administrator says otherwise at /admin/v1/settings.',
  }),
})

export const auth = section('Keys, and the access tokens that are signed with them.', {
  key: Type.Optional(
    secret(
      Type.String({
        description:
          'Root key, at least 32 random bytes in base64 or hex. With SQLite it is made once and kept beside the database; with MySQL it must be given.',
      }),
    ),
  ),
  issuer: Type.String({
    pattern: '^[\\x21-\\x7e]{1,200}$',
    default: 'bingo',
    description: 'Who access tokens are from, their iss: another for each installation. Changed, all tokens have to be refreshed.',
  }),
  accessTtlMs: Type.Integer({
    minimum: 1000,
    maximum: 3_600_000,
    default: 600_000,
    description: 'How long an access token is good for; then the client refreshes it.',
  }),
  keyRotationMs: Type.Integer({
    minimum: 86_400_000,
    maximum: 365 * 86_400_000,
    default: 30 * 86_400_000,
    description: 'After how long the next key signs access tokens, give or take a day. Keys follow each other by themselves.',
  }),
})

export const session = section('How long people stay logged in.', {
  idleTtlMs: Type.Integer({
    minimum: 60_000,
    maximum: 365 * 86_400_000,
    default: 14 * 86_400_000,
    description: 'A session ends when its tokens have not been refreshed for so long.',
  }),
  ttlMs: Type.Integer({
    minimum: 60_000,
    maximum: 2 * 365 * 86_400_000,
    default: 90 * 86_400_000,
    description: 'A session ends after so long in any case.',
  }),
  graceMs: Type.Integer({
    minimum: 0,
    maximum: 60_000,
    default: 10_000,
    description:
      'For so long a refresh token that was just used gives the same next one again, for clients that have lost an answer or refresh twice at once; after that its session ends.',
  }),
  perAccountMax: Type.Integer({
    minimum: 1,
    maximum: 1000,
    default: 20,
    description: 'Sessions of one account. With one more, the one that was not used for longest ends.',
  }),
})

export const limit = section('Requests that a caller may make in any 60 seconds, of all processes together. 0 = any number.', {
  readPerMinute: perMinute(6000, 'Of a user or a key, those that only read.'),
  writePerMinute: perMinute(1800, 'Of a user or a key, those that change something.'),
  credentialsPerMinute: perMinute(300, 'From one address, and of a user, those that log in, sign up, or ask for codes or try them.'),
  anonymousPerMinute: perMinute(
    1800,
    'From one address, or one /64 of IPv6, the others of those who have not logged in; and as many credentials that are not valid.',
  ),
})

export const password = section('Password hashing.', {
  concurrency: Type.Integer({
    minimum: 1,
    maximum: 64,
    default: 2,
    description: 'Passwords hashed at a time; each takes a core for about 30 ms and 19 MiB.',
  }),
  queueLimit: Type.Integer({
    minimum: 0,
    maximum: 100_000,
    default: 256,
    description: 'Passwords that may wait to be hashed; more are answered 503 with Retry-After.',
  }),
})
