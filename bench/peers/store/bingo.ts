import type { Cache } from '@/core/cache'
import { defineTable } from '@/core/table'
import type { OpenDatabase } from '@/infra/database/driver'
import { createStore } from '@/core/store'
import { listSize, notThere, type NewPerson, type People, type Person, people, columnsOfPeople } from './contract'

/** The product's store as a contender. */
export function bingo(db: OpenDatabase, table = people): People {
  const store = createStore(db, table)
  return {
    name: 'Store',
    get: store.get,
    // STAND-IN until Store has it: getMany: store.getMany
    async getMany(ids) {
      const found = []
      // The driver lets 1,000 wait, and 64 callers come at once.
      for (let i = 0; i < ids.length; i += 10) found.push(...(await Promise.all(ids.slice(i, i + 10).map(store.get))))
      return found.filter(person => person !== undefined)
    },
    list: pageToken => store.list({ orderBy: 'createdAt desc', pageSize: listSize, ...(pageToken && { pageToken }) }),
    create: person => store.create(withoutNull(person)),
    // STAND-IN until Store has it: createMany: people => store.createMany(people.map(withoutNull))
    createMany: rows =>
      db.tx(async tx => {
        const inside = createStore(tx, table)
        const made = []
        for (const row of rows) made.push(await inside.create(withoutNull(row)))
        return made
      }),
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
// STAND-IN until Store has it: createStore(db, people).iterate()
export async function* everybody(db: OpenDatabase): AsyncIterable<Person> {
  const store = createStore(db, people)
  let pageToken = ''
  do {
    const page = await store.list({ orderBy: 'id', pageSize: 100, ...(pageToken && { pageToken }) })
    yield* page.items
    pageToken = page.nextPageToken
  } while (pageToken)
}

/** What keeps copies in this process, for the table below. */
// STAND-IN until it is there: memoryCache({ bytesMax: 64 * 2 ** 20, … })
export const openCache = (): Cache | undefined => undefined

/** The same table, with copies of its rows. */
export const cachedPeople = defineTable(people.name, columnsOfPeople, { sortable: ['createdAt'], cache: { ttlMs: 60_000 } })
