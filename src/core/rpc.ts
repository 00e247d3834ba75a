import type { DescMethod, DescService, MessageInitShape, MessageShape } from '@bufbuild/protobuf'
import type { Access } from './access'
import type { Asking } from './asking'

/** Services of gRPC, as modules offer and call them. What is on the wire is in `src/proto`, and the code of it is generated. */

/** What the handler of a method knows of its call. */
export interface RpcCall {
  /** Who calls, and from where. */
  readonly asking: Asking
  /** Aborts when the caller does not wait any more, has cancelled, may not have any more of a stream, or its deadline is over. */
  readonly signal: AbortSignal
}

type In<M extends DescMethod> = MessageShape<M['input']>
type Out<M extends DescMethod> = MessageInitShape<M['output']>
type Methods<S extends DescService> = S['method']

/**
 * A method of a service: who may call it, and what it does. Unary methods and those that answer with a stream; callers stream nothing. A
 * stream that goes on for longer than its caller may call the method is ended by the server, not by the method: `signal` aborts.
 */
export interface RpcMethod<M extends DescMethod = DescMethod> {
  /** Any one rule is enough. Enforced before the input is looked at by anybody. */
  readonly access: readonly Access[]
  /** What `owner()` means: as the parameters of a path, `{ id }`. */
  params?(input: In<M>): Readonly<Record<string, string>>
  /** Throws AppError, which is translated for the wire as everywhere. */
  run(input: In<M>, call: RpcCall): M['methodKind'] extends 'server_streaming' ? AsyncIterable<Out<M>> : Promise<Out<M>>
}

/** A service with all its methods, bound to no server. */
export interface RpcService {
  readonly desc: DescService
  readonly methods: Readonly<Record<string, RpcMethod>>
}

/**
 * Makes a service when it is first needed, so that only those load the generated code who serve it or call it: it takes a tenth of a start,
 * and 15 MB. `() => import('./rpc').then(({ noteRpc }) => noteRpc(biz))`; asked as often as one likes.
 */
export type RpcFace = () => Promise<RpcService>

/** The methods of a service, in the file `rpc.ts` of a module: a method that is not there, or does not fit its description, is a compile error. */
export const rpcService = <S extends DescService>(desc: S, methods: { readonly [K in keyof Methods<S>]: RpcMethod<Methods<S>[K]> }) =>
  ({ desc, methods: methods as unknown as RpcService['methods'] }) satisfies RpcService

export interface CallOptions {
  /**
   * How long the caller waits, 1–600,000 ms. When absent `rpc.timeoutMs`, and for a stream as long as it goes on: it is to begin in that time.
   * Less, when whoever is served by the call waits for less.
   */
  timeoutMs?: number
  /** Cancels the call. */
  signal?: AbortSignal
}

/** The methods of a service elsewhere, or in this very process. They throw AppError, as biz does. */
export type RpcClient<S extends DescService> = {
  readonly [K in keyof Methods<S>]: Methods<S>[K] extends infer M extends DescMethod
    ? (
        input: MessageInitShape<M['input']>,
        options?: CallOptions,
      ) => M['methodKind'] extends 'server_streaming' ? AsyncIterable<MessageShape<M['output']>> : Promise<MessageShape<M['output']>>
    : never
}

/**
 * Services of other processes. Where a process serves one itself, and `rpc.target` says nothing else, its biz is called directly; over the
 * network otherwise. Which of the two it is, callers cannot tell.
 */
export interface RpcClients {
  /**
   * Connects when it is first called.
   * @param scopes what the methods that are called need, such as `users:read`: the caller says no more of itself than that
   */
  client<S extends DescService>(service: S, options: { scopes: readonly string[] }): RpcClient<S>
}
