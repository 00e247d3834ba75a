import { describe } from 'bun:test'
import { onEachBacking } from '@/testing/backings'
import { databaseSuite } from '@/testing/conformance/database'
import { hookSuite } from '@/testing/conformance/hooks'
import { migrationSuite } from '@/testing/conformance/migration'
import { poolSuite } from '@/testing/conformance/pool'
import { retrySuite } from '@/testing/conformance/retries'
import { savepointSuite } from '@/testing/conformance/savepoints'
import { storeSuite } from '@/testing/conformance/store'
import { valueSuite } from '@/testing/conformance/values'

onEachBacking('a database', databaseSuite)
onEachBacking('contention', retrySuite)
onEachBacking('a savepoint', savepointSuite)
onEachBacking('afterCommit', hookSuite)
onEachBacking('a pool', poolSuite)
onEachBacking('a value', valueSuite)
onEachBacking('a store', storeSuite)
onEachBacking('migrations', open => describe('of the product', () => migrationSuite(open)))
