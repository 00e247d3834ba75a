import type { Cache } from '@/core/cache'
import { defineTable } from '@/core/table'
import type { OpenDatabase } from '@/infra/database/driver'
import { createStore } from '@/core/store'
import { cacheMetrics } from '@/infra/cache/metrics'
import { memoryCache } from '@/infra/cache/memory'
import { createMetrics } from '@/infra/metrics'
import { listSize, notThere, type NewPerson, type People, type Person, people, columnsOfPeople } from './contract'

/** The product's store as a contender. */
export function bingo(db: OpenDatabase, table = people): People {
  const store = createStore(db, table)
  return {
    name: 'Store',
    get: id => store.get(id),
    getMany: ids => store.getMany(ids),
    list: pageToken => store.list({ orderBy: 'createdAt desc', pageSize: listSize, ...(pageToken && { pageToken }) }),
    create: person => store.create(withoutNull(person)),
    createMany: many => store.createMany(many.map(withoutNull)),
    async update(id, patch) {
      const person = await store.update(id, patch)
      if (!person) throw notThere(id)
      return person
    },
    close: async () => {},
  }
}

/** The store takes what is absent, the contract also null. */
function withoutNull({ note, ...person }: NewPerson) {
  return typeof note === 'string' ? { ...person, note } : person
}

/** Every person, in the order of their ids, with no more than a batch of them in memory. */
export const everybody = (db: OpenDatabase): AsyncIterable<Person> => createStore(db, people).iterate()

const cacheBytes = 64 * 2 ** 20
/** What keeps copies in this process, for the table below. */
export const openCache = (): Cache =>
  memoryCache({ bytesMax: cacheBytes, metrics: cacheMetrics(createMetrics({ version: 'bench', roles: [] })) })

/** The same table, with copies of its rows. */
export const cachedPeople = defineTable(people.name, columnsOfPeople, { sortable: ['createdAt'], cache: { ttlMs: 60_000 } })
