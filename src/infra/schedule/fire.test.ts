import { onEachBacking } from '@/testing/backings'
import { onceSuite } from '@/testing/conformance/schedule/once'

onEachBacking('schedules are fired once', onceSuite)
