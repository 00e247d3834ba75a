import { type Of, Type } from '@/core/schema'
import { SignUp, User } from '@/modules/user/schema'

/** What every server under test takes and answers; Fastify gets the same schemas as JSON. */
export const Echo = Type.Object(
  {
    id: Type.Integer(),
    name: Type.String({ maxLength: 64 }),
    email: Type.String({ maxLength: 254 }),
    tags: Type.Array(Type.String({ maxLength: 32 }), { maxItems: 16 }),
    active: Type.Boolean(),
  },
  { additionalProperties: false },
)
export type Echo = Of<typeof Echo>

export const echoBody: Echo = {
  id: 4711,
  name: 'Ada Lovelace',
  email: 'ada@example.com',
  tags: ['mathematics', 'engines', 'notes'],
  active: true,
}

export const wireSchemas = { Echo, SignUp, User }
