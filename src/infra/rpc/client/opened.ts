import { create, fromBinary, toBinary } from '@bufbuild/protobuf'
import type { RpcService } from '@/core/rpc'
import { callErrors } from '../status'
import type { Answerer } from './outgoing'
import { createLocal, type LocalTools } from './local'
import type { Opened } from './methods'

/**
 * What calls need, loaded with the first of them.
 * @param here the services of this very process
 * @param network whoever answers for the others
 */
export function opened(here: readonly RpcService[], network: () => Answerer, tools: LocalTools): Opened {
  const names = new Set(here.map(({ desc }) => desc.typeName))
  const local = createLocal(here, tools)
  return {
    encode: (desc, input) => toBinary(desc.input, create(desc.input, input)),
    decode: (desc, bytes) => fromBinary(desc.output, bytes),
    answerer: service => (names.has(service) ? local : network()),
    late: () => callErrors.Deadline(),
  }
}
