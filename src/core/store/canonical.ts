import { type Column, fixedDecimal } from '../column'
import type { ColumnKind } from '../database'
import type { FieldProblem } from '../error'
import { type TSchema, validatorOf } from '../schema'
import type { AnyTable } from '../table'
import { storeErrors } from './contract'
import { storableBy } from './value'

/** Values as they will be read again: checked, in their one spelling, and no longer shared with the caller. */
export interface Canonical {
  /**
   * Sets the values of a new row.
   * @throws storeErrors.Value with one problem a column; its detail never holds the value
   */
  fill(row: Record<string, unknown>, values: object): void
  /** Values of which nothing is checked, in their one spelling where they have one. */
  spelled(values: object): Record<string, unknown>
  /** The values that a patch sets; null where it removes one. Columns that are undefined in it stay as they are. */
  patch(values: object): Record<string, unknown>
}

const kept = new Set(['id', 'createdAt', 'updatedAt', 'version', 'deletedAt'])

/** What is done with the values of one column. */
interface Rule {
  name: string
  isOptional: boolean
  /** What is wrong with a value. */
  problem(value: unknown): string | undefined
  /** Its one spelling; absent where there is one only. */
  spell: ((value: never) => unknown) | undefined
}

export function canonicalOf(table: AnyTable): Canonical {
  const own = (table.columns as readonly Column[]).filter(({ name }) => !kept.has(name))
  const names = new Set(own.map(({ name }) => name))
  // Made at the first write: a process that only reads does not pay for compiling the checks.
  let made: Rule[] | undefined
  const rules = () => {
    made ??= own.map(ruleOf)
    return made
  }

  const refuseUnknown = (values: object) => {
    for (const name in values) {
      if (!names.has(name)) throw new Error(`table ${table.name} has no column ${name.slice(0, 64)} that can be written`)
    }
  }

  return {
    fill(row, values) {
      refuseUnknown(values)
      let problems: FieldProblem[] | undefined
      for (const { name, isOptional, problem, spell } of rules()) {
        const value = (values as Record<string, unknown>)[name]
        const isAbsent = value === undefined || value === null
        if (isAbsent && isOptional) continue
        const wrong = isAbsent ? 'is missing' : problem(value)
        if (wrong) {
          problems ??= []
          problems.push({ pointer: `/${name}`, detail: wrong })
        } else row[name] = spell ? spell(value as never) : value
      }
      if (problems) throw storeErrors.Value({ problems })
    },
    spelled(values) {
      const made: Record<string, unknown> = { ...values }
      for (const { name, problem, spell } of rules()) {
        if (spell && made[name] !== undefined && made[name] !== null && !problem(made[name])) made[name] = spell(made[name] as never)
      }
      return made
    },
    patch(values) {
      refuseUnknown(values)
      const problems: FieldProblem[] = []
      const set: Record<string, unknown> = {}
      for (const { name, isOptional, problem, spell } of rules()) {
        const value = (values as Record<string, unknown>)[name]
        if (value === undefined) continue
        const wrong = value === null ? (isOptional ? undefined : 'cannot be removed') : problem(value)
        if (wrong) problems.push({ pointer: `/${name}`, detail: wrong })
        else set[name] = value === null || !spell ? value : spell(value as never)
      }
      if (problems.length > 0) throw storeErrors.Value({ problems })
      return set
    },
  }
}

function ruleOf({ name, kind, isOptional, schema, scale = 0 }: Column): Rule {
  const isStorable = storableBy(kind, scale)
  const fits = fitsOf(schema)
  return {
    name,
    isOptional,
    problem: value => (isStorable(value) ? fits?.(value) : (whatFits[kind] ?? `is not of the kind ${kind}`)),
    spell: spellings(scale)[kind as keyof ReturnType<typeof spellings>],
  }
}

const whatFits: { [kind in ColumnKind]?: string } = {
  text: 'must be text without NUL and half characters',
  longText: 'must be text without NUL and half characters, up to 16 MiB',
  enum: 'must be one of its values',
  integer: 'must be a whole number within ±(2^53 − 1)',
  bigint: 'must be a whole number of 64 bits as a string',
  decimal: 'must be a decimal as a string, with no more digits after the point than the column has',
  float: 'must be a finite number',
  boolean: 'must be true or false',
  timestamp: 'must be an RFC 3339 instant in UTC with milliseconds, from the year 1000',
  date: 'must be a day as YYYY-MM-DD, from the year 1000',
  json: 'must be JSON without NUL and half characters, nested up to 30 deep',
  binary: 'must be a Uint8Array, up to 16 MiB',
  id: 'must be a UUID in lower case',
}

/** Words of a schema that limit nothing beyond its type. */
const descriptive = new Set(['type', 'description', 'examples', 'title', 'default', 'secret', 'column'])
/** What a schema asks beyond the kind of its column. */
function fitsOf(schema: TSchema): ((value: unknown) => string | undefined) | undefined {
  if (isPlain(schema)) return undefined
  const { maxLength, ...others } = schema
  // Most texts, and most of the time that checking a row takes.
  if (maxLength !== undefined && isPlain(others as TSchema))
    return text => ((text as string).length <= maxLength ? undefined : `must be at most ${maxLength} characters long`)
  return validatorOf(schema)
}

/** Whether a schema asks no more than that the value is of its kind. */
const isPlain = (schema: TSchema) =>
  schema['column'] !== 'json' && schema['type'] !== 'Uint8Array' && Object.keys(schema).every(word => descriptive.has(word))

const spellings = (scale: number) => ({
  integer: (value: number) => value + 0,
  float: (value: number) => value + 0,
  decimal: (value: string) => fixedDecimal(value, scale),
  json: (value: unknown) => JSON.parse(JSON.stringify(value)),
  binary: (value: Uint8Array) => new Uint8Array(value),
})
