import type { Asking } from './asking'

/** A request of somebody who is known, and may not do what it asks for. */
export interface Denial {
  asking: Asking
  method: string
  /** Without its query. */
  path: string
  /** Of the error that it was answered with. */
  code: string
}

/** What is told of requests that are denied. It never throws, and nothing waits for it. */
export interface DenialWitness {
  denied(denial: Denial): void
  /** Called at the end, when no more come: resolves when all that it was told is where it belongs. */
  settle(): Promise<void>
}
