import { createInterface } from 'node:readline'

/**
 * What a contender does in a process of its own, told line by line on stdin and answering on stdout, so that no event loop is
 * shared with what measures it. It runs on Bun and on Node, so it uses nothing of either.
 */
export interface QueuePeer {
  /** One task a call, so many calls at a time. */
  enqueue(count: number, parallel: number): Promise<void>
  /** So many tasks a call, one call after another. @param keys how many keys they have in turn, under a limit; none when absent, and for contenders without limits */
  enqueueBulk(count: number, size: number, keys?: number): Promise<void>
  /**
   * Starts a worker whose handler does nothing.
   * @param perKey how many of a key may run at a time
   * @returns milliseconds from its first task until it has handled so many, and the queue knows it
   */
  drain(count: number, concurrency: number, perKey?: number): Promise<number>
  /** Starts a worker, lets it become idle, and enqueues so many tasks, one after another. @returns milliseconds from each enqueue to its handler */
  pickup(count: number): Promise<number[]>
  /** How many wait. */
  waiting(): Promise<number>
  clear(): Promise<void>
  close(): Promise<void>
}

export type Order =
  | { do: 'enqueue'; count: number; parallel: number }
  | { do: 'enqueueBulk'; count: number; size: number; keys?: number }
  | { do: 'drain'; count: number; concurrency: number; perKey?: number }
  | { do: 'pickup'; count: number }
  | { do: 'waiting' }
  | { do: 'clear' }
  | { do: 'close' }

export interface Answer {
  ms: number
  /** User and system time of this process. */
  cpuMicros: number
  result?: number | number[]
}

/** 200 bytes as JSON, and another with each task. */
export const payloadOf = (serial: number): { serial: number; text: string } => {
  const text = `{"serial":${serial},"text":""}`
  return { serial, text: 'x'.repeat(200 - text.length) }
}

/** Between two tasks for an idle worker, so that it has become idle again. */
export const idleMs = 5

/** Serves orders until told to close. */
export async function serve(peer: QueuePeer): Promise<void> {
  process.stdout.write('ready\n')
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line) as Order
    const startedMs = performance.now()
    const cpu = process.cpuUsage()
    const result = await obey(peer, order)
    const used = process.cpuUsage(cpu)
    const answer: Answer = {
      ms: performance.now() - startedMs,
      cpuMicros: used.user + used.system,
      ...(result !== undefined && { result }),
    }
    process.stdout.write(`${JSON.stringify(answer)}\n`)
    if (order.do === 'close') return
  }
}

async function obey(peer: QueuePeer, order: Order): Promise<number | number[] | undefined> {
  switch (order.do) {
    case 'enqueue':
      await peer.enqueue(order.count, order.parallel)
      return undefined
    case 'enqueueBulk':
      await peer.enqueueBulk(order.count, order.size, order.keys)
      return undefined
    case 'drain':
      return peer.drain(order.count, order.concurrency, order.perKey)
    case 'pickup':
      return peer.pickup(order.count)
    case 'waiting':
      return peer.waiting()
    case 'clear':
      await peer.clear()
      return undefined
    case 'close':
      await peer.close()
      return undefined
  }
}

/** Runs `work` `count` times, `parallel` at a time. */
export async function inParallel(count: number, parallel: number, work: (i: number) => Promise<unknown>): Promise<void> {
  let next = 0
  const lane = async () => {
    while (next < count) await work(next++)
  }
  await Promise.all(Array.from({ length: parallel }, lane))
}

/** Resolves when so many have been told of. */
export function countdown(count: number): { done: Promise<void>; some: (number: number) => void } {
  let left = count
  let resolve = () => {}
  // Node 20 has no Promise.withResolvers.
  const done = new Promise<void>(resolved => {
    resolve = resolved
  })
  return {
    done,
    some(number) {
      left -= number
      if (left <= 0) resolve()
    },
  }
}
