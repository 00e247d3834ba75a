import { StartError } from '@/core/error'
import type { RpcFace, RpcService } from '@/core/rpc'

/**
 * The services of a process, for those who serve them and for those who call them here.
 * @throws StartError when two modules have the same one: on the wire nothing tells which of them is meant
 */
export async function servicesOf(faces: readonly RpcFace[]): Promise<RpcService[]> {
  const services = await Promise.all(faces.map(face => face()))
  const names = new Set<string>()
  for (const { desc } of services) {
    if (names.has(desc.typeName))
      throw new StartError(`two modules serve ${desc.typeName}; leave it in the face rpc of one, or give the other a service of its own`)
    names.add(desc.typeName)
  }
  return services
}
