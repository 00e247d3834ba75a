import { describe, expect, test } from 'bun:test'
import { createStore } from '@/core/store'
import type { Backing } from '../../backings'
import { failure, posts, useThings } from '../fixture'

/** What soft delete promises, on whichever database. */
export function softDeleteSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)
  const store = () => createStore(things.db, posts)
  let count = 0
  const newPost = (over: object = {}) => ({ authorId: Bun.randomUUIDv7(), title: 'title', slug: `slug ${count++}`, rank: count, ...over })

  test('a removed row is left out of everything unless asked for', async () => {
    const post = await store().create(newPost())
    const { id, authorId, slug } = post
    expect(await store().delete(id)).toBe(true)
    const read = (deleted?: 'include' | 'only') => {
      const options: { deleted?: 'include' | 'only' } = deleted ? { deleted } : {}
      return Promise.all([
        store()
          .get(id, options)
          .then(row => row !== undefined),
        store()
          .getMany([id], options)
          .then(rows => rows.length === 1),
        store()
          .find({ slug }, options)
          .then(row => row !== undefined),
        store()
          .list({ where: { authorId }, ...options })
          .then(page => page.items.length === 1),
        store()
          .list({ where: { authorId }, total: true, ...options })
          .then(page => page.total === 1),
        store()
          .count({ authorId }, options)
          .then(found => found === 1),
        store().exists({ or: [{ authorId }, { slug }] }, options),
        store()
          .iterate({ where: { authorId }, ...options })
          .next()
          .then(({ done }) => !done),
      ])
    }
    expect(await read()).toEqual([false, false, false, false, false, false, false, false])
    expect(await read('include')).toEqual([true, true, true, true, true, true, true, true])
    expect(await read('only')).toEqual([true, true, true, true, true, true, true, true])
    const removed = await store().get(id, { deleted: 'only' })
    expect(removed).toEqual({ ...post, version: 2, updatedAt: removed?.updatedAt as string, deletedAt: removed?.deletedAt as string })
    expect(removed?.deletedAt).toMatch(/Z$/)
  })
  test('a removed row cannot be changed or removed again', async () => {
    const { id } = await store().create(newPost())
    await store().delete(id)
    expect(await store().update(id, { rank: 1 })).toBeUndefined()
    expect(await store().delete(id)).toBe(false)
    expect(await store().updateMany({ id }, { rank: 1 })).toBe(0)
    expect(await store().deleteMany({ id })).toBe(0)
    expect((await store().get(id, { deleted: 'only' }))?.version).toBe(2)
  })
  test('the unique values of a removed row are free, of any number of them, and those of a live one are not', async () => {
    const slug = 'reused'
    for (let i = 0; i < 3; i++) {
      const { id } = await store().create(newPost({ slug }))
      expect(await failure(store().create(newPost({ slug })))).toBe('Conflict.SlugTaken')
      expect(await failure(store().refuseTaken({ slug }))).toBe('Conflict.SlugTaken')
      await store().delete(id)
      await store().refuseTaken({ slug })
    }
    expect(await store().count({ slug }, { deleted: 'only' })).toBe(3)
    expect((await store().upsert(newPost({ slug }), ['slug'])).created).toBe(true)
  })
  describe('bringing back', () => {
    test('a row comes back as it was, one version on', async () => {
      const post = await store().create(newPost())
      await store().delete(post.id)
      const restored = await store().restore(post.id)
      expect(restored).toEqual({ ...post, version: 3, updatedAt: restored?.updatedAt as string })
      expect(await store().get(post.id)).toEqual(restored)
      expect(await store().restore(post.id)).toBeUndefined()
      expect(await store().restore(Bun.randomUUIDv7())).toBeUndefined()
    })
    test('not when its unique values were taken meanwhile', async () => {
      const post = await store().create(newPost())
      await store().delete(post.id)
      await store().create(newPost({ slug: post.slug }))
      expect(await failure(store().restore(post.id))).toBe('Conflict.SlugTaken')
      expect(await store().get(post.id)).toBeUndefined()
    })
    test('only the version that was seen', async () => {
      const post = await store().create(newPost())
      await store().delete(post.id, { versions: [1] })
      expect(await failure(store().restore(post.id, { versions: [1] }))).toBe('FailedPrecondition.VersionMismatch')
      expect((await store().restore(post.id, { versions: [2] }))?.version).toBe(3)
    })
    test('a table without soft delete has nothing to bring back', async () => {
      expect(await failure(things.store.restore(Bun.randomUUIDv7()))).toContain('has no soft delete')
    })
  })
  test('forever is forever, for live rows and removed ones', async () => {
    const [live, removed] = await store().createMany([newPost(), newPost()])
    await store().delete(removed?.id as string)
    expect(await store().delete(live?.id as string, { forever: true })).toBe(true)
    expect(await store().deleteMany({ id: removed?.id as string }, { forever: true })).toBe(1)
    expect(await store().count({ id: { in: [live?.id as string, removed?.id as string] } }, { deleted: 'include' })).toBe(0)
  })
  test('many are removed and counted once', async () => {
    const title = 'many to go'
    await store().createMany([newPost({ title }), newPost({ title }), newPost({ title })])
    expect(await store().deleteMany({ title })).toBe(3)
    expect(await store().deleteMany({ title })).toBe(0)
    expect(await store().count({ title, version: 2 }, { deleted: 'only' })).toBe(3)
  })
}
