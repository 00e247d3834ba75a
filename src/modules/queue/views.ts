import type { FsckFinding, QueueStats } from '@/core/queue/admin'
import type { Finding, Queue } from './schema'

/** What leaves the process of a queue, which is no property of itself. */
export const queueView = ({ queue, ...figures }: QueueStats): Queue => ({ name: queue, ...figures })

export const findingView = ({ what, fixed, ...where }: FsckFinding): Finding => ({ ...where, problem: what, isFixed: fixed })
