import type { Backing } from '../../backings'
import { columnSuite } from './columns'
import { coreSuite } from './core'
import { filterSuite } from './filters'
import { manySuite } from './many'
import { relationSuite } from './relations'
import { softDeleteSuite } from './soft-delete'
import { describe } from 'bun:test'

/** What a store promises, on whichever database. */
export function storeSuite(open: () => Promise<Backing>): void {
  const suites = {
    core: coreSuite,
    columns: columnSuite,
    filters: filterSuite,
    many: manySuite,
    relations: relationSuite,
    'soft delete': softDeleteSuite,
  }
  for (const [name, suite] of Object.entries(suites)) describe(name, () => suite(open))
}
