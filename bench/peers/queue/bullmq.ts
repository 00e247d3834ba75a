import { Queue, Worker } from 'bullmq'
import { Redis } from 'ioredis'
import { countdown, idleMs, inParallel, payloadOf, type QueuePeer, serve } from './contract'

/**
 * BullMQ as its guide has it: a queue, and a worker with a concurrency. Jobs are removed when they are done, as the product's tasks
 * are; retries are not asked for, which would make each job larger.
 */
const url = process.env['BENCH_REDIS_URL'] ?? ''
const name = 'bench'
const connection = () => new Redis(url, { maxRetriesPerRequest: null })
const jobOptions = { removeOnComplete: true }

const queueConnection = connection()
const queue = new Queue(name, { connection: queueConnection, defaultJobOptions: jobOptions })

async function withWorker<T>(concurrency: number, begun: () => void, work: (worker: Worker) => Promise<T>): Promise<T> {
  const workerConnection = connection()
  const worker = new Worker(name, async () => begun(), { connection: workerConnection, concurrency })
  worker.on('error', () => {})
  try {
    return await work(worker)
  } finally {
    await worker.close()
    workerConnection.disconnect()
  }
}

const peer: QueuePeer = {
  enqueue: (count, parallel) => inParallel(count, parallel, i => queue.add('note', payloadOf(i))),
  async enqueueBulk(count, size) {
    for (let first = 0; first < count; first += size)
      await queue.addBulk(Array.from({ length: size }, (_, i) => ({ name: 'note', data: payloadOf(first + i) })))
  },
  drain(count, concurrency) {
    const { done, some } = countdown(count)
    let firstMs = 0
    return withWorker(
      concurrency,
      () => {
        firstMs ||= performance.now()
      },
      async worker => {
        worker.on('completed', () => some(1))
        await done
        return performance.now() - firstMs
      },
    )
  },
  async pickup(count) {
    const times: number[] = []
    let take: () => void = () => {}
    return withWorker(
      1,
      () => take(),
      async () => {
        // The first is not counted: it finds a worker that has just started.
        for (let i = 0; i <= count; i++) {
          await new Promise(resolve => setTimeout(resolve, idleMs))
          const handled = new Promise<void>(resolve => {
            take = resolve
          })
          const startedMs = performance.now()
          await queue.add('note', payloadOf(i))
          await handled
          if (i > 0) times.push(performance.now() - startedMs)
        }
        return times
      },
    )
  },
  waiting: () => queue.getWaitingCount(),
  clear: () => queue.obliterate({ force: true }),
  async close() {
    await queue.close()
    queueConnection.disconnect()
  },
}

await queue.waitUntilReady()
await serve(peer)
process.exit(0)
