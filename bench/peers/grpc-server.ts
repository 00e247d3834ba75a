import { fromBinary, toBinary } from '@bufbuild/protobuf'
import { Server, ServerCredentials } from '@grpc/grpc-js'
import { GetUserRequestSchema, GetUserResponseSchema } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { answer } from '../rpc-messages'

/** grpc-js as its own examples use it, with the same messages. */
const server = new Server()
const getUser = {
  path: '/bingo.user.v1.UserService/GetUser',
  requestStream: false,
  responseStream: false,
  requestSerialize: () => Buffer.alloc(0),
  requestDeserialize: (bytes: Buffer) => fromBinary(GetUserRequestSchema, bytes),
  responseSerialize: (value: ReturnType<typeof answer>) => Buffer.from(toBinary(GetUserResponseSchema, value)),
  responseDeserialize: (bytes: Buffer) => fromBinary(GetUserResponseSchema, bytes),
} as const
server.addService(
  { getUser },
  { getUser: (_call: unknown, respond: (error: null, value: ReturnType<typeof answer>) => void) => respond(null, answer()) },
)
server.bindAsync(`127.0.0.1:${process.env['PEER_PORT']}`, ServerCredentials.createInsecure(), error => {
  if (error) throw error
})
