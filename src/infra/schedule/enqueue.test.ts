import { describeOn, onEachBacking, openBacking, type Backing } from '@/testing/backings'
import { fullSuite, troubleSuite } from '@/testing/conformance/schedule/trouble'

onEachBacking('schedules that cannot be fired', troubleSuite)
describeOn(undefined, 'schedules and a queue that is full on sqlite', () => fullSuite(async () => (await openBacking('sqlite')) as Backing))
