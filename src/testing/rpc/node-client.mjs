/**
 * A client of gRPC that has nothing of ours but the .proto files: run by Node, with grpc-js as it comes. It reads what it is to do as JSON
 * from its standard input, and writes what came of it: `node src/testing/rpc/node-client.mjs`.
 */
import { readFileSync } from 'node:fs'
import { text } from 'node:stream/consumers'
import { create, createFileRegistry, fromBinary, toBinary, toJson } from '@bufbuild/protobuf'
import { FileDescriptorProtoSchema, FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt'
import grpc from '@grpc/grpc-js'
import { UserService } from '../../proto/generated/bingo/user/v1/user_pb.js'
import { BadRequestSchema, ErrorInfoSchema } from '../../proto/generated/google/rpc/error_details_pb.js'
import { StatusSchema } from '../../proto/generated/google/rpc/status_pb.js'
import { Health } from '../../proto/generated/grpc/health/v1/health_pb.js'
import { ServerReflection } from '../../proto/generated/grpc/reflection/v1/reflection_pb.js'

const { address, tls, token, calls } = JSON.parse(await text(process.stdin))
const read = path => (path === undefined ? null : readFileSync(path))
const channel = tls ? grpc.credentials.createSsl(read(tls.ca), read(tls.key), read(tls.cert)) : grpc.credentials.createInsecure()
const client = new grpc.Client(address, channel)

const services = { user: UserService, health: Health, reflection: ServerReflection }
const kinds = { unary: 'makeUnaryRequest', server_streaming: 'makeServerStreamRequest', bidi_streaming: 'makeBidiStreamRequest' }

/** @returns how it ended, with all that was said */
function call(service, method, input, { metadata = {}, deadlineMs = 10_000, cancelAfter, anonymous = false, invalid = false } = {}) {
  const { typeName } = service
  const sent = new grpc.Metadata()
  if (token !== undefined && !anonymous) sent.set('authorization', `Bearer ${invalid ? 'nobody' : token}`)
  for (const [name, value] of Object.entries(metadata)) sent.set(name, value)
  const write = message => Buffer.from(toBinary(method.input, create(method.input, message)))
  const bytes = received => fromBinary(method.output, received)
  const path = `/${typeName}/${method.name}`
  const options = { deadline: Date.now() + deadlineMs }
  const said = { messages: [], headers: {}, beganMs: Date.now() }
  return new Promise(resolve => {
    const isUnary = method.methodKind === 'unary'
    const isBidi = method.methodKind === 'bidi_streaming'
    const answered = (_error, message) => message && said.messages.push(toJson(method.output, message))
    const args = [path, write, bytes, ...(isBidi ? [] : [input]), sent, options, ...(isUnary ? [answered] : [])]
    const under = client[kinds[method.methodKind]](...args)
    if (isBidi) {
      for (const each of input) under.write(each)
      under.end()
    }
    under.on('metadata', received => {
      said.headers = received.getMap()
    })
    under.on('data', message => {
      said.messages.push(toJson(method.output, message))
      if (said.messages.length === cancelAfter) under.cancel()
    })
    under.on('error', () => {})
    under.on('status', ({ code, details, metadata: trailers }) =>
      // The message of a unary call comes behind its status.
      setImmediate(() => resolve({ ...said, code, details, ...detailsOf(trailers), tookMs: Date.now() - said.beganMs })),
    )
  })
}

function detailsOf(trailers) {
  const [bin] = trailers.get('grpc-status-details-bin')
  if (!bin) return {}
  const found = {}
  for (const any of fromBinary(StatusSchema, bin).details) {
    if (any.typeUrl.endsWith('ErrorInfo')) found.info = toJson(ErrorInfoSchema, fromBinary(ErrorInfoSchema, any.value))
    if (any.typeUrl.endsWith('BadRequest')) found.badRequest = toJson(BadRequestSchema, fromBinary(BadRequestSchema, any.value))
  }
  return found
}

/** Calls a method by nothing but what reflection says of it. */
async function byReflection({ symbol, method, input }) {
  const [stream] = ServerReflection.methods
  const { messages } = await call(ServerReflection, stream, [{ messageRequest: { case: 'fileContainingSymbol', value: symbol } }])
  const files = messages[0].fileDescriptorResponse.fileDescriptorProto.map(each =>
    fromBinary(FileDescriptorProtoSchema, Buffer.from(each, 'base64')),
  )
  const service = createFileRegistry(create(FileDescriptorSetSchema, { file: files.reverse() })).getService(symbol)
  return call(
    service,
    service.methods.find(({ name }) => name === method),
    input,
  )
}

const answers = {}
for (const { as, service, method, input, times = 1, reflect, ...options } of calls) {
  const one = () =>
    reflect
      ? byReflection(reflect)
      : call(
          services[service],
          services[service].methods.find(({ name }) => name === method),
          input,
          options,
        )
  const all = await Promise.all(Array.from({ length: times }, one))
  answers[as] = times === 1 ? all[0] : { codes: [...new Set(all.map(({ code }) => code))], count: all.length }
}
console.log(JSON.stringify(answers))
client.close()
