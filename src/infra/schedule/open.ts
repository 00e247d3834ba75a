import type { Clock } from '@/core/clock'
import type { Config } from '@/core/config/settings'
import type { Log } from '@/core/log'
import type { Metrics } from '@/core/metrics'
import type { AnyTask } from '@/core/queue/task'
import type { ScheduleAdmin } from '@/core/schedule/admin'
import type { AnySchedule } from '@/core/schedule/schedule'
import type { Service } from '@/core/service'
import type { OpenDatabase } from '../database/driver'
import type { OpenQueue } from '../queue/open'
import { createScheduleAdmin } from './admin'
import { createScheduleClock } from './clock'
import { createHistory } from './history'
import { createScheduleRows } from './rows'
import { createScheduler, type Scheduler } from './service'

/** The schedules of this process: for operators, and for whoever fires them. */
export interface OpenSchedules {
  admin: ScheduleAdmin
  /** Fires what is due, until it is stopped. For processes of a role that fires schedules. @param declared of the code */
  firing(declared: readonly AnySchedule[]): Service
}

export interface ScheduleSurroundings {
  db: OpenDatabase
  queue: OpenQueue
  log: Log
  metrics: Metrics
  clock: Clock
  /** What schedules may name: what the roles that fire them declare, in whichever process. */
  tasks: readonly AnyTask[]
}

/** Asks nothing of the database before it is used. */
export function openSchedules(config: Config, { db, queue, log, metrics, clock: machine, tasks }: ScheduleSurroundings): OpenSchedules {
  const clock = createScheduleClock(db, machine)
  const schedulers: Scheduler[] = []
  const enqueuing = queue.enqueuing(tasks)
  const admin = createScheduleAdmin({
    ...{ db, rows: createScheduleRows(db), history: createHistory(db), log },
    ...{ queue: enqueuing, tasks, payloadMaxBytes: config.queue.payloadMaxBytes },
    async now() {
      await clock.sync()
      return clock.nowMs()
    },
    changed() {
      for (const scheduler of schedulers) scheduler.wake()
    },
  })
  return {
    admin,
    firing(schedules) {
      const scheduler = createScheduler({
        ...{ db, queue: enqueuing, driver: queue.driver, admin: queue.admin, tasks, schedules, clock, log, metrics },
      })
      schedulers.push(scheduler)
      return scheduler
    },
  }
}
