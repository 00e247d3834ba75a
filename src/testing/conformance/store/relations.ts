import { describe, expect, test } from 'bun:test'
import type { Database } from '@/core/database'
import { createStore } from '@/core/store'
import type { Backing } from '../../backings'
import { authors, failure, posts, useThings } from '../fixture'

/** What `include` promises, on whichever database. */
export function relationSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)
  let count = 0
  const newPost = (authorId: string, over: object = {}) => ({
    authorId,
    title: `title ${count}`,
    slug: `slug ${count++}`,
    rank: count,
    ...over,
  })

  /** The database, which counts what it is asked. */
  function counted() {
    const asked: string[] = []
    const db: Database = {
      ...things.db,
      all: (...call) => {
        asked.push(call[0])
        return things.db.all(...call)
      },
      first: (...call) => {
        asked.push(call[0])
        return things.db.first(...call)
      },
    }
    return { asked, authors: createStore(db, authors), posts: createStore(db, posts) }
  }

  async function family(sizes: number[]) {
    const people = await createStore(things.db, authors).createMany(sizes.map((_, i) => ({ name: `author ${i}` })))
    const written = await createStore(things.db, posts).createMany(
      sizes.flatMap((size, i) => Array.from({ length: size }, () => newPost(people[i]?.id as string))),
    )
    return { people, written }
  }

  test('one query for the rows and one for each relation, however many rows', async () => {
    const { people, written } = await family([3, 0, 2])
    const { asked, ...stores } = counted()
    const found = await stores.authors.getMany(
      people.map(({ id }) => id),
      { include: { posts: true } },
    )
    expect(asked).toHaveLength(2)
    for (const author of found) expect(author.posts).toEqual(written.filter(({ authorId }) => authorId === author.id))
    asked.length = 0
    const page = await stores.posts.list({ where: { authorId: { in: people.map(({ id }) => id) } }, include: { author: true } })
    expect(asked).toHaveLength(2)
    expect(page.items).toEqual(written.map(post => ({ ...post, author: people.find(({ id }) => id === post.authorId) })))
  })
  test('deeper relations are one more query each', async () => {
    const { people } = await family([2, 1])
    const { asked, ...stores } = counted()
    const found = await stores.authors.getMany(
      people.map(({ id }) => id),
      { include: { posts: { include: { writer: { select: ['name'] } } } } },
    )
    expect(asked).toHaveLength(3)
    expect(found.map(({ posts: own }) => own.map(({ writer }) => writer))).toEqual([
      [{ name: 'author 0' }, { name: 'author 0' }],
      [{ name: 'author 1' }],
    ])
  })
  test('of many, each row has its own first ones in the order asked for', async () => {
    const { people, written } = await family([5, 30, 1])
    const found = await createStore(things.db, authors).getMany(
      people.map(({ id }) => id),
      { include: { posts: { limit: 2, orderBy: 'rank desc', select: ['rank'] } } },
    )
    for (const author of found) {
      const own = written.filter(({ authorId }) => authorId === author.id).toSorted((a, b) => b.rank - a.rank)
      expect(author.posts).toEqual(own.slice(0, 2).map(({ rank }) => ({ rank })))
    }
    const [, whole] = await createStore(things.db, authors).getMany(
      people.map(({ id }) => id),
      { include: { posts: true } },
    )
    expect(whole?.posts).toHaveLength(20)
  })
  test('filters and soft delete hold in relations, too', async () => {
    const { people, written } = await family([4])
    const store = createStore(things.db, posts)
    await store.delete(written[0]?.id as string)
    const [{ id } = { id: '' }] = people
    const all = await createStore(things.db, authors).get(id, { include: { posts: true } })
    expect(all?.posts.map(post => post.id)).toEqual(written.slice(1).map(post => post.id))
    const some = await createStore(things.db, authors).get(id, {
      include: { posts: { where: { rank: { gt: written[2]?.rank as number } } } },
    })
    expect(some?.posts.map(post => post.id)).toEqual([written[3]?.id as string])
  })
  test('what leads nowhere is undefined, and what was not selected stays away', async () => {
    const orphan = await createStore(things.db, posts).create(newPost(Bun.randomUUIDv7()))
    const store = createStore(things.db, posts)
    expect(await store.get(orphan.id, { include: { author: true } })).toEqual({ ...orphan, author: undefined })
    const { people, written } = await family([1])
    const found = await store.find({ id: written[0]?.id as string }, { select: ['title'], include: { author: { select: ['name'] } } })
    expect(found).toEqual({ title: written[0]?.title as string, author: { name: people[0]?.name as string } })
  })
  test('in a transaction relations are read in it', async () => {
    await things.db.tx(async tx => {
      const author = await createStore(tx, authors).create({ name: 'inside' })
      await createStore(tx, posts).create(newPost(author.id))
      expect((await createStore(tx, authors).get(author.id, { include: { posts: true } }))?.posts).toHaveLength(1)
    })
  })
  describe('what is refused', () => {
    test('relations that are not there, limits that are too high, more rows than fit', async () => {
      const { people } = await family([1])
      const store = createStore(things.db, authors)
      const id = people[0]?.id as string
      for (const name of ['nope', 'name', '__proto__', 'constructor', 'posts"'])
        expect(await failure(store.get(id, { include: JSON.parse(`{${JSON.stringify(name)}:true}`) }))).toContain('has no relation')
      for (const limit of [0, 101, 1.5, Number.NaN])
        expect(await failure(store.get(id, { include: { posts: { limit } } }))).toContain('limit is from 1 to 100')
      const many = await store.createMany(Array.from({ length: 101 }, (_, i) => ({ name: `crowd ${i}` })))
      expect(
        await failure(
          store.getMany(
            many.map(row => row.id),
            { include: { posts: { limit: 100 } } },
          ),
        ),
      ).toBe('InvalidArgument.TooMany')
    })
  })
}
