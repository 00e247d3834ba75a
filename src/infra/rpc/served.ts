import type { DescMessage, DescService, Message } from '@bufbuild/protobuf'
import type { Access } from '@/core/access'
import { StartError } from '@/core/error'
import type { RpcCall, RpcMethod, RpcService } from '@/core/rpc'
import type { RateClass } from '@/core/rate-limit'
import { namesOf } from './grpc'

/** A method as the server runs it, whatever its messages are. */
export interface ServedMethod {
  /** `/bingo.user.v1.UserService/GetUser` */
  readonly path: string
  /** `bingo.user.v1.UserService/GetUser`: in logs and metrics. */
  readonly name: string
  readonly input: DescMessage
  readonly output: DescMessage
  readonly access: readonly Access[]
  readonly rateClass: RateClass
  /** Asked every few seconds by machines, also while the house is closed: nobody is recognized for it, and only streams are counted. */
  readonly isProbe: boolean
  /** Of gRPC itself: its streams go on for as long as their callers like, and end when the process stops. */
  readonly isBuiltIn: boolean
  params(input: Message): Readonly<Record<string, string>>
  readonly run: Unary | ServerStream | Bidi
}
interface Unary {
  readonly kind: 'unary'
  answer(input: Message, call: RpcCall): Promise<object>
}
interface ServerStream {
  readonly kind: 'serverStream'
  answers(input: Message, call: RpcCall): AsyncIterable<object>
}
/** Of the library of gRPC itself; services of modules have none. */
interface Bidi {
  readonly kind: 'bidi'
  answers(inputs: AsyncIterable<Message>, call: RpcCall): AsyncIterable<object>
}

/**
 * @param options see `ServedMethod`
 * @throws StartError for a service that is not complete, which its types do not let be
 */
export function servedMethods({ desc, methods }: RpcService, { isBuiltIn = false, isProbe = false } = {}): ServedMethod[] {
  return desc.methods.map(method => {
    const declared = methods[method.localName]
    if (!declared) throw new StartError(`the service ${desc.typeName} has no method ${method.localName}; add it to its rpcService`)
    return {
      ...namesOf(desc, method),
      ...{ input: method.input, output: method.output, access: declared.access, isBuiltIn, isProbe },
      // NO_SIDE_EFFECTS: what reads.
      rateClass: method.idempotency === 1 ? 'read' : 'write',
      params: input => declared.params?.(input) ?? {},
      run: runOf(desc, method.methodKind, declared),
    }
  })
}

function runOf({ typeName }: DescService, kind: string, method: RpcMethod): ServedMethod['run'] {
  if (kind === 'unary') return { kind, answer: method.run as Unary['answer'] }
  if (kind === 'server_streaming') return { kind: 'serverStream', answers: method.run as unknown as ServerStream['answers'] }
  throw new StartError(`the service ${typeName} has a method to which callers stream; let them send several messages, or lists`)
}
