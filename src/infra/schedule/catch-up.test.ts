import { onEachBacking } from '@/testing/backings'
import { catchUpSuite } from '@/testing/conformance/schedule/catch-up'
import { manySuite } from '@/testing/conformance/schedule/many'

onEachBacking('schedules after an outage', catchUpSuite)
onEachBacking('many schedules at once', manySuite)
