import type { Subprocess } from 'bun'
import type { Answer, Order } from './peers/queue/contract'
import { benchFolder, must, start } from './process'

/** A contender in its process. */
export interface Peer {
  name: string
  child: Subprocess
  next(): Promise<string>
}

/** BullMQ is written for Node, which reads no TypeScript. */
export async function forNode(name: string): Promise<string> {
  const outfile = `${benchFolder}/node_modules/.bench/${name}.mjs`
  const entry = `${benchFolder}/peers/queue/${name}.ts`
  await must([process.execPath, 'build', '--target=node', '--packages=external', entry, '--outfile', outfile])
  return outfile
}

export async function startPeer(name: string, command: readonly string[], env: Record<string, string>): Promise<Peer> {
  const child = start(command, { env: { ...env, NODE_ENV: 'production' }, core: 'server', stdout: 'pipe', stdin: 'pipe' })
  const lines = linesOf(child.stdout as ReadableStream<Uint8Array>)
  const next = async () => {
    const { value, done } = await lines.next()
    if (done) throw new Error(`${name} ended`)
    return value
  }
  await next()
  return { name, child, next }
}

async function* linesOf(stream: ReadableStream<Uint8Array>): AsyncGenerator<string, void> {
  const decoder = new TextDecoder()
  let rest = ''
  for await (const chunk of stream) {
    const parts = (rest + decoder.decode(chunk, { stream: true })).split('\n')
    rest = parts.pop() ?? ''
    yield* parts
  }
}

/** Has it do something, and waits until it has. */
export async function ask(peer: Peer, order: Order): Promise<Answer> {
  const input = peer.child.stdin as Bun.FileSink
  input.write(`${JSON.stringify(order)}\n`)
  await input.flush()
  return JSON.parse(await peer.next()) as Answer
}
