import type { People } from './contract'
import { manyOf, newPerson, pagesWalked } from './operations'

/** Throws when `contender` does not read what `reference` reads, or does not keep what it says it wrote. */
export async function mustAgree(contender: People, reference: People, ids: readonly string[]): Promise<void> {
  const same = (what: string, answers: unknown, should: unknown) => {
    if (!Bun.deepEquals(comparable(answers), comparable(should), true))
      throw new Error(
        `${contender.name}: ${what} gave ${Bun.inspect(comparable(answers))} where it should be ${Bun.inspect(comparable(should))}`,
      )
  }
  const id = ids[1] as string
  same('get', await contender.get(id), await reference.get(id))
  same('get of none', await contender.get(Bun.randomUUIDv7()), undefined)
  const wanted = [Bun.randomUUIDv7(), ...manyOf(ids, 4711)]
  same('getMany', await contender.getMany(wanted), await reference.getMany(wanted))
  let page = await contender.list()
  let should = await reference.list()
  for (let i = 0; i < pagesWalked; i++) {
    same('list', page.items, should.items)
    page = await contender.list(page.nextPageToken)
    should = await reference.list(should.nextPageToken)
  }
  const one = await contender.create(newPerson(1))
  same('create', one, await reference.get(one.id))
  const many = await contender.createMany([1, 2, 3].map(newPerson))
  same('createMany', many, await reference.getMany(many.map(person => person.id)))
  same(
    'createMany',
    many.map(person => person.name),
    ['Person 1', 'Person 2', 'Person 3'],
  )
  const changed = await contender.update(one.id, { city: 'Turin', score: 7 })
  same('update', changed, await reference.get(one.id))
  const { updatedAt } = changed
  same('update', changed, { ...one, city: 'Turin', score: 7, version: 2, updatedAt })
  await Promise.all([1, 2, 3].map(score => contender.update(one.id, { score })))
  same('updates at the same time', (await reference.get(one.id))?.version, 5)
}

/** Absent by undefined and by null is the same here, and so is every order of keys; but objects are plain. */
function comparable(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(comparable)
  if (typeof value !== 'object' || value === null) return value
  if (Object.getPrototypeOf(value) !== Object.prototype && Object.getPrototypeOf(value) !== null)
    throw new Error('a row is no plain object')
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, part]) => part !== null && part !== undefined)
      .toSorted(),
  )
}
