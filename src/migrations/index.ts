import type { Migration } from '@/core/migration'
import { migration as user } from './0001_user'
import { migration as task } from './0002_task'
import { migration as outbox } from './0003_outbox'
import { migration as queue } from './0004_queue'
import { migration as userExport } from './0005_user_export'
import { migration as schedule } from './0006_schedule'
import { migration as identity } from './0007_identity'
import { migration as session } from './0008_session'
import { migration as guess } from './0009_guess'
import { migration as account } from './0010_account'
import { migration as apiKey } from './0011_api_key'
import { migration as administrator } from './0012_administrator'
import { migration as idempotency } from './0013_idempotency'
import { migration as audit } from './0014_audit'
import { migration as adminRole } from './0015_admin_role'
import { migration as secondFactor } from './0016_second_factor'
import { migration as setting } from './0017_setting'
import { migration as process } from './0018_process'
import { migration as chatUpdate } from './0019_chat_update'
import { migration as chatLink } from './0020_chat_link'
import { migration as subscription } from './0021_subscription'
import { migration as announcement } from './0022_announcement'
import { migration as chatPlatform } from './0023_chat_platform'

/** Every migration, oldest first. Imported one by one, so that they are inside the executable. */
export const migrations: readonly Migration[] = [
  user,
  task,
  outbox,
  queue,
  userExport,
  schedule,
  identity,
  session,
  guess,
  account,
  apiKey,
  administrator,
  idempotency,
  audit,
  adminRole,
  secondFactor,
  setting,
  process,
  chatUpdate,
  chatLink,
  subscription,
  announcement,
  chatPlatform,
]
