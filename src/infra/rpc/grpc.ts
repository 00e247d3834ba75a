import type { DescMethod, DescService } from '@bufbuild/protobuf'

/**
 * The library of gRPC, loaded when the first call comes or goes: it takes 12 ms and 15 MB, which a process without calls keeps. What it
 * would write to standard error by itself is said by those who use it, in the log.
 */
export type Grpc = typeof import('@grpc/grpc-js')

let loading: Promise<Grpc> | undefined
export function loadGrpc(): Promise<Grpc> {
  loading ??= import('@grpc/grpc-js').then(grpc => {
    grpc.setLogger({ error: () => {}, info: () => {}, debug: () => {} })
    return grpc
  })
  return loading
}

/** Of google.rpc.Code. Here too, since whoever asks for one need not have loaded the library. */
export const codes = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
  UNAUTHENTICATED: 16,
} as const

const codeNames = Object.keys(codes)
export const codeName = (code: number): string => codeNames[code] ?? 'UNKNOWN'

/** What a method is called: `/bingo.user.v1.UserService/GetUser` on the wire, and without the slash in logs and metrics. */
export function namesOf({ typeName }: Pick<DescService, 'typeName'>, { name: method }: Pick<DescMethod, 'name'>) {
  const name = `${typeName}/${method}`
  return { path: `/${name}`, name }
}

/** What grpc-js writes as it is: a view of the bytes, not a copy. */
export const bufferOf = (bytes: Uint8Array): Buffer => Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
