import type { OpenDatabase } from '@/infra/database/driver'
import { createStore } from '@/core/store'
import { listSize, notThere, type NewPerson, type People, people } from './contract'

/** The product's store as a contender. */
export function bingo(db: OpenDatabase): People {
  const store = createStore(db, people)
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
        const inside = createStore(tx, people)
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
