import {
  create,
  type DescMethod,
  type DescService,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from '@bufbuild/protobuf'
import * as grpc from '@grpc/grpc-js'
import type { AppError } from '@/core/error'
import { appErrorOf } from '@/infra/rpc/status'

/** A client of gRPC that is not ours: grpc-js with nothing around it, which says all that came over the wire. */

export interface RawAnswer<O = Buffer> {
  messages: O[]
  /** Of google.rpc.Code; 0 is OK. */
  code: number
  details: string
  /** What the status says, when it is one of an error. */
  error: AppError | undefined
  headers: grpc.Metadata | undefined
  trailers: grpc.Metadata
  /** From the call to its end. */
  tookMs: number
}

export interface RawOptions {
  metadata?: Readonly<Record<string, string | Buffer>>
  token?: string
  deadlineMs?: number
  /** The call is cancelled after so many messages, and counts as a success. */
  atMost?: number
}

/** For calls with bytes: what is in them no generated code has seen. */
export interface BytesClient {
  raw(path: string, bytes: Uint8Array, options?: RawOptions): Promise<RawAnswer>
  close(): void
}

type Methods<S extends DescService> = S['method']

export interface RawClient<S extends DescService> extends BytesClient {
  call<K extends keyof Methods<S>>(
    method: K,
    input: MessageInitShape<Methods<S>[K]['input']>,
    options?: RawOptions,
  ): Promise<RawAnswer<MessageShape<Methods<S>[K]['output']>>>
  /** A stream as grpc-js has it. */
  stream<K extends keyof Methods<S>>(
    method: K,
    input: MessageInitShape<Methods<S>[K]['input']>,
    options?: RawOptions,
  ): grpc.ClientReadableStream<MessageShape<Methods<S>[K]['output']>>
}

/** @param address with its port, also as a server says it: `grpc://127.0.0.1:50051` */
export function rawClient(address: string): BytesClient
export function rawClient<S extends DescService>(address: string, service: S, channel?: grpc.ChannelCredentials): RawClient<S>
export function rawClient<S extends DescService>(address: string, service?: S, channel = grpc.credentials.createInsecure()) {
  const client = new grpc.Client(address.replace(/^\w+:\/\//, ''), channel)

  // A unary call is a stream of one message, of which it says more.
  const begin = <O>(path: string, bytes: Uint8Array, read: (bytes: Buffer) => O, options: RawOptions = {}) =>
    client.makeServerStreamRequest(path, Buffer.from, read, bytes, metadataOf(options), {
      deadline: Date.now() + (options.deadlineMs ?? 10_000),
    })
  const methodOf = (name: PropertyKey): DescMethod => service?.method[name as string] as DescMethod
  const stream: RawClient<S>['stream'] = (name, input, options) => {
    const method = methodOf(name)
    const bytes = toBinary(method.input, create(method.input, input as never))
    return begin(`/${method.parent.typeName}/${method.name}`, bytes, read => fromBinary(method.output, read), options) as never
  }
  return {
    stream,
    call: ((name, input, options) => answered(stream(name, input, options), options)) as RawClient<S>['call'],
    raw: (path: string, bytes: Uint8Array, options?: RawOptions) =>
      answered(
        begin(path, bytes, read => read, options),
        options,
      ),
    close: () => client.close(),
  }
}

function answered<O>(call: grpc.ClientReadableStream<O>, { atMost = Number.POSITIVE_INFINITY }: RawOptions = {}): Promise<RawAnswer<O>> {
  const beganMs = performance.now()
  const messages: O[] = []
  let headers: grpc.Metadata | undefined
  call.on('metadata', received => {
    headers = received
  })
  call.on('data', message => {
    messages.push(message)
    if (messages.length >= atMost) call.cancel()
  })
  // The status says it.
  call.on('error', () => {})
  return new Promise(resolve =>
    call.on('status', ({ code: said, details, metadata }: grpc.StatusObject) => {
      const code = messages.length >= atMost ? 0 : said
      const error = code === 0 ? undefined : appErrorOf({ code, details, metadata })
      resolve({ messages, code, details, error, headers, trailers: metadata, tookMs: performance.now() - beganMs })
    }),
  )
}

function metadataOf({ metadata = {}, token }: RawOptions): grpc.Metadata {
  const all = new grpc.Metadata()
  for (const [name, value] of Object.entries(metadata)) all.set(name, value)
  if (token !== undefined) all.set('authorization', `Bearer ${token}`)
  return all
}
