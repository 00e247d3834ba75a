import { onEachQueueStore, testQueue } from '@/testing/conformance/queue/fixture'
import { queueSuite } from '@/testing/conformance/queue/suite'

onEachQueueStore('a queue', (store, name) => queueSuite(() => testQueue(store()), name))
