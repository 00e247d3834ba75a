import type { Migration } from '@/core/migration'
import { migration as user } from './0001_user'
import { migration as task } from './0002_task'
import { migration as outbox } from './0003_outbox'
import { migration as queue } from './0004_queue'
import { migration as userExport } from './0005_user_export'
import { migration as schedule } from './0006_schedule'

/** Every migration, oldest first. Imported one by one, so that they are inside the executable. */
export const migrations: readonly Migration[] = [user, task, outbox, queue, userExport, schedule]
