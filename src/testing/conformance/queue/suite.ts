import { describe } from 'bun:test'
import { backlogSuite } from './backlog'
import { burySuite } from './bury'
import { cancelSuite } from './cancel'
import { claimSuite } from './claim'
import { deadSuite } from './dead'
import { enqueueSuite } from './enqueue'
import { finishSuite } from './finish'
import type { TestQueue } from './fixture'
import { groupSuite } from './group'
import { heldSuite } from './held'
import { heldBeforeSuite } from './held-before'
import { historySuite } from './history'
import { inspectSuite } from './inspect'
import { keptSuite } from './kept'
import { laneSuite } from './lanes'
import { leaseSuite } from './lease'
import { pauseSuite } from './pause'
import { progressSuite } from './progress'
import { rateSuite } from './rate'
import type { QueueStoreName } from './stores'
import { togetherSuite } from './together'
import { turnSuite } from './turns'
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
    burial: burySuite,
    'a lease': leaseSuite,
    'a dead letter': deadSuite,
    'a lane': laneSuite,
    'turns of lanes': turnSuite,
    'a rate': rateSuite,
    'a pause': pauseSuite,
    'a backlog': backlogSuite,
    'a group': groupSuite,
    'a held task': heldSuite,
    'what a held task waits for': heldBeforeSuite,
    'what is kept': keptSuite,
    progress: progressSuite,
    'what operators see': inspectSuite,
    'its history': historySuite,
    'what workers are told': watchSuite,
    'many at once': togetherSuite,
  }
  for (const [title, suite] of Object.entries(suites)) describe(title, () => suite(newQueue, on))
}
