import { describe, expect, test } from 'bun:test'
import type { Backing } from '../../backings'
import { failure, newThing, useThings } from '../fixture'

/** What a store promises, on whichever database. */
export function coreSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)

  describe('refusals', () => {
    test('a unique value is taken once, and the loser learns which', async () => {
      const { name, code } = await things.store.create(newThing())
      expect(await failure(things.store.create(newThing({ name })))).toBe('Conflict.NameTaken')
      expect(await failure(things.store.create(newThing({ code })))).toBe('Conflict.CodeTaken')
      expect(await things.store.count({ name })).toBe(1)
    })
    test('when a row breaks two unique keys, the one declared first is reported', async () => {
      const one = await things.store.create(newThing())
      const other = await things.store.create(newThing())
      expect(await failure(things.store.create(newThing({ name: one.name, code: other.code })))).toBe('Conflict.NameTaken')
      expect(await failure(things.store.update(other.id, { name: one.name, code: one.code }))).toBe('Conflict.NameTaken')
      expect(await things.store.get(other.id)).toEqual(other)
    })
    test('an id that cannot exist is one that does not', async () => {
      for (const id of ['', 'nope', "' or 1=1 --", 'é'.repeat(36), '\0', '%']) {
        expect(await things.store.get(id)).toBeUndefined()
        expect(await things.store.update(id, { amount: 1 })).toBeUndefined()
        expect(await things.store.delete(id)).toBe(false)
      }
    })
    test('a page token that was changed, or belongs to another list, is refused', async () => {
      await Promise.all([things.store.create(newThing({ kind: 'small' })), things.store.create(newThing({ kind: 'small' }))])
      const { nextPageToken } = await things.store.list({ pageSize: 1, where: { kind: 'small' } })
      const last = nextPageToken.at(-1)
      const changed = nextPageToken.slice(0, -1) + (last === 'A' ? 'B' : 'A')
      for (const pageToken of [changed, `${nextPageToken}A`, nextPageToken.slice(1), 'x', '💥']) {
        expect(await failure(things.store.list({ pageSize: 1, where: { kind: 'small' }, pageToken }))).toBe('InvalidArgument.PageToken')
      }
      expect(await failure(things.store.list({ where: { kind: 'big' }, pageToken: nextPageToken }))).toBe('InvalidArgument.PageToken')
      expect(await failure(things.store.list({ where: { kind: 'small' }, orderBy: 'amount', pageToken: nextPageToken }))).toBe(
        'InvalidArgument.PageToken',
      )
    })
    test('a list is ordered by declared columns only', async () => {
      for (const orderBy of [
        'note',
        'amount; drop table thing',
        'amount sideways',
        '"amount"',
        'amount asc asc',
        '(select 1)',
        'amount,amount',
        'amount,',
        'amount,name,kind,createdAt',
      ]) {
        expect(await failure(things.store.list({ orderBy }))).toBe('InvalidArgument.OrderBy')
      }
    })
    test('a negative page size is refused, a large one is cut', async () => {
      expect(await failure(things.store.list({ pageSize: -1 }))).toBe('InvalidArgument.PageSize')
      expect((await things.store.list({ pageSize: 1_000_000 })).items.length).toBeLessThanOrEqual(100)
    })
    test('a condition on undefined or on no column is refused rather than matching every row', async () => {
      expect(await failure(things.store.count({ name: undefined } as never))).toContain('undefined')
      expect(await failure(things.store.count({ 'name" = "name" or "name': 'x' } as never))).toBe('InvalidArgument.Filter')
    })
    test('a change or removal of another version is refused and changes nothing', async () => {
      const thing = await things.store.create(newThing())
      expect(await failure(things.store.update(thing.id, { amount: 9 }, { versions: [2] }))).toBe('FailedPrecondition.VersionMismatch')
      expect(await failure(things.store.delete(thing.id, { versions: [2] }))).toBe('FailedPrecondition.VersionMismatch')
      expect(await failure(things.store.delete(thing.id, { versions: [] }))).toBe('FailedPrecondition.VersionMismatch')
      expect(await things.store.get(thing.id)).toEqual(thing)
    })
  })

  describe('rows', () => {
    test('a row comes back as it was written, with what the store adds', async () => {
      const values = newThing({ note: 'n' })
      const made = await things.store.create(values)
      expect(made).toEqual({ ...values, id: made.id, createdAt: made.createdAt, updatedAt: made.createdAt, version: 1 })
      expect(made.id).toMatch(/^[0-9a-f]{8}-[0-9a-f]{4}-7/)
      expect(made.createdAt).toMatch(/^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/)
      expect(await things.store.get(made.id)).toEqual(made)
      expect(await things.store.find({ name: made.name, isOpen: true })).toEqual(made)
    })
    test('text is compared by its bytes: case, accents and trailing spaces count', async () => {
      const names = ['tell', 'Tell', 'téll', 'te\u0301ll', 'tell ', ' tell', 'tell\t', 'ｔell']
      for (const name of names) await things.store.create(newThing({ name }))
      for (const name of names) expect((await things.store.find({ name }))?.name).toBe(name)
      expect(await things.store.find({ name: 'TELL' })).toBeUndefined()
    })
    test('an update returns exactly what is stored, one version on, and null removes a value', async () => {
      const thing = await things.store.create(newThing({ note: 'x' }))
      const changed = await things.store.update(thing.id, { amount: -5, note: null }, { versions: [1] })
      const { note, ...rest } = thing
      expect(note).toBe('x')
      expect(changed).toEqual({ ...rest, amount: -5, version: 2, updatedAt: changed?.updatedAt as string })
      expect(changed && changed.updatedAt > thing.updatedAt).toBe(true)
      expect(await things.store.get(thing.id)).toEqual(changed)
    })
    test('an update of nothing leaves the row as it is', async () => {
      const thing = await things.store.create(newThing())
      expect(await things.store.update(thing.id, {})).toEqual(thing)
    })
    test('a removed row is gone', async () => {
      const thing = await things.store.create(newThing())
      expect(await things.store.delete(thing.id, { versions: [1, 7] })).toBe(true)
      expect(await things.store.get(thing.id)).toBeUndefined()
      expect(await things.store.delete(thing.id)).toBe(false)
    })
  })

  describe('lists', () => {
    test('pages in order hold every row once, although rows come and go between them', async () => {
      const note = 'paged'
      const rows = []
      for (let i = 0; i < 25; i++) rows.push(await things.store.create(newThing({ note, amount: 1_000_000 + (i % 3) })))
      for (const orderBy of [
        'amount',
        'amount desc',
        'name',
        'id',
        'id desc',
        'createdAt desc',
        'kind, amount desc',
        'amount desc, name',
        'amount desc, kind desc',
      ]) {
        const seen: string[] = []
        let pageToken = ''
        do {
          const page = await things.store.list({ where: { note }, orderBy, pageSize: 4, pageToken })
          seen.push(...page.items.map(row => row.id))
          pageToken = page.nextPageToken
          const passing = await things.store.create(newThing({ note: 'passing', amount: 1_000_001 }))
          await things.store.delete(passing.id)
        } while (pageToken)
        expect(seen.toSorted()).toEqual(rows.map(row => row.id).toSorted())
      }
      const first = await things.store.list({ where: { note }, orderBy: 'amount', pageSize: 10 })
      const amounts = first.items.map(row => row.amount)
      expect(amounts).toEqual(amounts.toSorted((a, b) => a - b))
      // A row that goes takes no other with it.
      const [gone, ...kept] = first.items
      await things.store.delete(gone?.id as string)
      const second = await things.store.list({ where: { note }, orderBy: 'amount', pageSize: 20, pageToken: first.nextPageToken })
      expect(new Set([...kept, ...second.items].map(row => row.id)).size).toBe(24)
      expect(second.nextPageToken).toBe('')
    })
  })

  describe('at the same time', () => {
    test('of many who take one name, one gets it', async () => {
      const { name } = newThing()
      const outcomes = await Promise.all(Array.from({ length: 50 }, () => failure(things.store.create(newThing({ name })))))
      expect(outcomes.filter(outcome => outcome === 'resolved')).toHaveLength(1)
      expect(outcomes.filter(outcome => outcome === 'Conflict.NameTaken')).toHaveLength(49)
      expect(await things.store.count({ name })).toBe(1)
    })
    test('of many who change one version, one succeeds and the others are told', async () => {
      const thing = await things.store.create(newThing())
      const outcomes = await Promise.all(
        Array.from({ length: 20 }, (_, i) => failure(things.store.update(thing.id, { amount: i }, { versions: [1] }))),
      )
      expect(outcomes.filter(outcome => outcome === 'resolved')).toHaveLength(1)
      expect(outcomes.filter(outcome => outcome === 'FailedPrecondition.VersionMismatch')).toHaveLength(19)
    })
  })
}
