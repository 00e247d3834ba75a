import { describe, expect, test } from 'bun:test'
import { Bytes, Decimal, Json, secret, Type } from './schema'
import { belongsTo, defineTable, hasMany, relate } from './table'

const text = Type.String({ maxLength: 10 })

describe('a declaration that cannot be kept is refused at the start, with the remedy', () => {
  const cases: [string, () => unknown, string][] = [
    ['a column of the store’s own', () => defineTable('t', { id: text }), 'the store keeps the column id'],
    ['a word of filters', () => defineTable('t', { and: text }), 'cannot be named and'],
    ['a name that is no identifier', () => defineTable('t', { 'a" --': text }), 'use a noun in camelCase'],
    ['a schema without a column type', () => defineTable('t', { a: Type.Tuple([text]) }), 'or Json(…) for anything else'],
    [
      'an order by what may be absent',
      () => defineTable('t', { a: Type.Optional(text) }, { sortable: ['a'] }),
      'cannot be ordered by a, which may be absent',
    ],
    ['an order by no column', () => defineTable('t', { a: text }, { sortable: ['b' as 'a'] }), 'ordered by b, which is no column'],
    ['an order by a secret', () => defineTable('t', { a: secret(text) }, { sortable: ['a'] }), 'ordered by a, which is secret'],
    ['an order by bytes', () => defineTable('t', { a: Bytes(9, 'b') }, { sortable: ['a'] }), 'ordered by a, which is bytes'],
    ['a name that is taken', () => defineTable('migration', { a: text }), 'cannot be named migration'],
    ['names that differ by case', () => defineTable('t', { userId: text, userid: text }), 'do not tell apart by case'],
    ['too many digits', () => defineTable('t', { a: Decimal(30, 2, 'd') }), 'precision is from 1 to 18'],
    [
      'an index that is too long',
      () => defineTable('t', { a: Type.String({ maxLength: 768 }) }, { sortable: ['a'] }),
      'more than 3072; lower a maxLength',
    ],
    [
      'a row that is too long',
      () => defineTable('t', { a: Type.String({ maxLength: 9000 }), b: Type.String({ maxLength: 9000 }) }),
      'or leave it out for a long text',
    ],
    ['an index on a long text', () => defineTable('t', { a: Type.String() }, { indexes: [['a']] }), 'give it a maxLength of at most 768'],
    ['an index on JSON', () => defineTable('t', { a: Json(Type.Unknown()) }, { indexes: [['a']] }), 'cannot be indexed: it is JSON'],
    [
      'an index on no column',
      () => defineTable('t', { a: text }, { unique: [{ columns: ['b'], taken: () => new Error() as never }] }),
      'has no column b',
    ],
    ['copies for too short a time', () => defineTable('t', { a: text }, { cache: { ttlMs: 1 } }), 'it must be from 100 to 86,400,000'],
    [
      'a relation by no column',
      () => relate(defineTable('t', { a: text }), { up: belongsTo(defineTable('u', {}), 'b') }),
      'has no column b',
    ],
    [
      'a relation without an index',
      () => relate(defineTable('u', {}), { down: hasMany(defineTable('t', { a: text }), 'a') }),
      "add indexes: [['a']] to table t",
    ],
    [
      'a relation named as a column',
      () => relate(defineTable('t', { a: text }), { a: belongsTo(defineTable('u', {}), 'a') }),
      'is named as a column',
    ],
  ]
  for (const [name, declare, remedy] of cases) test(name, () => expect(declare).toThrow(remedy))
})

test('every index that a table needs is named once, and ends in the id', () => {
  const { indexes } = defineTable(
    't',
    { a: text, b: text },
    {
      unique: [{ columns: ['a'], taken: () => new Error() as never }],
      sortable: ['a', 'b', 'createdAt'],
      indexes: [['b'], ['a', 'b'], ['b', 'id']],
    },
  )
  expect(indexes).toEqual([
    { columns: ['a'], isUnique: true },
    { columns: ['b', 'id'], isUnique: false },
    { columns: ['createdAt', 'id'], isUnique: false },
    { columns: ['a', 'b', 'id'], isUnique: false },
  ])
})
