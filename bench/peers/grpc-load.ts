import { create, fromBinary, type MessageShape, toBinary } from '@bufbuild/protobuf'
import { Client, credentials } from '@grpc/grpc-js'
import { GetUserRequestSchema, GetUserResponseSchema } from '@/proto/generated/bingo/user/v1/user_pb.js'
import { question } from '../rpc-messages'
import { callOnCommand } from '../rpc-rounds'

/** A client of grpc-js with nothing around it: no credentials, no retries, and no deadline. */
const client = new Client(`127.0.0.1:${process.env['PEER_PORT']}`, credentials.createInsecure())
const write = (value: MessageShape<typeof GetUserRequestSchema>) => Buffer.from(toBinary(GetUserRequestSchema, value))
const read = (bytes: Buffer) => fromBinary(GetUserResponseSchema, bytes)
await callOnCommand(
  () =>
    new Promise((resolve, reject) => {
      client.makeUnaryRequest('/bingo.user.v1.UserService/GetUser', write, read, create(GetUserRequestSchema, question), (error, value) =>
        error || !value ? reject(error) : resolve(value),
      )
    }),
)
