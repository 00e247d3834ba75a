import { describe } from 'bun:test'
import { onEachBacking } from '@/testing/backings'
import { databaseSuite } from '@/testing/conformance/database'
import { migrationSuite } from '@/testing/conformance/migration'
import { storeSuite } from '@/testing/conformance/store'

onEachBacking('a database', databaseSuite)
onEachBacking('a store', storeSuite)
onEachBacking('migrations', open => describe('of the product', () => migrationSuite(open)))
