import { create } from '@bufbuild/protobuf'
import { timestampFromMs } from '@bufbuild/protobuf/wkt'
import { GetUserResponseSchema, UserStatus } from '@/proto/generated/bingo/user/v1/user_pb.js'

/** What is asked and answered, by the product and by its peer. */
export const question = { by: { case: 'id', value: '0192f7a1-0000-7000-8000-000000000001' } } as const
const atMs = Date.parse('2026-01-31T09:05:00.000Z')
const id = question.by.value
/** As a biz answers: made anew for each call. */
export const answer = () =>
  create(GetUserResponseSchema, {
    user: {
      id,
      username: 'ada',
      email: 'ada@example.com',
      nickname: 'Ada Lovelace',
      status: UserStatus.ACTIVE,
      createdAt: timestampFromMs(atMs),
      updatedAt: timestampFromMs(atMs),
      version: 1,
    },
  })
