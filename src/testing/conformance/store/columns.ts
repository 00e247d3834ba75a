import { describe, expect, test } from 'bun:test'
import fc from 'fast-check'
import { Type } from '@/core/schema'
import { createStore, type NewRow } from '@/core/store'
import { defineTable, type RowOf } from '@/core/table'
import type { Backing } from '../../backings'
import { failure, samples, useThings } from '../fixture'

/** A hundred rows of any kind on a server that others use, too. */
const propertyTimeoutMs = 60_000

type Sample = RowOf<typeof samples>

/** Any text that can be stored: of whole characters, without NUL. */
const text = (maxLength: number) =>
  fc.string({ unit: 'grapheme', maxLength }).filter(s => !s.includes('\0') && s.isWellFormed() && s.length <= maxLength)
const instant = fc.integer({ min: Date.parse('1000-01-01'), max: Date.parse('9999-12-31') }).map(ms => new Date(ms).toISOString())
/** Null is no value in a column of JSON either; inside it is one. */
const json = fc
  .json({ stringUnit: 'grapheme' })
  .map(text => JSON.parse(text))
  .filter(value => {
    if (value === null) return false
    const written = JSON.stringify(value)
    return !/\\u(d[89ab]|0000)/i.test(written)
  })

const nested = (depth: number): unknown => (depth === 0 ? 1 : [nested(depth - 1)])

/** A value of every kind of column, or none. */
const sample = fc.record(
  {
    text: text(120),
    essay: fc.oneof(text(200), fc.constant('long '.repeat(20_000))),
    whole: fc.maxSafeInteger(),
    large: fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }).map(String),
    price: fc.bigInt({ min: -(10n ** 18n - 1n), max: 10n ** 18n - 1n }).map(units => {
      const digits = String(units < 0n ? -units : units).padStart(5, '0')
      return `${units < 0n ? '-' : ''}${digits.slice(0, -4)}.${digits.slice(-4)}`
    }),
    ratio: fc.double({ noDefaultInfinity: true, noNaN: true }).map(value => value + 0),
    isOn: fc.boolean(),
    at: instant,
    day: instant.map(at => at.slice(0, 10)),
    kind: fc.constantFrom('one' as const, 'two' as const, 'three' as const),
    data: json,
    bytes: fc.uint8Array({ maxLength: 2000 }),
    token: text(120),
    refId: fc.uuid({ version: 7 }),
  },
  { requiredKeys: [] },
)

/** What a column keeps and what it refuses, on whichever database. */
export function columnSuite(open: () => Promise<Backing>): void {
  const things = useThings(open)
  const store = () => createStore(things.db, samples)

  test(
    'every value of every kind of column comes back as it was written, by itself and with others',
    async () => {
      await fc.assert(
        fc.asyncProperty(fc.array(sample, { minLength: 1, maxLength: 3 }), async many => {
          const made = await store().createMany(many as NewRow<Sample>[])
          for (const [i, row] of made.entries()) expect(row).toMatchObject(many[i] as object)
          expect(await store().getMany(made.map(row => row.id))).toEqual(made)
          const [first] = made
          const changed = await store().update(first?.id as string, many.at(-1) as object)
          expect(await store().get(first?.id as string)).toEqual(changed)
        }),
        { numRuns: 100 },
      )
    },
    propertyTimeoutMs,
  )

  describe('values that have several spellings are kept in one', () => {
    const cases: [object, object][] = [
      [{ price: '12.5' }, { price: '12.5000' }],
      [{ data: nested(30) }, { data: nested(30) }],
      [{ price: '-0' }, { price: '0.0000' }],
      [{ ratio: -0 }, { ratio: 0 }],
      [{ whole: -0 }, { whole: 0 }],
      [{ data: { a: undefined, b: [new Date(0)] } }, { data: { b: ['1970-01-01T00:00:00.000Z'] } }],
    ]
    for (const [given, kept] of cases) {
      test(Bun.inspect(given, { compact: true }), async () => {
        const row = await store().create(given)
        expect(row).toMatchObject(kept)
        expect(await store().get(row.id)).toEqual(row)
      })
    }
  })

  test('what is kept is not shared with the caller', async () => {
    const bytes = new Uint8Array([1, 2, 3])
    const data = { list: [1] }
    const row = await store().create({ bytes, data })
    bytes[0] = 9
    data.list.push(2)
    expect(row).toMatchObject({ bytes: new Uint8Array([1, 2, 3]), data: { list: [1] } })
  })

  describe('values that no database keeps alike are refused by name, without the value', () => {
    const canary = 'canary-4711'
    const cases: Record<string, unknown[]> = {
      text: [`${canary}\0`, `${canary}\ud800`, canary.repeat(20), 7, {}, []],
      essay: [`${canary}\udc00`],
      whole: [1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53, '1', 1n, true],
      large: ['9223372036854775808', '1.0', '01', '', ' 1', '1e3', 5],
      price: ['1.23456', '123456789012345.0', '1,5', 'NaN', '', '.5', '1.', 5],
      ratio: [Number.NaN, Number.NEGATIVE_INFINITY, '1'],
      isOn: [1, 0, 'true'],
      at: [
        '2026-02-30T00:00:00.000Z',
        '2026-01-01T00:00:00Z',
        '2026-01-01 00:00:00.000',
        '0999-12-31T23:59:59.999Z',
        '24:00',
        1,
        new Date(),
      ],
      day: ['2026-02-29', '2026-13-01', '0001-01-01', '2026-1-1', ''],
      kind: ['four', ''],
      bytes: [new Uint8Array(2001), 'AAAA', [1]],
      data: ['\0', { a: ['\ud800'] }, ['\udc00'], { '\0': 1 }, () => 1, nested(31)],
      refId: ['nope', '', '01890A5D-AC96-774B-BCCE-B302099A8057'],
    }
    for (const [column, values] of Object.entries(cases)) {
      test(column, async () => {
        const row = await store().create({})
        for (const value of values) {
          for (const work of [store().create({ [column]: value } as never), store().update(row.id, { [column]: value } as never)]) {
            const thrown = await work.then(
              () => undefined,
              reason => reason,
            )
            expect([value, thrown?.code, thrown?.problems?.[0]?.pointer]).toEqual([value, 'Unprocessable.Value', `/${column}`])
            expect(Bun.inspect(thrown)).not.toContain(canary)
          }
        }
        expect(await store().get(row.id)).toEqual(row)
      })
    }
  })

  test('a column that is not there, or is the store’s own, cannot be written', async () => {
    const row = await store().create({})
    for (const name of ['id', 'version', 'createdAt', 'nope', '__proto__', 'text" = 1, "whole']) {
      const values = JSON.parse(`{${JSON.stringify(name)}:"x"}`)
      expect(await failure(store().create(values))).toContain('that can be written')
      expect(await failure(store().update(row.id, values))).toContain('that can be written')
    }
    expect(await store().get(row.id)).toEqual(row)
  })

  test('a column that is declared and not there is an error, and never a text of its name', async () => {
    const ahead = defineTable('sample', { mood: Type.Optional(Type.String({ maxLength: 9 })) })
    const before = await store().count()
    const calls = [
      () => createStore(things.db, ahead).list(),
      () => createStore(things.db, ahead).count({ mood: { isNull: true } }),
      () => createStore(things.db, ahead).deleteMany({ mood: { prefix: 'mo' } }),
      () => things.db.all('select 1 from "sample" where "mood" is null'),
    ]
    for (const call of calls) await expect(call()).rejects.toThrow(/no such column|Unknown column/)
    expect(await store().count()).toBe(before)
  })
  test('exact values are compared and ordered exactly', async () => {
    const token = 'exact'
    const large = ['9007199254740993', '9007199254740992', '-9223372036854775808', '9223372036854775807', '10', '9']
    const price = ['99999999999999.9999', '99999999999999.9998', '-0.0001', '0.0000', '10.0000', '9.0000']
    await store().createMany(large.map((each, i) => ({ token, large: each, price: price[i] as string })))
    for (const [i, each] of large.entries()) {
      expect(await store().count({ token, large: each })).toBe(1)
      expect(await store().count({ token, price: price[i] as string })).toBe(1)
      expect(await store().count({ token, large: { in: [each, '1'] }, price: { in: [price[i] as string] } })).toBe(1)
      expect(await store().count({ token, large: { gt: each } })).toBe(large.filter(other => BigInt(other) > BigInt(each)).length)
      const units = (decimal: string) => BigInt(decimal.replace('.', ''))
      expect(await store().count({ token, price: { lte: price[i] as string } })).toBe(
        price.filter(other => units(other) <= units(price[i] as string)).length,
      )
    }
  })
}
