import { onEachBacking } from '@/testing/backings'
import { declaredSuite } from '@/testing/conformance/schedule/declared'
import { retiredSuite } from '@/testing/conformance/schedule/retired'

onEachBacking('schedules in code', declaredSuite)
onEachBacking('schedules that are no longer in code', retiredSuite)
