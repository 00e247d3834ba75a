import { describe } from 'bun:test'
import { cancelSuite } from './cancel'
import { claimSuite } from './claim'
import { deadSuite } from './dead'
import { enqueueSuite } from './enqueue'
import { finishSuite } from './finish'
import type { TestQueue } from './fixture'
import { heldSuite } from './held'
import { heldBeforeSuite } from './held-before'
import { inspectSuite } from './inspect'
import { keptSuite } from './kept'
import { leaseSuite } from './lease'
import { progressSuite } from './progress'
import type { QueueStoreName } from './stores'
import { togetherSuite } from './together'
import { uniqueSuite } from './unique'
import { watchSuite } from './watch'

/** What a driver of the queue promises, on whichever store. */
export function queueSuite(newQueue: () => TestQueue, on: QueueStoreName): void {
  const suites = {
    enqueue: enqueueSuite,
    'a unique key': uniqueSuite,
    claim: claimSuite,
    'the end of an attempt': finishSuite,
    cancel: cancelSuite,
    'a lease': leaseSuite,
    'a dead letter': deadSuite,
    'a held task': heldSuite,
    'what a held task waits for': heldBeforeSuite,
    'what is kept': keptSuite,
    progress: progressSuite,
    'what operators see': inspectSuite,
    'what workers are told': watchSuite,
    'many at once': togetherSuite,
  }
  for (const [title, suite] of Object.entries(suites)) describe(title, () => suite(newQueue, on))
}
