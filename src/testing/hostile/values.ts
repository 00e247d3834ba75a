import type { JsonSchema } from './document'
import type { Random } from './random'

/** Texts that break programs: by what they are taken for, how long they are, what characters they are of. */
export const texts: readonly string[] = [
  '',
  ' ',
  '0',
  '-1',
  'null',
  'undefined',
  'true',
  'NaN',
  '[object Object]',
  '__proto__',
  'constructor',
  'prototype',
  'toString',
  'hasOwnProperty',
  "' or 1=1 --",
  '"; drop table "user"; --',
  "1' union select passwordHash from user --",
  '#{7*7}',
  '{{7*7}}',
  '<script>alert(1)</script>',
  '../../../../etc/passwd',
  '..\\..\\windows',
  'file:///etc/passwd',
  'http://169.254.169.254/latest/meta-data',
  '() { :;}; echo x',
  '$(id)',
  '|id',
  '%s%s%s%n',
  '%00',
  '%25',
  'é',
  'e\u0301',
  'ﬁ',
  '𝕳𝖊𝖑𝖑𝖔',
  '👩‍👩‍👧‍👦',
  '\u202Egnirts',
  '\u200B',
  '\uFEFF',
  '\uFFFF',
  'İ',
  'ß',
  'Ω'.repeat(100),
  'a'.repeat(64),
  'a'.repeat(65),
  'a'.repeat(128),
  'a'.repeat(129),
  'a'.repeat(1000),
  'a'.repeat(10_000),
  `${'a'.repeat(63)}@${'b'.repeat(63)}.${'c'.repeat(63)}`,
  'a@b',
  'a@b.c',
  '00000000-0000-0000-0000-000000000000',
  '01890a5d-ac96-774b-bcce-b302099a8057',
  '01890A5D-AC96-774B-BCCE-B302099A8057',
  '2026-02-30T00:00:00.000Z',
  '9999-12-31T23:59:59.999Z',
  '2026-01-01',
  '* * * * * *',
  '0 0 31 2 *',
  'Europe/Berlin',
  '=1+1',
  'createdAt desc',
  'createdAt; desc',
]

const numbers: readonly number[] = [0, -0, 1, -1, 0.5, 2 ** 31, 2 ** 53, -(2 ** 53), 1e21, 1e308, -1e308, 5e-324]
/** As JSON spells them and JavaScript does not. */
export const rawNumbers = ['1e999', '-1e999', '9'.repeat(400), '0.1e-400', '-0', '1E+2', '9007199254740993']

/** Any JSON value but what the schema asks for, mostly. */
export function hostileValue(random: Random, depth = 0): unknown {
  const kind = random.below(depth > 2 ? 5 : 9)
  if (kind <= 1) return random.of(texts)
  if (kind === 2) return random.of(numbers)
  if (kind === 3) return random.of([null, true, false])
  if (kind === 4) return random.of([[], {}])
  if (kind === 5) return Array.from({ length: random.of([1, 2, 50]) }, () => hostileValue(random, depth + 1))
  if (kind === 6) return nested(random.of([5, 31, 32, 33, 200]), random.chance(0.5))
  if (kind === 7)
    return Object.fromEntries(Array.from({ length: 1 + random.below(4) }, () => [random.of(texts), hostileValue(random, depth + 1)]))
  return random.of(texts).repeat(1 + random.below(3))
}

function nested(depth: number, isList: boolean): unknown {
  let value: unknown = 1
  for (let i = 0; i < depth; i++) value = isList ? [value] : { a: value }
  return value
}

/** A value that a schema takes, as well as that can be told from it. */
export function validValue(random: Random, schema: JsonSchema): unknown {
  if (schema.anyOf) return validValue(random, random.of(schema.anyOf))
  if (schema.enum) return random.of(schema.enum)
  if ('const' in schema) return schema.const
  if (schema.examples && random.chance(0.8)) return random.of(schema.examples)
  const [type] = [schema.type].flat()
  if (type === 'object') {
    const { properties = {}, required = [] } = schema
    const chosen = Object.keys(properties).filter(name => required.includes(name) || random.chance(0.5))
    return Object.fromEntries(chosen.map(name => [name, validValue(random, properties[name] ?? {})]))
  }
  if (type === 'array') {
    const { minItems = 0, maxItems = 3, items = {} } = schema
    return Array.from({ length: Math.min(maxItems, minItems + random.below(2)) }, () => validValue(random, items))
  }
  if (type === 'integer' || type === 'number') return edge(random, schema)
  if (type === 'boolean') return random.chance(0.5)
  if (type === 'null') return null
  if (schema.format === 'uuid') return crypto.randomUUID()
  const { minLength = 1, maxLength = 20 } = schema
  return 'abcdefghijklmnopqrst'.repeat(1 + Math.ceil(maxLength / 20)).slice(0, random.of([minLength, maxLength, Math.min(maxLength, 12)]))
}

/** At the ends of a range, and one beyond. */
const edge = (random: Random, { minimum = 0, maximum = 1000 }: JsonSchema) =>
  random.of([minimum, maximum, minimum - 1, maximum + 1, Math.floor((minimum + maximum) / 2)])
