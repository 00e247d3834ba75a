import { withDeadline } from './deadline'
import type { Log } from './log'

/** Something a process runs: a server, a worker, a pool. Constructing one does nothing; `start` acts. */
export interface Service {
  readonly name: string
  /** Resolves when ready to do its work. */
  start(): Promise<void>
  /** Resolves when fully stopped. Safe before start, and twice. What is in flight is finished, not cut. */
  stop(): Promise<void>
}

/** Several that are started in their order and stopped at the same time: each then has the whole deadline. */
export function together(services: readonly Service[]): Service {
  return {
    name: services.map(({ name }) => name).join(', '),
    async start() {
      for (const service of services) await service.start()
    },
    async stop() {
      const ends = await Promise.allSettled(services.map(service => service.stop()))
      const failed = ends.find(end => end.status === 'rejected')
      if (failed) throw failed.reason
    },
  }
}

/** Where a process stands. `/readyz` answers 200 only while `ready`; servers say `Connection: close` once `draining`. */
export class Readiness {
  #state: 'starting' | 'ready' | 'draining' = 'starting'
  readonly #watchers = new Set<() => void>()

  get state() {
    return this.#state
  }
  set state(state) {
    this.#state = state
    for (const changed of this.#watchers) changed()
  }

  /** @returns what ends it */
  watch(changed: () => void): () => void {
    this.#watchers.add(changed)
    return () => void this.#watchers.delete(changed)
  }
}

export interface ShutdownLimits {
  /** How long readiness is off before the servers stop accepting, so that load balancers notice; milliseconds. */
  drainMs: number
  /** How long what is in flight may take after that; milliseconds. */
  deadlineMs: number
}

/**
 * Runs services until `signal` aborts. Starts in order, stops in reverse, also when one of them fails to start.
 *
 * 1. Readiness off, so that load balancers send no more.
 * 2. Wait `drainMs` for that to be noticed, still answering.
 * 3. Stop the services in reverse order: each stops accepting and finishes what it has.
 * 4. What has not finished `deadlineMs` after step 3 began is abandoned, and the result says so.
 *
 * @returns the names of the services that did not stop in time; empty when all is well.
 */
export async function runServices(
  services: readonly Service[],
  readiness: Readiness,
  limits: ShutdownLimits,
  signal: AbortSignal,
  log: Log,
): Promise<string[]> {
  const started: Service[] = []
  try {
    for (const service of services) {
      if (signal.aborted) break
      // Noted before it starts: one that fails half-way may hold something, and stop is safe either way.
      started.push(service)
      await service.start()
    }
    if (!signal.aborted) {
      readiness.state = 'ready'
      log.info('ready')
      await aborted(signal)
    }
  } catch (thrown) {
    readiness.state = 'draining'
    await stopInReverse(started, limits.deadlineMs, log)
    throw thrown
  }
  const wasReady = readiness.state === 'ready'
  readiness.state = 'draining'
  log.info('draining', { reason: String(signal.reason), drainMs: limits.drainMs })
  // Nobody has been sent here before it was ready.
  if (wasReady) await Bun.sleep(limits.drainMs)
  return stopInReverse(started, limits.deadlineMs, log)
}

const aborted = (signal: AbortSignal) => new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true }))

/** When the deadline has been used up by one service, the others still get so long. */
const lastChanceMs = 250

async function stopInReverse(services: readonly Service[], deadlineMs: number, log: Log): Promise<string[]> {
  const deadline = performance.now() + deadlineMs
  const late: string[] = []
  for (const service of services.toReversed()) {
    const leftMs = Math.max(lastChanceMs, deadline - performance.now())
    try {
      await withDeadline(service.stop(), leftMs, () => new Error(`did not stop within ${Math.round(leftMs)} ms`))
    } catch (thrown) {
      // One that cannot stop must not keep the others from stopping.
      log.error('service failed to stop', { service: service.name, err: thrown })
      late.push(service.name)
    }
  }
  return late
}
