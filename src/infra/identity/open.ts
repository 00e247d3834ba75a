import type { Clock } from '@/core/clock'
import type { Database } from '@/core/database'
import type { Identifier } from '@/core/identity'
import type { Log } from '@/core/log'
import type { Revocations } from '@/core/revocations'
import type { Service } from '@/core/service'
import { createMemory, type Recognizer } from './cache'
import { createEpoch, type Rememberer } from './epoch'

/** Whom this process knows, and how it learns that it does not any more. */
export interface OpenIdentities {
  revocations: Revocations
  /** For one server. */
  recognizer(identifiers: readonly Identifier[]): Recognizer
  /** Learns what other processes revoke, for as long as it runs. For processes that recognize somebody. */
  watch: Service
}

/** Asks nothing of the database before it is used. @param others what else remembers something, and is told what to forget */
export function openIdentities(db: Database, tools: { clock: Clock; log: Log }, others: readonly Rememberer[] = []): OpenIdentities {
  const memory = createMemory(tools.clock)
  const epoch = createEpoch(db, others.length > 0 ? allOf([memory, ...others]) : memory, tools)
  return { revocations: epoch.revocations, recognizer: identifiers => memory.recognizer(identifiers, epoch), watch: epoch }
}

const allOf = (rememberers: readonly Rememberer[]): Rememberer => ({
  forget(subjects) {
    for (const each of rememberers) each.forget(subjects)
  },
  forgetAll() {
    for (const each of rememberers) each.forgetAll()
  },
})
