import { onEachBacking } from '@/testing/backings'
import { databaseSuite } from '@/testing/conformance/database'
import { storeSuite } from '@/testing/conformance/store'

onEachBacking('a database', databaseSuite)
onEachBacking('a store', storeSuite)
