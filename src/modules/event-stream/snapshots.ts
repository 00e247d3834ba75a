import type { ProcessView } from '@/core/processes'
import type { Ports } from '@/core/ports'
import type { QueueStats } from '@/core/queue/admin'
import type { ScheduleView } from '@/core/schedule/admin'
import { type LiveProcess, type LiveSchedule, schedulesMax, type Snapshot, type Topic } from './schema'

/** Reads the state of a topic. */
export type TopicReader = () => Promise<Snapshot>

export const topicReaders = ({
  queueAdmin,
  schedules,
  processes,
}: Pick<Ports, 'queueAdmin' | 'schedules' | 'processes'>): Readonly<Record<Topic, TopicReader>> => ({
  // All of them: they are few.
  queues: async () => ({
    items: await Promise.all(queueAdmin.queues.map(async queue => liveQueue(await queueAdmin.stats(queue)))),
    isPartial: false,
  }),
  async schedules() {
    const { items, nextPageToken } = await schedules.list({ pageSize: schedulesMax })
    return { items: items.map(liveSchedule), isPartial: nextPageToken !== undefined }
  },
  processes: async () => ({ items: (await processes.list()).map(liveProcess), isPartial: false }),
})

/** As `GET /admin/v1/queues/{id}` shows it. */
const liveQueue = ({ queue, ...figures }: QueueStats) => ({ name: queue, ...figures })

const liveSchedule = ({ id, name, task, isPaused, next: [next], lastTick, missed, version }: ScheduleView): LiveSchedule => ({
  ...{ id, name, task, isPaused, missed, version },
  ...(next !== undefined && { next }),
  ...(lastTick !== undefined && { lastTick }),
})

const liveProcess = ({ id, roles, version, host, pid, startedAt, seenAt, isAlive }: ProcessView): LiveProcess => ({
  ...{ id, roles: [...roles], version, host, pid, startedAt, isAlive },
  ...(!isAlive && { seenAt }),
})
