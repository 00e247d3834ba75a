import { status as library } from '@grpc/grpc-js'
import { codeName, codes } from './grpc'
import { expect, test } from 'bun:test'
import { create, toBinary } from '@bufbuild/protobuf'
import { anyPack } from '@bufbuild/protobuf/wkt'
import { AppError, type Kind, kinds } from '@/core/error'
import { ErrorInfoSchema } from '@/proto/generated/google/rpc/error_details_pb.js'
import { StatusSchema } from '@/proto/generated/google/rpc/status_pb.js'
import { appErrorOf, callErrors, detailsKey, type RpcStatus, statusOf } from './status'

/** As grpc-js hands over what was on the wire. */
const received = ({ code, details, bin }: RpcStatus) => ({
  code,
  details,
  metadata: { get: (key: string) => (key === detailsKey ? [bin] : []) },
})
const carried = (error: AppError) => appErrorOf(received(statusOf(error)))

test('every kind of error is the same again behind the wire', () => {
  for (const kind of Object.keys(kinds) as Kind[]) {
    const error = carried(new AppError(kind, 'Reason', 'Do this instead.'))
    expect({ kind: error.kind, code: error.code, message: error.message }).toEqual({
      kind,
      code: `${kind}.Reason`,
      message: 'Do this instead.',
    })
  }
})

test('problems, scopes and when to come back are carried', () => {
  const problems = [
    { pointer: '/ids/0', detail: 'must be an id' },
    { pointer: 'after_id', detail: 'must be an id — of a user' },
  ]
  const error = carried(
    new AppError('InvalidArgument', 'Fields', 'No.', { problems, scopes: ['users:read', 'users:list'], retryAfterSeconds: 1.5 }),
  )
  expect(error.problems).toEqual(problems)
  expect(error.scopes).toEqual(['users:read', 'users:list'])
  expect(error.retryAfterSeconds).toBe(1.5)
})

test('the cause of an error stays where it is', () => {
  const status = statusOf(new AppError('Unavailable', 'Database', 'Try again.', { cause: new Error('secret of the house') }))
  expect(Buffer.from(status.bin).toString('latin1')).not.toContain('secret')
  expect(status.code).toBe(14)
})

test('what clients take in trailers is enough for any error', () => {
  const problems = Array.from({ length: 50 }, (_, i) => ({ pointer: `/${'x'.repeat(100)}/${i}`, detail: 'y'.repeat(200) }))
  const status = statusOf(new AppError('Unprocessable', 'Fields', 'z'.repeat(10_000), { problems }))
  expect((status.bin.length * 4) / 3 + status.details.length).toBeLessThan(8192)
  const error = appErrorOf(received(status))
  expect(error.code).toBe('Unprocessable.Fields')
  expect(error.problems.length).toBeGreaterThan(5)
  expect(error.problems).toEqual(problems.slice(0, error.problems.length))
})

test('a cancelled call has the code of its own', () => {
  expect(statusOf(callErrors.Cancelled()).code).toBe(1)
  expect(carried(callErrors.Cancelled()).code).toBe('Timeout.Cancelled')
})

test('what others say, and what is no status at all, becomes an error by its code', () => {
  const foreign = create(StatusSchema, {
    details: [
      anyPack(ErrorInfoSchema, create(ErrorInfoSchema, { reason: 'X', domain: 'example.com', metadata: { code: 'Conflict.Taken' } })),
    ],
  })
  const bins = [undefined, new Uint8Array([255, 255, 255]), toBinary(StatusSchema, foreign)]
  for (const bin of bins) {
    const of = (code: number) => appErrorOf({ code, details: 'said there', metadata: { get: () => (bin ? [bin] : []) } })
    expect(of(14).code).toBe('Unavailable.Unreachable')
    for (const setting of ['rpc.target', 'rpc.tlsCaFile']) expect(of(14).message).toContain(setting)
    expect(of(4).code).toBe('Timeout.Deadline')
    expect(of(5).kind).toBe('NotFound')
    expect(of(5).message).toBe('said there')
    expect(of(13).code).toBe('Internal.Unexpected')
    expect(of(13).message).not.toContain('said there')
    expect(of(99).kind).toBe('Internal')
  }
  expect(appErrorOf({ code: 14, details: 'No connection established' }).kind).toBe('Unavailable')
})

test('codes are those of the library, by their names', () => {
  expect<object>(codes).toEqual(Object.fromEntries(Object.entries(library).filter(([, code]) => typeof code === 'number')))
  expect([codeName(0), codeName(14), codeName(99)]).toEqual(['OK', 'UNAVAILABLE', 'UNKNOWN'])
})
