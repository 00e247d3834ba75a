import { expect, test } from 'bun:test'
import { create, createFileRegistry, fromBinary, toBinary } from '@bufbuild/protobuf'
import { type FileDescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import { Client, credentials, Metadata } from '@grpc/grpc-js'
import {
  type ServerReflectionRequest,
  ServerReflectionRequestSchema,
  type ServerReflectionResponse,
  ServerReflectionResponseSchema,
} from '@/proto/generated/grpc/reflection/v1/reflection_pb.js'
import { UserService } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { rawClient } from '@/testing/rpc/raw-client'
import { startRpc } from '@/testing/rpc/server'

type Question = ServerReflectionRequest['messageRequest']

/** Asks one thing after the other in one stream, as tools do. */
async function ask(
  url: string,
  version: 'v1' | 'v1alpha',
  questions: readonly Question[],
): Promise<ServerReflectionResponse['messageResponse'][]> {
  const client = new Client(new URL(url).host, credentials.createInsecure())
  const call = client.makeBidiStreamRequest(
    `/grpc.reflection.${version}.ServerReflection/ServerReflectionInfo`,
    (request: ServerReflectionRequest) => Buffer.from(toBinary(ServerReflectionRequestSchema, request)),
    (bytes: Buffer) => fromBinary(ServerReflectionResponseSchema, bytes),
    new Metadata(),
    { deadline: Date.now() + 5000 },
  )
  for (const messageRequest of questions) call.write(create(ServerReflectionRequestSchema, { host: 'here', messageRequest }))
  call.end()
  const answers: ServerReflectionResponse['messageResponse'][] = []
  for await (const { messageResponse } of call as AsyncIterable<ServerReflectionResponse>) answers.push(messageResponse)
  client.close()
  return answers
}

const filesIn = (answer: ServerReflectionResponse['messageResponse'] | undefined): FileDescriptorProto[] =>
  answer?.case === 'fileDescriptorResponse'
    ? answer.value.fileDescriptorProto.map(bytes => fromBinary(FileDescriptorProtoSchema, bytes))
    : []

for (const version of ['v1', 'v1alpha'] as const)
  test(`tools learn by ${version} what there is, and how it is called`, async () => {
    await using running = await startRpc({})
    const [list, byName, bySymbol, ofMessage, ofItself, nothing, extensions, unset] = await ask(running.url, version, [
      { case: 'listServices', value: '' },
      { case: 'fileByFilename', value: 'bingo/user/v1/user.proto' },
      { case: 'fileContainingSymbol', value: 'bingo.user.v1.UserService.GetUser' },
      { case: 'fileContainingSymbol', value: 'bingo.user.v1.User' },
      { case: 'fileContainingSymbol', value: `grpc.reflection.${version}.ServerReflection` },
      { case: 'fileContainingSymbol', value: 'bingo.Nothing' },
      { case: 'allExtensionNumbersOfType', value: 'bingo.user.v1.User' },
      { case: undefined },
    ])
    expect(list?.case === 'listServicesResponse' && list.value.service.map(({ name }) => name)).toEqual([
      'bingo.user.v1.UserService',
      'grpc.health.v1.Health',
      'grpc.reflection.v1.ServerReflection',
      'grpc.reflection.v1alpha.ServerReflection',
    ])
    for (const answer of [byName, bySymbol, ofMessage])
      expect(filesIn(answer).map(({ name }) => name)).toEqual(['bingo/user/v1/user.proto', 'google/protobuf/timestamp.proto'])
    // What comes is enough to call it: it is put together without a file of ours.
    const registry = createFileRegistry(create(FileDescriptorSetSchema, { file: filesIn(bySymbol).toReversed() }))
    expect(registry.getService('bingo.user.v1.UserService')?.methods.map(({ name }) => name)).toEqual(
      UserService.methods.map(({ name }) => name),
    )
    expect(filesIn(ofItself).map(({ package: name }) => name)).toEqual([`grpc.reflection.${version}`])
    expect(nothing?.case === 'errorResponse' && nothing.value.errorCode).toBe(5)
    expect(extensions?.case === 'errorResponse' && extensions.value.errorCode).toBe(5)
    expect(unset?.case === 'errorResponse' && unset.value.errorCode).toBe(12)
  })

test('it is there on SQLite and not on MySQL, unless it is said otherwise', async () => {
  const isThere = async (reflection: boolean | undefined, url: string) => {
    const given = reflection === undefined ? {} : { reflection }
    await using running = await startRpc({}, { rpc: given, database: { url } })
    const client = rawClient(running.url, UserService)
    const { code } = await client.raw('/grpc.reflection.v1.ServerReflection/ServerReflectionInfo', new Uint8Array())
    client.close()
    return code !== 12
  }
  const [sqlite, mysql] = ['sqlite:./data/bingo.db', 'mysql://bingo@localhost/bingo']
  expect(await isThere(undefined, sqlite)).toBe(true)
  expect(await isThere(undefined, mysql)).toBe(false)
  expect(await isThere(true, mysql)).toBe(true)
  expect(await isThere(false, sqlite)).toBe(false)
})
