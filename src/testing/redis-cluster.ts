import { Redis } from 'ioredis'
import { freePort, type OwnServer, type Server, startOwn } from './servers'

/** Three primaries on this machine; `url` names the first of them. */
export interface OwnCluster extends Server {
  nodes: readonly OwnServer[]
  [Symbol.asyncDispose](): Promise<void>
}

const slots = 16_384
const nodeTimeoutMs = 2000
const settleTimeoutMs = 30_000
const lookPauseMs = 20

/** @param options for each node */
export async function startCluster({ options = [] }: { options?: readonly string[] } = {}): Promise<OwnCluster> {
  const start = () =>
    startOwn('redis', () => [
      ...['--cluster-enabled', 'yes', '--cluster-node-timeout', String(nodeTimeoutMs)],
      // By default it is 10,000 more than the port, and there may be no such port.
      ...['--cluster-port', String(freePort())],
      ...options,
    ])
  const nodes = await Promise.all([start(), start(), start()])
  const clients = nodes.map(({ url }) => new Redis(url))
  const stop = async () => void (await Promise.all(nodes.map(node => node.stop())))
  try {
    await join(clients)
  } catch (thrown) {
    await stop()
    throw thrown
  } finally {
    for (const client of clients) client.disconnect()
  }
  return { url: nodes[0].url, nodes, stop, [Symbol.asyncDispose]: stop }
}

/** Gives the slot of a key that is not there to another node. Who asks for it where it was is sent on. */
export async function moveSlotOf(key: string, { nodes }: Pick<OwnCluster, 'nodes'>): Promise<void> {
  const clients = nodes.map(({ url }) => new Redis(url))
  try {
    const ids = await Promise.all(clients.map(client => client.call('CLUSTER', 'MYID')))
    const answers = await Promise.allSettled(clients.map(client => client.exists(key)))
    const from = answers.findIndex(({ status }) => status === 'fulfilled')
    const to = (from + 1) % nodes.length
    const slot = Number(await clients[to]?.call('CLUSTER', 'KEYSLOT', key))
    await clients[to]?.call('CLUSTER', 'SETSLOT', slot, 'IMPORTING', String(ids[from]))
    // Who gets it is told first, so that somebody has it at any time, and the others do not give it back.
    await clients[to]?.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(ids[to]))
    for (const client of clients) await client.call('CLUSTER', 'SETSLOT', slot, 'NODE', String(ids[to]))
  } finally {
    for (const client of clients) client.disconnect()
  }
}

async function join(clients: readonly Redis[]): Promise<void> {
  const [first, ...others] = clients
  if (!first) return
  const portion = Math.ceil(slots / clients.length)
  for (const [i, client] of clients.entries()) {
    await client.call('CLUSTER', 'ADDSLOTSRANGE', i * portion, Math.min((i + 1) * portion, slots) - 1)
    // Who has the same number as another gives itself one some time later, and takes back by it what has been moved meanwhile.
    await client.call('CLUSTER', 'SET-CONFIG-EPOCH', i + 1)
  }
  const deadline = performance.now() + settleTimeoutMs
  let metAtMs = Number.NEGATIVE_INFINITY
  while (!(await Promise.all(clients.map(client => isWhole(client, clients.length)))).every(Boolean)) {
    const nowMs = performance.now()
    if (nowMs > deadline) throw new Error('the nodes did not become a cluster')
    // A node that takes longer to answer is not met.
    if (nowMs - metAtMs > 2 * nodeTimeoutMs) {
      for (const client of others) await meet(first, client)
      metAtMs = nowMs
    }
    await Bun.sleep(lookPauseMs)
  }
}

async function meet(first: Redis, other: Redis): Promise<void> {
  const busPort = String(await other.call('CONFIG', 'GET', 'cluster-port')).split(',')[1] ?? ''
  await first.call('CLUSTER', 'MEET', '127.0.0.1', other.options.port ?? 0, busPort)
}

async function isWhole(client: Redis, count: number): Promise<boolean> {
  const info = String(await client.call('CLUSTER', 'INFO'))
  return info.includes('cluster_state:ok') && info.includes(`cluster_known_nodes:${count}`) && info.includes('cluster_slots_ok:16384')
}
