import { onEachBacking, onEachServer } from '@/testing/backings'
import { overlapInOutboxSuite, overlapSuite } from '@/testing/conformance/schedule/overlap'

onEachBacking('overlaps of schedules', overlapSuite)
onEachServer('overlaps of schedules with tasks in the outbox', overlapInOutboxSuite)
