import { onEachBacking } from '@/testing/backings'
import { databaseSuite } from '@/testing/conformance/database'
import { hookSuite } from '@/testing/conformance/hooks'
import { retrySuite } from '@/testing/conformance/retries'
import { savepointSuite } from '@/testing/conformance/savepoints'
import { storeSuite } from '@/testing/conformance/store'

onEachBacking('a database', databaseSuite)
onEachBacking('contention', retrySuite)
onEachBacking('a savepoint', savepointSuite)
onEachBacking('afterCommit', hookSuite)
onEachBacking('a store', storeSuite)
