import { onEachQueueStore } from '@/testing/conformance/queue/fixture'
import { queueSuite } from '@/testing/conformance/queue/suite'

onEachQueueStore('a queue', queueSuite)
