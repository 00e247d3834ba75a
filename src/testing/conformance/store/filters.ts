import { beforeAll, describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { createStore, type Where } from '@/core/store'
import type { RowOf } from '@/core/table'
import type { Backing } from '../../backings'
import { injections } from '../../injections'
import { failure, samples, useThings } from '../fixture'

/** Two hundred filters on a server that others use, too. */
const propertyTimeoutMs = 60_000

type Sample = RowOf<typeof samples>

/** What filters mean, said a second time in TypeScript: a database that differs from it is wrong. */
function matches(row: Sample, where: Where<Sample>): boolean {
  return Object.entries(where).every(([name, condition]) => {
    if (name === 'and') return (condition as Where<Sample>[]).every(each => matches(row, each))
    if (name === 'or') return (condition as Where<Sample>[]).some(each => matches(row, each))
    if (name === 'not') return !matches(row, condition as Where<Sample>)
    const value = row[name as keyof Sample]
    const operators = typeof condition === 'object' ? (condition as object) : { eq: condition }
    return Object.entries(operators).every(([operator, operand]) => holds(value, operator, operand))
  })
}

function holds(value: unknown, operator: string, operand: unknown): boolean {
  if (operator === 'isNull') return (value === undefined) === operand
  if (operator === 'ne') return value !== operand
  if (operator === 'notIn') return !(operand as unknown[]).includes(value)
  if (value === undefined) return false
  if (operator === 'eq') return value === operand
  if (operator === 'in') return (operand as unknown[]).includes(value)
  if (operator === 'prefix') return (value as string).startsWith(operand as string)
  if (operator === 'contains') return (value as string).includes(operand as string)
  const order =
    typeof value === 'string' ? Buffer.compare(Buffer.from(value), Buffer.from(operand as string)) : Number(value) - Number(operand)
  if (operator === 'gt') return order > 0
  if (operator === 'gte') return order >= 0
  if (operator === 'lt') return order < 0
  return order <= 0
}

const texts = [
  '',
  'a',
  'A',
  'ab',
  'aB',
  'a%',
  'a_',
  'a\\',
  "a'b",
  'a"b',
  'é',
  'e\u0301',
  'z',
  '\ud7ff',
  '\uffff',
  '💥',
  '💥💥',
  ' a',
  'a ',
  '%',
  '_',
  '--',
  ';',
]
const values = {
  text: fc.constantFrom(...texts),
  essay: fc.constantFrom(...texts),
  whole: fc.integer({ min: -3, max: 3 }),
  isOn: fc.boolean(),
  at: fc.constantFrom('2026-01-01T00:00:00.000Z', '2026-01-01T00:00:00.001Z', '1999-12-31T23:59:59.999Z'),
  day: fc.constantFrom('2026-01-01', '1999-12-31'),
  kind: fc.constantFrom('one' as const, 'two' as const),
}

const condition = fc.constantFrom(...(Object.keys(values) as (keyof typeof values)[])).chain(column => {
  const value = values[column] as fc.Arbitrary<unknown>
  const isText = column === 'text' || column === 'essay'
  const compared = fc.constantFrom('eq', 'ne', 'gt', 'gte', 'lt', 'lte').chain(operator => fc.record({ [operator]: value }))
  const listed = fc.constantFrom('in', 'notIn').chain(operator => fc.record({ [operator]: fc.array(value, { maxLength: 4 }) }))
  const matched = fc.constantFrom('prefix', 'contains').chain(operator => fc.record({ [operator]: value }))
  const isNull = fc.record({ isNull: fc.boolean() })
  return fc.oneof(value, compared, listed, isNull, ...(isText ? [matched] : [])).map(each => ({ [column]: each }))
})

const where = fc.letrec<{ filter: object }>(tie => ({
  filter: fc.oneof(
    { maxDepth: 3, depthSize: 'small' },
    condition,
    fc.record({ and: fc.array(tie('filter'), { maxLength: 3 }) }),
    fc.record({ or: fc.array(tie('filter'), { maxLength: 3 }) }),
    fc.record({ not: tie('filter') }),
    fc.tuple(condition, condition).map(([one, other]) => ({ ...one, ...other })),
  ),
})).filter

/** What filters find and refuse, on whichever database. */
export function filterSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)
  const store = () => createStore(things.db, samples)
  let rows: Sample[] = []

  beforeAll(async () => {
    const row = fc.record(values, { requiredKeys: [] })
    rows = await store().createMany(fc.sample(row, { numRuns: 150, seed: 20260131 }))
  })

  test(
    'every filter finds exactly the rows that it means',
    async () => {
      await fc.assert(
        fc.asyncProperty(where as fc.Arbitrary<Where<Sample>>, async filter => {
          const wanted = rows.filter(row => matches(row, filter)).map(row => row.id)
          const found = []
          for await (const { id } of store().iterate({ where: filter, select: ['id'] })) found.push(id)
          expect(found).toEqual(wanted.toSorted())
          expect(await store().count(filter)).toBe(wanted.length)
          expect(await store().exists(filter)).toBe(wanted.length > 0)
        }),
        { numRuns: 200 },
      )
    },
    propertyTimeoutMs,
  )

  describe('JSON', () => {
    const data = (value: unknown) => ({ data: value })
    test('a path is compared with the type of its value', async () => {
      const made = await store().createMany(
        [1, '1', true, 'true', null, 1.5, { a: { 'b-c': ['x', 'X', 'x '] } }, ['zero']].map(value => data({ v: value, mark: 'json' })),
      )
      const id = (i: number) => made[i]?.id as string
      const find = async (condition: object) => {
        const found = []
        for await (const row of store().iterate({ where: { data: { path: ['mark'], eq: 'json' }, and: [{ data: condition }] } as never }))
          found.push(row.id)
        return found
      }
      expect(await find({ path: ['v'], eq: 1 })).toEqual([id(0)])
      expect(await find({ path: ['v'], eq: '1' })).toEqual([id(1)])
      expect(await find({ path: ['v'], eq: true })).toEqual([id(2)])
      expect(await find({ path: ['v'], eq: 'true' })).toEqual([id(3)])
      expect(await find({ path: ['v'], eq: 1.5 })).toEqual([id(5)])
      expect(await find({ path: ['v'], isNull: true })).toEqual([id(4)])
      expect(await find({ path: ['v', 'a', 'b-c', 0], eq: 'x' })).toEqual([id(6)])
      expect(await find({ path: ['v', 'a', 'b-c', 0], eq: 'X' })).toEqual([])
      expect(await find({ path: ['v', 'a', 'b-c', 2], eq: 'x' })).toEqual([])
      expect(await find({ path: ['v', 0], eq: 'zero' })).toEqual([id(7)])
      // What is no list has no first.
      expect(await find({ path: ['mark', 0], eq: 'json' })).toEqual([])
      expect(await find({ path: ['mark', 0], isNull: true })).toHaveLength(8)
      expect(await find({ path: ['v', 0], isNull: false })).toEqual([id(7)])
      expect(await find({ path: ['v'], in: [1, 'true'] })).toEqual([id(0), id(3)])
      expect(await find({ path: ['v', 'nope'], isNull: true })).toHaveLength(8)
      expect(await find({ path: ['v'], ne: 1 })).toHaveLength(7)
    })
    test('whether there is a value at all', async () => {
      const absent = await store().create({})
      expect(await store().exists({ id: absent.id, data: { isNull: true } })).toBe(true)
      expect(await store().exists({ id: absent.id, data: { isNull: false } })).toBe(false)
    })
  })

  describe('what is refused', () => {
    const refusedAll: Record<string, unknown[]> = {
      text: [
        1,
        true,
        ['a'],
        { like: '%' },
        { eq: 1 },
        { in: 'a' },
        { in: [1] },
        { eq: ['a'] },
        { $gt: '' },
        {},
        'a\0',
        '\ud800',
        { prefix: 1 },
      ],
      whole: ['1', 1.5, 2 ** 60, { contains: '1' }, { gt: 'a' }, { in: Array.from({ length: 1001 }, (_, i) => i) }, Number.NaN],
      isOn: [1, 'true', { isNull: 1 }],
      at: ['now', '2026-01-01', 5],
      large: ['1e3', 1, ' 1'],
      price: ['1.23456', 1, '999999999999999', { gte: '-999999999999999.0' }],
      id: [{ gt: 'nope' }, 5, { in: [5] }],
      data: [
        'x',
        { eq: 1 },
        { path: [], eq: 1 },
        { path: ['a b'], eq: 1 },
        { path: ['a"b'], eq: 1 },
        { path: ['$'], eq: 1 },
        { path: [-1], eq: 1 },
        { path: ["') or 1=1 --"], eq: 1 },
        { path: ['a'], gt: 1 },
        { path: ['a'], eq: {} },
        { path: ['a'], eq: 1, ne: 2 },
        { path: ['a'] },
        { path: 'a', eq: 1 },
        { path: Array(9).fill('a'), eq: 1 },
        [],
        null,
      ],
      and: [{}, 'x', [1], ['x']],
      or: [{}, [null]],
      not: [[], 'x', null],
      nope: ['x'],
      '': ['x'],
      __proto__: ['x'],
      constructor: ['x'],
      'text" = "text" or "text': ['x'],
    }
    for (const [name, wrong] of Object.entries(refusedAll)) {
      test(name || 'an empty name', async () => {
        for (const value of wrong) {
          const filter = Object.defineProperty({}, name, { value, enumerable: true })
          expect([value, await failure(store().count(filter as never))]).toEqual([value, 'InvalidArgument.Filter'])
        }
      })
    }
    test('depth and number of conditions have a limit', async () => {
      let deep: Where<Sample> = { isOn: true }
      for (let i = 0; i < 12; i++) deep = { not: deep }
      expect(await failure(store().count(deep))).toBe('InvalidArgument.Filter')
      const wide = { or: Array.from({ length: 101 }, () => ({ isOn: true })) }
      expect(await failure(store().count(wide))).toBe('InvalidArgument.Filter')
      expect(await failure(store().count({ or: Array.from({ length: 2000 }, () => ({})) }))).toBe('InvalidArgument.Filter')
      const values = Array.from({ length: 1000 }, (_, i) => i)
      expect(await failure(store().count({ and: Array.from({ length: 50 }, () => ({ whole: { notIn: values } })) }))).toBe(
        'InvalidArgument.Filter',
      )
    })
    test('an id that cannot exist is one that does not', async () => {
      for (const id of ['', 'nope', "' or 1=1 --", 'é'.repeat(36), '\0', '%']) {
        expect(await store().count({ id })).toBe(0)
        expect(await store().count({ id: { in: [id] } })).toBe(0)
        expect(await store().count({ id: { ne: id } })).toBe(await store().count())
      }
    })
  })

  describe('injection', () => {
    test('in every filter it is a value like others', async () => {
      const made = await store().createMany(injections.map(text => ({ text, token: 'corpus', essay: `<${text}>`, data: { v: text } })))
      for (const [i, text] of injections.entries()) {
        const { id } = made[i] as Sample
        expect((await store().find({ id, text }))?.text).toBe(text)
        for (const filter of [
          { text },
          { text: { in: [text] } },
          { text: { prefix: text } },
          { essay: { contains: text } },
          { data: { path: ['v'], eq: text } },
        ])
          expect([filter, await store().exists({ id, ...filter })]).toEqual([filter, true])
        expect(await store().count({ text, token: 'corpus' })).toBe(1)
        expect(await store().count({ data: { path: ['v'], eq: text } })).toBe(1)
        expect(await store().count({ text: { ne: text }, token: 'corpus' })).toBe(injections.length - 1)
      }
    })
    test('in names, orders, tokens and paths it is refused', async () => {
      for (const text of injections) {
        expect(await failure(store().count({ [text]: 'x' } as never))).toBe('InvalidArgument.Filter')
        expect(await failure(store().count({ text: { [text]: 'x' } } as never))).toBe('InvalidArgument.Filter')
        expect(await failure(store().count({ data: { path: [text], [text]: 1 } } as never))).toBe('InvalidArgument.Filter')
        if (text.trim()) expect(await failure(store().list({ orderBy: text }))).toBe('InvalidArgument.OrderBy')
        expect(await failure(store().list({ orderBy: `id ${text}x` }))).toBe('InvalidArgument.OrderBy')
        expect(await failure(store().list({ pageToken: text }))).toBe('InvalidArgument.PageToken')
        expect(await failure(store().list({ select: [text] as never }))).toContain('has no column')
      }
      const whole = await store().count({ text: { isNull: false } })
      expect(whole).toBeGreaterThan(injections.length)
    })
  })
}
