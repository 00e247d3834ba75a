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
import { AppError } from '@/core/error'
import { detailsKey, statusOf } from '@/infra/rpc/status'

/** A gRPC server that is nobody's but the test's: grpc-js with nothing around it, whose answers a test writes. */
export interface ForeignServer {
  port: number
  /** What came in, in order. */
  calls: { method: string; metadata: grpc.Metadata; deadlineMs: number }[]
  /** Lets what is under way finish. */
  drain(): Promise<void>
  /** Cuts all connections. */
  kill(): void
}

export interface ForeignCall {
  metadata: grpc.Metadata
  signal: AbortSignal
  /** Sends the headers of the answer, before the answer. */
  begin(): void
}

export type ForeignMethods<S extends DescService> = {
  [K in keyof S['method']]?: (
    input: MessageShape<S['method'][K]['input']>,
    call: ForeignCall,
  ) => S['method'][K]['methodKind'] extends 'server_streaming'
    ? AsyncIterable<MessageInitShape<S['method'][K]['output']>>
    : Promise<MessageInitShape<S['method'][K]['output']>>
}

/** @param options `port` 0 for any. Methods throw AppError, or an object with `code` and `details` of gRPC itself. */
export async function startForeign<S extends DescService>(
  service: S,
  methods: ForeignMethods<S>,
  { port = 0, credentials = grpc.ServerCredentials.createInsecure(), host = '127.0.0.1' } = {},
): Promise<ForeignServer> {
  const server = new grpc.Server()
  const calls: ForeignServer['calls'] = []
  const definition = Object.fromEntries(service.methods.map(method => [method.localName, definitionOf(service, method)]))
  const handlers = service.methods.flatMap(method => {
    const run = methods[method.localName as keyof S['method']] as ((input: unknown, call: ForeignCall) => unknown) | undefined
    return run ? [[method.localName, handlerOf(method, run, calls)] as const] : []
  })
  server.addService(definition, Object.fromEntries(handlers) as grpc.UntypedServiceImplementation)
  const bound = await new Promise<number>((resolve, reject) =>
    server.bindAsync(`${host}:${port}`, credentials, (error, at) => (error ? reject(error) : resolve(at))),
  )
  return {
    port: bound,
    calls,
    drain: () => new Promise(resolve => server.tryShutdown(() => resolve())),
    kill: () => server.forceShutdown(),
  }
}

const definitionOf = (service: DescService, method: DescMethod): grpc.MethodDefinition<object, object> => ({
  path: `/${service.typeName}/${method.name}`,
  requestStream: false,
  responseStream: method.methodKind === 'server_streaming',
  requestSerialize: () => Buffer.alloc(0),
  requestDeserialize: bytes => fromBinary(method.input, bytes),
  responseSerialize: answer => Buffer.from(toBinary(method.output, create(method.output, answer as never))),
  responseDeserialize: () => ({}),
})

type Run = (input: unknown, call: ForeignCall) => unknown

function handlerOf(method: DescMethod, run: Run, calls: ForeignServer['calls']): grpc.UntypedHandleCall {
  const arrive = (call: grpc.ServerUnaryCall<object, object> | grpc.ServerWritableStream<object, object>) => {
    calls.push({ method: method.localName, metadata: call.metadata, deadlineMs: Number(call.getDeadline()) })
    const abort = new AbortController()
    ;(call as NodeJS.EventEmitter).on('cancelled', () => abort.abort())
    return run(call.request, { metadata: call.metadata, signal: abort.signal, begin: () => call.sendMetadata(new grpc.Metadata()) })
  }
  if (method.methodKind === 'unary')
    return (async (call, respond) => {
      try {
        respond(null, (await arrive(call)) as object)
      } catch (thrown) {
        respond(failureOf(thrown))
      }
    }) satisfies grpc.handleUnaryCall<object, object>
  return (async call => {
    try {
      for await (const each of arrive(call) as AsyncIterable<object>) {
        if (call.cancelled) break
        if (!call.write(each)) await new Promise(resolve => call.once('drain', resolve))
      }
      call.end()
    } catch (thrown) {
      call.emit('error', failureOf(thrown))
    }
  }) satisfies grpc.handleServerStreamingCall<object, object>
}

function failureOf(thrown: unknown): grpc.ServiceError {
  if (!(thrown instanceof AppError)) return Object.assign(new Error(), { metadata: new grpc.Metadata() }, thrown) as grpc.ServiceError
  const { code, details, bin } = statusOf(thrown)
  const metadata = new grpc.Metadata()
  metadata.set(detailsKey, Buffer.from(bin))
  return Object.assign(new Error(details), { code, details, metadata })
}
