import { onEachBacking } from '@/testing/backings'
import { outcomesSuite } from '@/testing/conformance/schedule/outcomes'

onEachBacking('what has become of ticks', outcomesSuite)
